"""CBOW (Mikolov et al. 2013a, 3.1): x′ is the bag of a word's neighbours, x″ the word; their mean predicts it."""

import numpy as np
from jaxtyping import Int, UInt64

from sesame.pretext.negative_sampling import NegativeSampling
from sesame.pretext.word_windows import Words, neighbours


class Cbow(NegativeSampling):
    name = "cbow"

    def examples(
        self, words: Words
    ) -> tuple[Int[np.ndarray, " read"], Int[np.ndarray, " bag"], Int[np.ndarray, " bag"], UInt64[np.ndarray, " bag"]]:
        """A bag for every word that has neighbours."""
        at, there = neighbours(words, self.config.window)
        sizes = there.sum(1)
        some = sizes > 0
        return words.ids[at[there]], sizes[some], words.ids[some], words.key[some]
