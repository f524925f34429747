"""Documents into examples, as spans of the token store: single runs of text, or pairs of neighbouring segments."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int, UInt64

from sesame.data import chance
from sesame.data.encode import SENTENCE, WORD
from sesame.data.store import TokenStore

IN_ORDER, ELSEWHERE, SWAPPED, ONE_SEGMENT = 0, 1, 2, -1
"""Relation of the two segments of an example (`TextBatch.pair`)."""
NEIGHBOURS = "neighbours"
"""What `cut_pairs` is asked for where every pair is to be in order."""
LEFT_OUT = -2
"""In its place: a twin run leaves the example out, and nothing stands where it would."""


@dataclass(frozen=True)
class Pieces:
    """Examples as spans: one or two segments each."""

    start: Int[np.ndarray, "example 2"]
    size: Int[np.ndarray, "example 2"]
    pair: Int[np.ndarray, " example"]
    key: UInt64[np.ndarray, " example"]

    def __len__(self) -> int:
        return len(self.key)

    @property
    def sizes(self) -> Int[np.ndarray, " example"]:
        """Length of each complete input, special tokens included."""
        return self.size.sum(1) + 2 + (self.size[:, 1] > 0)

    def written(self) -> "Pieces":
        """Those that are not left out."""
        kept = self.pair != LEFT_OUT
        return self if kept.all() else self.take(np.flatnonzero(kept))

    def take(self, index: Sequence[int] | np.ndarray) -> "Pieces":
        index = np.asarray(index, np.int64)
        return Pieces(self.start[index], self.size[index], self.pair[index], self.key[index])

    @classmethod
    def joined(cls, several: Sequence["Pieces"]) -> "Pieces":
        return cls(*(np.concatenate([getattr(p, f) for p in several]) for f in ("start", "size", "pair", "key")))

    @classmethod
    def singles(cls, start: np.ndarray, size: np.ndarray, key: np.ndarray) -> "Pieces":
        """One segment each."""
        zero = np.zeros_like(start)
        return cls(np.stack([start, zero], 1), np.stack([size, zero], 1), np.full(len(key), ONE_SEGMENT), key)

    @classmethod
    def of(cls, found: list[tuple[int, int, int, int, int, int]]) -> "Pieces":
        """From (start, size, start, size, pair, key) each."""
        table = np.array([f[:5] for f in found], np.int64).reshape(-1, 5)
        return cls(table[:, 0:4:2], table[:, 1:4:2], table[:, 4], np.array([f[5] for f in found], np.uint64))


def _short(length: int, rate: float, *words: int) -> int:
    """`length`, or with probability `rate` a uniformly shorter one (BERT's short_seq_prob)."""
    if rate and float(chance.uniform("short", *words)) < rate:
        return 2 + int(chance.integers(length - 1, "short length", *words))
    return length


def cut_singles(
    store: TokenStore,
    documents: Int[np.ndarray, " document"],
    repeat: Int[np.ndarray, " document"],
    length: int,
    short_rate: float,
    seed: int,
    epoch: int,
) -> Pieces:
    """Each document whole where it fits, else in runs of words that fill `length`; the first cut moves every epoch.

    `repeat` numbers the copies of a document within an epoch.
    """
    room = length - 2  # [CLS], [SEP]
    begin = np.asarray(store.offsets)[documents].astype(np.int64)
    size = np.asarray(store.offsets)[documents + 1].astype(np.int64) - begin
    copy_key = chance.bits("document", store.keys[documents], repeat)
    first = 1 + chance.integers(room, "first cut", seed, epoch, copy_key)
    starts: list[np.ndarray] = []
    sizes: list[np.ndarray] = []
    owners: list[np.ndarray] = []
    for d in range(len(documents)):
        cuts = [0]
        key, n = int(copy_key[d]), int(size[d])
        if n > room or short_rate:
            edges = np.append(np.flatnonzero(store.flags[begin[d] : begin[d] + n] & WORD), n)
            goal = min(_short(room, short_rate, seed, epoch, key, 0), int(first[d]) if n > room else room)
            while (cut := _word_cut(edges, cuts[-1], goal, room)) < n:
                cuts.append(cut)
                goal = _short(room, short_rate, seed, epoch, key, cut)
        starts.append(np.array(cuts, np.int64))
        sizes.append(np.diff(cuts, append=n))
        owners.append(np.full(len(cuts), d))
    if not starts:
        return Pieces.of([])
    start, owner = np.concatenate(starts), np.concatenate(owners)
    return Pieces.singles(start + begin[owner], np.concatenate(sizes), chance.bits("example", copy_key[owner], start))


def _word_cut(edges: Int[np.ndarray, " edge"], start: int, goal: int, room: int) -> int:
    """The last word edge within `goal` tokens of `start`, or the first one after it where that fits `room`; a word
    longer than that is cut. `edges` are the starts of words and the end of the text."""
    after = int(np.searchsorted(edges, start + goal, "right"))
    cut = int(edges[after - 1]) if after else start
    if cut <= start:
        cut = int(edges[after]) if after < len(edges) else start + goal
        cut = cut if cut <= start + room else start + room
    return cut


def cut_pairs(
    store: TokenStore,
    documents: Int[np.ndarray, " document"],
    repeat: Int[np.ndarray, " document"],
    length: int,
    short_rate: float,
    pairs: frozenset[str],
    seed: int,
    epoch: int,
    others: Int[np.ndarray, " other"] | None,
) -> Pieces:
    """Runs of whole sentences, cut in two at a random sentence (Devlin et al. 2019, A.2; Lan et al. 2020, 3.1).

    Half of the pairs keep their second segment. The other half gets a run of sentences from another document
    ("next"; what was replaced is read again, in the next example) or has its segments swapped ("order"). With neither
    (`NEIGHBOURS` alone) all do.
    A run of one sentence has no second segment and carries no label, where BERT's code always calls it "not next":
    so the labels stay balanced. `others` are the documents to draw from; None for all that are trained on.
    """
    room = length - 3  # [CLS], [SEP], [SEP]
    negatives = sorted(pairs - {NEIGHBOURS})
    found: list[tuple[int, int, int, int, int, int]] = []
    for document, copy in zip(documents.tolist(), repeat.tolist(), strict=True):
        begin = int(store.offsets[document])
        edges = _sentences(store, document, room // 2)
        document_key = int(chance.bits("document", int(store.keys[document]), copy))
        i, last = 0, len(edges) - 1
        while i < last:
            here = int(edges[i])
            words = (seed, epoch, document_key, here)
            goal = _short(room, short_rate, *words)
            j = max(i + 1, int(np.searchsorted(edges, here + goal, "right")) - 1)
            key = int(chance.bits("example", document_key, here))
            if j == i + 1:
                found.append((begin + here, int(edges[j]) - here, 0, 0, ONE_SEGMENT, key))
                i = j
                continue
            m = i + 1 + int(chance.integers(j - i - 1, "second segment", *words))
            first = (begin + here, int(edges[m]) - here)
            second = (begin + int(edges[m]), int(edges[j] - edges[m]))
            if not negatives or float(chance.uniform("relation", *words)) < 0.5:
                found.append((*first, *second, IN_ORDER, key))
                i = j
            elif negatives[int(chance.integers(len(negatives), "negative", *words))] == "order":
                found.append((*second, *first, SWAPPED, key))
                i = j
            else:
                found.append((*first, *_elsewhere(store, document, goal - first[1], others, words), ELSEWHERE, key))
                i = m
    return Pieces.of(found)


def _sentences(store: TokenStore, document: int, longest: int) -> Int[np.ndarray, " edge"]:
    """Sentence edges from 0 to the document's size; sentences over `longest` are cut at words."""
    begin, end = int(store.offsets[document]), int(store.offsets[document + 1])
    flags = store.flags[begin:end]
    edges = np.flatnonzero(flags & SENTENCE)
    edges = np.unique(np.concatenate([[0], edges, [end - begin]]))
    if (np.diff(edges) > longest).any():
        words, cut = np.append(np.flatnonzero(flags & WORD), end - begin), [0]
        for edge in edges[1:].tolist():
            while edge - cut[-1] > longest:
                cut.append(_word_cut(words, cut[-1], longest, longest))
            cut.append(edge)
        edges = np.array(cut, np.int64)
    return edges


def _elsewhere(
    store: TokenStore, document: int, room: int, others: Int[np.ndarray, " other"] | None, words: tuple[int, ...]
) -> tuple[int, int]:
    """A run of sentences of at most `room` tokens from another document: (start, size)."""
    attempt = 0
    while True:
        draw = int(chance.integers(len(store) if others is None else len(others), "other document", *words, attempt))
        other = draw if others is None else int(others[draw])
        attempt += 1
        trained = others is not None or not store.held_out[other]
        if other != document and trained and store.offsets[other + 1] > store.offsets[other]:
            break
    edges = _sentences(store, other, max(room, 1))
    i = int(chance.integers(len(edges) - 1, "other sentence", *words))
    j = max(i + 1, int(np.searchsorted(edges, edges[i] + room, "right")) - 1)
    return int(store.offsets[other]) + int(edges[i]), int(edges[j] - edges[i])
