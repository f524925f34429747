"""T5's objective (Raffel et al. 2020, 3.1.4) at a size that a laptop trains in minutes: 15% of the text in spans of
three tokens on average, each behind a sentinel; the decoder writes the spans alone.

The norm comes before each layer and the feed-forward layer has ReLU, as in T5; positions are learned.
"""

from sesame.config import Denoising, EncoderDecoder, Optimizer, Recipe, SpanCorruption, TextData, Transformer


def _stack(causal: bool) -> Transformer:
    return Transformer(
        layers=2,
        width=128,
        heads=2,
        ffn=512,
        positions=128,
        kinds=0,
        norm="pre",
        norm_eps=1e-6,
        embedding_norm=False,
        activation="relu",
        causal=causal,
    )


RECIPES = (
    Recipe(
        name="t5-tiny",
        data=TextData(length=128, rows=32, sentinels=100),
        backbone=EncoderDecoder(encoder=_stack(causal=False), decoder=_stack(causal=True)),
        pretext=Denoising(corruptions=(SpanCorruption(),), target="missing"),
        optimizer=Optimizer(lr=1e-3),
        max_minutes=10,
    ),
)
