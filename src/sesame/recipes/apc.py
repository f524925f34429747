"""APC (Chung et al. 2019) with a causal Transformer, at a size that a laptop trains in minutes."""

from sesame.config import Apc, Optimizer, Recipe, SpeechData, Transformer

RECIPES = (
    Recipe(
        name="apc-tiny",
        data=SpeechData(rows=16),
        backbone=Transformer(
            layers=3, width=128, heads=2, ffn=512, input="frames", kinds=0, norm="pre", norm_eps=1e-5, causal=True
        ),
        pretext=Apc(),
        optimizer=Optimizer(lr=1e-3),
        max_minutes=10,
    ),
)
