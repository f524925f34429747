"""GPT: causal language modelling in GPT-2's architecture (Radford et al. 2019) and GPT-3's (Brown et al. 2020).

`gpt-tiny` to `gpt-medium` are shapes for a laptop, trained without dropout; their settings are first choices, not yet
tuned. `gpt2` to `gpt2-xl` have GPT-2's shapes, context, batch and dropout; its learning rates were never published, so
they are those of GPT-3's table 2.1 for the same size, and so is the length of training. `gpt3-175b` follows GPT-3 (2.1,
B), except that attention is dense in every layer, where theirs is banded in every second.
"""

from sesame.config import CausalLM, Optimizer, Recipe, TextData, Transformer


def _shape(layers: int, width: int, positions: int, heads: int = 0, dropout: float = 0.0) -> Transformer:
    """Heads of 64 unless it is said otherwise."""
    return Transformer(
        layers=layers,
        width=width,
        heads=heads or width // 64,
        ffn=4 * width,
        positions=positions,
        kinds=0,
        norm="pre",
        norm_eps=1e-5,
        embedding_norm=False,
        causal=True,
        activation="gelu_tanh",
        dropout=dropout,
    )


def _small(name: str, layers: int, width: int, lr: float, minutes: float, vocab: int = 0, length: int = 128) -> Recipe:
    return Recipe(
        name=name,
        data=TextData(length=length, rows=2048 // length, tokenizer="bytebpe", vocab=vocab),
        backbone=_shape(layers, width, length),
        pretext=CausalLM(),
        optimizer=Optimizer(lr=lr, decay="cosine", floor=0.1),
        max_minutes=minutes,
    )


def _published(
    name: str,
    layers: int,
    width: int,
    lr: float,
    heads: int = 0,
    positions: int = 1024,
    batch: int = 1 << 19,
    dropout: float = 0.1,
) -> Recipe:
    """`batch` is in tokens. 300 billion tokens; warmed up over 375 million; to a tenth of the rate, along a cosine."""
    tokens = 300_000_000_000
    return Recipe(
        name=name,
        data=TextData(length=positions, rows=batch // positions, tokenizer="bytebpe", vocab=50_257),
        backbone=_shape(layers, width, positions, heads, dropout),
        pretext=CausalLM(),
        optimizer=Optimizer(
            lr=lr,
            beta2=0.95,
            eps=1e-8,
            weight_decay=0.1,
            warmup=375_000_000 / tokens,
            decay="cosine",
            floor=0.1,
        ),
        steps=tokens // batch,
    )


RECIPES = (
    _small("gpt-tiny", 2, 128, lr=4e-3, minutes=5.0, vocab=4096),
    _small("gpt-mini", 4, 256, lr=2e-3, minutes=30.0),
    _small("gpt-small", 4, 512, lr=1e-3, minutes=60.0, length=256),
    _small("gpt-medium", 8, 512, lr=7e-4, minutes=120.0, length=256),
    _published("gpt2", 12, 768, lr=6e-4),
    _published("gpt2-medium", 24, 1024, lr=3e-4),
    _published("gpt2-large", 36, 1280, lr=2.5e-4),
    _published("gpt2-xl", 48, 1600, lr=2e-4),
    _published("gpt3-175b", 96, 12_288, lr=6e-5, heads=96, positions=2048, batch=3_200_000, dropout=0.0),
)
