"""A vocabulary without meaning, and packed batches of random text over it."""

import numpy as np

from sesame.data.batch import TextBatch
from sesame.data.text import examples_of
from sesame.data.tokenizer import BERT_SPECIAL, Vocabulary, wordpiece

WORDS = 40
VOCABULARY = Vocabulary(
    wordpiece(
        {piece: i for i, piece in enumerate([*BERT_SPECIAL.values(), *(f"w{n}" for n in range(WORDS))])}, lowercase=True
    ),
    BERT_SPECIAL,
)


def texts(*sizes: int) -> list[np.ndarray]:
    """Random ids of ordinary tokens, `sizes` of them."""
    random = np.random.default_rng(sum(sizes))
    return [random.integers(len(BERT_SPECIAL), VOCABULARY.size, size) for size in sizes]


def packed(given: list[np.ndarray], length: int = 24) -> TextBatch:
    """The texts as examples, several in a row where they fit."""
    return examples_of(given, VOCABULARY, length)[0]
