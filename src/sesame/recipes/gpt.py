"""GPT-2's shape (Radford et al. 2019) at a size that a laptop trains in minutes."""

from sesame.config import CausalLM, Optimizer, Recipe, TextData, Transformer

RECIPES = (
    Recipe(
        name="gpt-tiny",
        data=TextData(length=128, rows=32, tokenizer="bytebpe"),
        backbone=Transformer(
            layers=2,
            width=128,
            heads=2,
            ffn=512,
            positions=128,
            kinds=0,
            norm="pre",
            norm_eps=1e-5,
            embedding_norm=False,
            causal=True,
            activation="gelu_tanh",
        ),
        pretext=CausalLM(),
        optimizer=Optimizer(lr=2e-3, decay="cosine", floor=0.1),
        max_minutes=10,
    ),
)
