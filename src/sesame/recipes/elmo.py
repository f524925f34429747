"""ELMo in its published shape (Peters et al. 2018), and at a size that a laptop trains in minutes.

AdamW in place of Adagrad, and the full softmax in chunks in place of a sampled one.
"""

from sesame.config import BidirectionalLM, Elmo, Optimizer, Recipe, TextData

RECIPES = (
    Recipe(
        name="elmo-tiny",
        data=TextData(length=64, rows=64, tokenizer="words"),
        backbone=Elmo(
            filters=((1, 16), (2, 16), (3, 32), (4, 64)), width=64, cell=256, highways=1, longest=24, dropout=0.0
        ),
        pretext=BidirectionalLM(),
        optimizer=Optimizer(lr=3e-3),
        max_minutes=10,
    ),
    Recipe(
        name="elmo",
        data=TextData(length=128, rows=128, tokenizer="words", vocab=800_000),
        backbone=Elmo(),
        pretext=BidirectionalLM(),
        optimizer=Optimizer(lr=1e-3),
        steps=1_000_000,
    ),
)
