"""How often words and tokens occur in the text that a run is trained on; held-out documents do not count."""

from collections.abc import Iterator, Sequence

import numpy as np
from jaxtyping import Int, UInt64

from sesame.data import chance
from sesame.data.encode import WORD
from sesame.data.store import TokenStore

_TOKENS = 1 << 22
"""Tokens that are counted at a time."""


def token_counts(store: TokenStore) -> Int[np.ndarray, " vocab"]:
    """Occurrences of every token."""
    counts = np.zeros(store.vocabulary.size, np.int64)
    for ids, _, trained in _parts(store):
        counts += np.bincount(ids[trained], minlength=len(counts))
    return counts


def word_counts(store: TokenStore, words: Sequence[tuple[int, ...]]) -> Int[np.ndarray, " word"]:
    """Occurrences of each of `words`, given as its tokens: of exactly these tokens between two starts of words.

    A word that the tokenizer writes with a token for the space before it is the same word. Where the tokenizer's words
    are all that stands between two spaces, a word and a comma are another word than the word.
    """
    space = store.vocabulary.encode_batch([" "])[0]
    spelled = list(dict.fromkeys([*words, *((*space, *word) for word in words)]))
    counts = np.zeros(len(spelled), np.int64)
    lengths = np.array([len(word) for word in spelled], np.int64)
    wanted: dict[int, tuple[np.ndarray, np.ndarray]] = {}  # by length: hashes, sorted, and the words that have them
    for length in np.unique(lengths).tolist():
        number = np.flatnonzero(lengths == length)
        hashed = _hash(np.array([spelled[n] for n in number], np.int64))
        order = np.argsort(hashed)
        wanted[length] = hashed[order], number[order]
    for ids, flags, trained in _parts(store):
        starts = np.flatnonzero(flags & WORD)
        sizes = np.diff(starts, append=len(ids))
        counted = trained[starts]
        for length, (hashed, number) in wanted.items():
            first = starts[(sizes == length) & counted]
            found = _hash(ids[first[:, None] + np.arange(length)])
            at = np.minimum(np.searchsorted(hashed, found), len(hashed) - 1)
            counts[number] += np.bincount(at[hashed[at] == found], minlength=len(hashed))
    total = dict(zip(spelled, counts.tolist(), strict=True))
    spaced = [(*space, *word) for word in words]
    return np.array([total[w] + (total[s] if s != w else 0) for w, s in zip(words, spaced, strict=True)], np.int64)


def _hash(tokens: Int[np.ndarray, "word token"]) -> UInt64[np.ndarray, " word"]:
    return chance.bits("word", *tokens.astype(np.int64).T)


def _parts(store: TokenStore) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Ids, flags, and whether they are trained on, of some whole documents after the other."""
    offsets = np.asarray(store.offsets).astype(np.int64)
    first = 0
    while first < len(store):
        last = max(first + 1, int(np.searchsorted(offsets, offsets[first] + _TOKENS, "right")) - 1)
        here = slice(offsets[first], offsets[last])
        trained = np.repeat(~store.held_out[first:last], store.lengths[first:last])
        yield np.asarray(store.ids[here]).astype(np.int64), np.asarray(store.flags[here]), trained
        first = last
