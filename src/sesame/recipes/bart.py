"""BART (Lewis et al. 2020): `bart-tiny` trains on a laptop in minutes, the others are the published shapes.

The published runs infill text and put its sentences in another order (4; 30% of the tokens, all sentences), with
batches of 8,000 for 500,000 steps (large), and follow RoBERTa for the optimiser, which is Liu et al. (2019), table 9.
The base model of the paper's comparison trained for a million steps; its batch is not told, RoBERTa's is taken.
"""

from typing import Literal

from sesame.config import (
    Denoising,
    EncoderDecoder,
    Optimizer,
    Recipe,
    SentencePermutation,
    TextData,
    TextInfilling,
    Transformer,
)


def shape(
    layers: int,
    width: int,
    heads: int,
    positions: int,
    dropout: float = 0.0,
    start: Literal["normal", "copying"] = "normal",
) -> EncoderDecoder:
    """As many layers on each side; BART's norms, GELU and learned positions, without segment kinds."""

    def stack(causal: bool) -> Transformer:
        return Transformer(
            layers=layers,
            width=width,
            heads=heads,
            ffn=4 * width,
            positions=positions,
            kinds=0,
            norm_eps=1e-5,
            dropout=dropout,
            causal=causal,
            start=start,
        )

    return EncoderDecoder(encoder=stack(causal=False), decoder=stack(causal=True))


def _published(name: str, backbone: EncoderDecoder, lr: float, steps: int) -> Recipe:
    return Recipe(
        name=name,
        data=TextData(length=512, rows=8000, tokenizer="bytebpe", vocab=50_265),
        backbone=backbone,
        pretext=Denoising(corruptions=(SentencePermutation(), TextInfilling())),
        optimizer=Optimizer(lr=lr),
        steps=steps,
    )


RECIPES = (
    Recipe(
        name="bart-tiny",
        data=TextData(length=128, rows=32),
        backbone=shape(2, 128, 2, positions=128, start="copying"),
        pretext=Denoising(),
        optimizer=Optimizer(lr=2e-3),
        max_minutes=10,
    ),
    _published("bart-base", shape(6, 768, 12, positions=1024, dropout=0.1), lr=6e-4, steps=1_000_000),
    _published("bart-large", shape(12, 1024, 16, positions=1024, dropout=0.1), lr=4e-4, steps=500_000),
)
