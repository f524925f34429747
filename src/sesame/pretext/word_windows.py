"""Words in their windows: which words of a text are read, who is whose neighbour, and which words are drawn by chance.

What CBOW and skip-gram share (Mikolov et al. 2013a, 2013b, and their code, word2vec). Words that the vocabulary lacks
are no words: they are left out before windows are made, as words too frequent are.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int, UInt64

from sesame.data import chance
from sesame.data.batch import TextBatch


def keep_rate(counts: Int[np.ndarray, " token"], sample: float) -> Float[np.ndarray, " token"]:
    """The probability that an occurrence of a token is read: √(t/f) + t/f for its share f of the text; t is `sample`.

    This is the rule of word2vec's code, which keeps a little more than √(t/f) of the paper (2013b, 2.3). 0 for tokens
    that do not occur.
    """
    share = np.maximum(counts, 1) / max(int(counts.sum()), 1)
    rate = np.sqrt(sample / share) + sample / share if sample else np.ones(len(counts))
    return np.where(counts > 0, np.minimum(rate, 1.0), 0.0)


@dataclass(frozen=True)
class Words:
    """The words of a batch that are read, in order."""

    ids: Int[np.ndarray, " word"]
    example: Int[np.ndarray, " word"]
    key: UInt64[np.ndarray, " word"]
    """Stands for the word's place: seed, epoch, example and position."""

    @classmethod
    def of(cls, batch: TextBatch, rate: Float[np.ndarray, " token"]) -> "Words":
        """Each occurrence of token i with probability `rate[i]`."""
        inside = ~batch.special
        example = batch.example[inside]
        examples = chance.bits("words", batch.seed, batch.epoch, batch.key)
        key = chance.bits("word", examples[example], batch.position[inside])
        ids = batch.ids[inside]
        read = chance.uniform("subsample", key) < rate[ids]
        return cls(ids[read], example[read], key[read])


def neighbours(words: Words, window: int) -> tuple[Int[np.ndarray, "word near"], Bool[np.ndarray, "word near"]]:
    """Where among the words the neighbours of each stand, from left to right, and which of these places are any.

    A word's window reaches b words to each side, b uniform in 1..`window`, and no further than its example.
    """
    reach = 1 + chance.integers(window, "window", words.key)
    offset = np.array([o for o in range(-window, window + 1) if o])
    at = np.arange(len(words.ids))[:, None] + offset
    inside = (at >= 0) & (at < len(words.ids)) & (np.abs(offset) <= reach[:, None])
    at = np.where(inside, at, 0)
    return at, inside & (words.example[at] == words.example[:, None])


@dataclass(frozen=True)
class Noise:
    """Tokens drawn with given probabilities, in constant time each (the alias method: Walker 1977, Vose 1991).

    One slot a token; a draw takes a slot, and of it the slot's own token below `edge`, its alias above.
    """

    edge: Float[np.ndarray, " token"]
    alias: Int[np.ndarray, " token"]

    @classmethod
    def of(cls, weight: Float[np.ndarray, " token"]) -> "Noise":
        """Probabilities proportional to `weight`, which is not all zero."""
        share = weight * len(weight) / weight.sum()
        edge, alias = np.ones(len(weight)), np.arange(len(weight))
        left = share.tolist()
        small = [i for i, s in enumerate(left) if s < 1]
        large = [i for i, s in enumerate(left) if s >= 1]
        while small and large:
            i, j = small.pop(), large[-1]
            edge[i], alias[i] = left[i], j
            left[j] -= 1 - left[i]
            if left[j] < 1:
                small.append(large.pop())
        return cls(edge, alias)

    def draw(self, key: UInt64[np.ndarray, " thing"], count: int) -> Int[np.ndarray, "thing count"]:
        """`count` tokens for each key."""
        u = chance.uniform("negative", key[:, None], np.arange(count)) * len(self.edge)
        slot = u.astype(np.int64)
        return np.where(u - slot < self.edge[slot], slot, self.alias[slot])
