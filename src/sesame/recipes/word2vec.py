"""word2vec (Mikolov et al. 2013), with the settings of its code; CBOW in a minute or two on a laptop.

The rate is that of a single word, as there: a step follows the sum over its words, so it does not depend on `rows`.
"""

from sesame.config import Cbow, Optimizer, Recipe, SkipGram, TextData, WordVectors


def _word2vec(name: str, pretext: Cbow | SkipGram, lr: float, rows: int) -> Recipe:
    return Recipe(
        name=name,
        data=TextData(length=256, rows=rows, tokenizer="words"),
        backbone=WordVectors(width=100),
        pretext=pretext,
        optimizer=Optimizer(name="sgd", lr=lr, warmup=0.0, floor=1e-4, clip=0.0),
        max_minutes=2,
        log_every=500,
    )


RECIPES = (_word2vec("cbow", Cbow(), lr=0.05, rows=32), _word2vec("skip-gram", SkipGram(), lr=0.025, rows=16))
