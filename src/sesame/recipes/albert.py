"""ALBERT (Lan et al. 2020): embeddings of 128, all layers one set of weights, sentence order, n-grams hidden whole.

`albert-tiny` trains on a laptop in minutes, from the start that BERT's small ones have; the others have the published
shapes (table 1). They train as the paper's did (4.1) with what differs said here: the paper's optimiser is LAMB at
0.00176, ours AdamW at a rate of our choice; its tokenizer is a unigram model, ours WordPiece.
"""

import msgspec

from sesame.config import Bert, Optimizer, Recipe, TextData, Transformer

PRETEXT = Bert(unit="ngram", sentence_order=1.0)


def shape(layers: int, width: int, embedding: int = 128, **more: object) -> Transformer:
    """Heads of 64, a feed-forward layer four times as wide, one set of weights."""
    own = {"heads": width // 64, "ffn": 4 * width, "embedding": embedding, "groups": 1, "activation": "gelu_tanh"}
    return Transformer(layers=layers, width=width, **own | more)  # type: ignore[arg-type]


def _published(name: str, layers: int, width: int, dropout: float) -> Recipe:
    return Recipe(
        name=name,
        data=TextData(length=512, rows=4096, short_rate=0.1, vocab=30_000),
        backbone=shape(layers, width, dropout=dropout),
        pretext=PRETEXT,
        optimizer=Optimizer(lr=4e-4, beta2=0.999, warmup=3125 / 125_000),
        steps=125_000,
    )


RECIPES = (
    Recipe(
        name="albert-tiny",
        data=TextData(length=128, rows=32),
        backbone=shape(4, 128, embedding=64, start="mimetic"),
        pretext=msgspec.structs.replace(PRETEXT, embeddings="counts"),
        optimizer=Optimizer(lr=2e-3),
        max_minutes=30,
    ),
    _published("albert-base", 12, 768, dropout=0.1),
    _published("albert-large", 24, 1024, dropout=0.1),
    _published("albert-xlarge", 24, 2048, dropout=0.1),
    _published("albert-xxlarge", 12, 4096, dropout=0.0),
)
