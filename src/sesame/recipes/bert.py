"""BERT in its published shapes (Devlin et al. 2019; the small ones: Turc et al. 2019).

`bert-base` and larger train by the published recipe: next-sentence prediction, length 128 for 90% of the steps and 512
for the rest, Adam, dropout 0.1. The small ones train with masked LM alone and without
dropout. Their settings are first choices, not yet tuned.
"""

import msgspec

from sesame.config import Bert, Optimizer, Phase, Recipe, TextData, Transformer


def _shape(layers: int, width: int, dropout: float = 0.0) -> Transformer:
    return Transformer(layers=layers, width=width, heads=width // 64, ffn=4 * width, dropout=dropout)


def _small(name: str, layers: int, width: int, lr: float, rows: int = 32) -> Recipe:
    return Recipe(
        name=name,
        data=TextData(length=128, rows=rows),
        backbone=msgspec.structs.replace(_shape(layers, width), start="mimetic"),
        pretext=Bert(embeddings="counts"),
        optimizer=Optimizer(lr=lr),
        max_minutes=30,
    )


def _published(name: str, layers: int, width: int, vocab: int = 30_522, exponent: float = 1.0) -> Recipe:
    return Recipe(
        name=name,
        data=TextData(
            length=128,
            rows=256,
            phases=(Phase(share=0.9, length=128, rows=256), Phase(share=0.1, length=512, rows=256)),
            short_rate=0.1,
            vocab=vocab,
            sample_exponent=exponent,
        ),
        backbone=_shape(layers, width, dropout=0.1),
        pretext=Bert(next_sentence=1.0),
        optimizer=Optimizer(lr=1e-4, beta2=0.999, warmup=0.01),
        steps=1_000_000,
    )


RECIPES = (
    _small("bert-tiny", 2, 128, lr=4e-3),
    _small("bert-mini", 4, 256, lr=1e-3, rows=16),
    _small("bert-small", 4, 512, lr=7e-4),
    _small("bert-medium", 8, 512, lr=5e-4),
    _published("bert-base", 12, 768),
    _published("bert-large", 24, 1024),
    _published("bert-base-chinese", 12, 768, vocab=21_128),
    _published("bert-multilingual", 12, 768, vocab=119_547, exponent=0.7),
)
