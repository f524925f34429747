"""Skip-gram (Mikolov et al. 2013a, 3.2): x′ is one neighbour of a word, x″ the word; each neighbour predicts it.

The paper has the word predict its neighbours; its code, followed here, the neighbours the word. Over a whole text the
pairs are the same.
"""

import numpy as np
from jaxtyping import Int, UInt64

from sesame.data import chance
from sesame.pretext.negative_sampling import NegativeSampling
from sesame.pretext.word_windows import Words, neighbours


class SkipGram(NegativeSampling):
    name = "skip_gram"

    def examples(
        self, words: Words
    ) -> tuple[Int[np.ndarray, " read"], Int[np.ndarray, " bag"], Int[np.ndarray, " bag"], UInt64[np.ndarray, " bag"]]:
        """A bag of one for every pair."""
        at, there = neighbours(words, self.config.window)
        word, near = np.nonzero(there)
        return (
            words.ids[at[there]],
            np.ones(len(word), np.int64),
            words.ids[word],
            chance.bits("pair", words.key[word], near),
        )
