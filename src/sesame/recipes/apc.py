"""APC (Chung et al. 2019): the published size, and sizes that a laptop trains in minutes."""

from sesame.config import Apc, Gru, Optimizer, Recipe, SpeechData, Transformer

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
    Recipe(
        name="apc-gru-tiny",
        data=SpeechData(rows=16),
        backbone=Gru(layers=3, width=128),
        pretext=Apc(),
        optimizer=Optimizer(lr=2e-3),
        max_minutes=10,
    ),
    Recipe(  # 3 GRU layers of 512 with residual connections, 5 frames ahead, Adam at 1e-4, batches of 32
        name="apc",
        data=SpeechData(rows=32, length=1600),
        backbone=Gru(layers=3, width=512),
        pretext=Apc(ahead=5),
        optimizer=Optimizer(lr=1e-4, beta2=0.999, eps=1e-8, weight_decay=0.0, warmup=0.0, decay="constant"),
        steps=100_000,
    ),
)
