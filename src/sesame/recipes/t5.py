"""T5 (Raffel et al. 2020): `t5-tiny` trains on a laptop in minutes, the others are the published shapes.

The objective is theirs (3.1.4): 15% of the text in spans of three tokens on average, each behind a sentinel; the
decoder writes the spans alone. So is the architecture (2.1): RMSNorm before each layer, relative positions, no biases,
ReLU. The published runs saw 2^35 tokens in batches of 128 rows of 512 (3.1.2); they used AdaFactor, which is not here,
so the rate of AdamW is our choice.
"""

from sesame.config import Denoising, EncoderDecoder, Optimizer, Recipe, SpanCorruption, TextData, Transformer


def shape(layers: int, width: int, heads: int, ffn: int, dropout: float = 0.0) -> EncoderDecoder:
    def stack(causal: bool) -> Transformer:
        return Transformer(
            layers=layers,
            width=width,
            heads=heads,
            head_width=64,
            ffn=ffn,
            kinds=0,
            norm="pre",
            norm_kind="rms",
            norm_eps=1e-6,
            embedding_norm=False,
            bias=False,
            scale_scores=False,
            position="relative",
            activation="relu",
            output="scaled" if causal else "tied",
            dropout=dropout,
            causal=causal,
        )

    return EncoderDecoder(encoder=stack(causal=False), decoder=stack(causal=True))


def _published(name: str, layers: int, width: int, heads: int, ffn: int) -> Recipe:
    return Recipe(
        name=name,
        data=TextData(length=512, rows=128, vocab=32_000, sentinels=100),
        backbone=shape(layers, width, heads, ffn, dropout=0.1),
        pretext=Denoising(corruptions=(SpanCorruption(),), target="missing"),
        optimizer=Optimizer(lr=1e-3, beta2=0.999),
        steps=524_288,
    )


RECIPES = (
    Recipe(
        name="t5-tiny",
        data=TextData(length=128, rows=32, sentinels=100),
        backbone=shape(2, 128, 2, 512),
        pretext=Denoising(corruptions=(SpanCorruption(),), target="missing"),
        optimizer=Optimizer(lr=1e-3),
        max_minutes=10,
    ),
    _published("t5-small", 6, 512, 8, 2048),
    _published("t5-base", 12, 768, 12, 3072),
    _published("t5-large", 24, 1024, 16, 4096),
)
