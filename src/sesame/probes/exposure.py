"""The exposure ledger: how often a word had been seen in training when the model learned it.

What a run reads is planned from its seed, so it can be planned again, without a tensor: the spans of text of every step
up to the last one measured. A word counts as seen where an example holds the whole of it, hidden or not, from the start
of a word of the text to the end of one; within another word it is not seen. As many words in as many contexts are asked
about, a word is learned at the first measurement from which on more than half of its items are right at every one.
When that happened between two measurements nobody knows, so what was seen by both is told. What a model that the run
started from had seen is not known.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa
from jaxtyping import Bool, Float, Int

from sesame.config import Recipe
from sesame.data import open_data
from sesame.data.batch import Cursor
from sesame.data.encode import WORD
from sesame.data.packing import Row, pieces_of
from sesame.data.store import TokenStore
from sesame.data.text import TextSet, TextStream
from sesame.data.tokenizer import Vocabulary
from sesame.engine.run import Run
from sesame.errors import UserError
from sesame.pretext.sentence_pairs import relations
from sesame.probes.answers import Answered

_TOKENS = 1 << 22
"""Of the store that are searched at a time."""
_ROWS = 1 << 14
"""Whose words are counted at a time."""


def ledger(run: Run, answered: Answered) -> pa.Table:
    """One row for each word of each group: `group, word, items, step, tokens, seen, seen_before, seen_in_all`.

    `step` is where it was learned, `seen` how often it had been seen by then and `seen_before` by the measurement
    before; they are null for a word that was not learned. Raises UserError where the run's text is gone or other text,
    and where an item has no word.
    """
    if not all(answered.words):
        raise UserError(f"{answered.label}: not everything that was asked is about a word, so none can be counted.")
    data = open_data(run.recipe.data)
    if not isinstance(data, TextSet):
        raise UserError(f"{run.path} was not trained on text, so it saw no words.")
    if run.config.data != data.hash:
        raise UserError(f"{data.store.path} holds other text than {run.path} was trained on. Put its own back.")
    same = told_apart(data.vocabulary, answered.words)
    names, number, right = by_word(replace(answered, words=tuple(same[word] for word in answered.words)))
    learned = first_lasting(right > 0.5)
    words = sorted({word for _, word in names})
    at = {word: i for i, word in enumerate(words)}
    seen = seen_by(data, run.recipe, words, answered.steps)[[at[word] for _, word in names]]
    row, known = np.arange(len(names)), learned < len(answered.steps)
    step = np.minimum(learned, len(answered.steps) - 1)
    before = np.where(step > 0, seen[row, np.maximum(step - 1, 0)], 0)
    return pa.table(
        {
            "group": [group for group, _ in names],
            "word": [word for _, word in names],
            "items": number,
            "step": pa.array(answered.steps[step], mask=~known),
            "tokens": pa.array(answered.tokens[step], mask=~known),
            "seen": pa.array(seen[row, step], mask=~known),
            "seen_before": pa.array(before, mask=~known),
            "seen_in_all": seen[:, -1],
        }
    )


@dataclass(frozen=True)
class Exposure:
    """Of the words of a group."""

    group: str
    words: int
    learned: int
    seen: float | None
    """Median of how often a word that was learned had been seen by then. Words that need more are not among them."""
    seen_unlearned: float | None
    """Median of how often a word that was not learned was seen in all."""


def exposures(table: pa.Table) -> list[Exposure]:
    """The medians of each group of a `ledger`."""
    found = []
    for group in sorted(set(table["group"].to_pylist())):
        rows = [row for row in table.to_pylist() if row["group"] == group]
        seen = [row["seen"] for row in rows if row["step"] is not None]
        never = [row["seen_in_all"] for row in rows if row["step"] is None]
        found.append(
            Exposure(group, len(rows), len(seen), *(float(np.median(n)) if n else None for n in (seen, never)))
        )
    return found


# ------------------------------------------------------------------------------------------------ learned
def by_word(
    answered: Answered,
) -> tuple[list[tuple[str, str]], Int[np.ndarray, " word"], Float[np.ndarray, "word step"]]:
    """(group, word) of each word, its number of items, and the share of them that is right at each step. What was not
    asked at a step is as it was when it was asked last."""
    names = sorted(set(zip(answered.groups, answered.words, strict=True)))
    at = {name: i for i, name in enumerate(names)}
    item = np.array([at[name] for name in zip(answered.groups, answered.words, strict=True)])
    right = _carried(answered.right)
    asked = np.isfinite(right)
    total, hits = np.zeros((2, len(names), right.shape[1]))
    np.add.at(total, item, asked)
    np.add.at(hits, item, np.where(asked, right, 0.0))
    return names, np.bincount(item, minlength=len(names)), hits / np.maximum(total, 1)


def _carried(right: np.ndarray) -> np.ndarray:
    """With every gap filled by the value before it; what comes before the first value stays."""
    last = np.maximum.accumulate(np.where(np.isfinite(right), np.arange(right.shape[1]), -1), 1)
    filled = np.take_along_axis(right, np.maximum(last, 0), 1)
    return np.where(last >= 0, filled, np.nan)


def first_lasting(right: Bool[np.ndarray, "word step"]) -> Int[np.ndarray, " word"]:
    """The first step from which on a word is right at all steps; the number of steps where it is not at the last."""
    stays = np.logical_and.accumulate(right[:, ::-1], 1)[:, ::-1]
    return np.where(stays.any(1), np.argmax(stays, 1), right.shape[1])


# --------------------------------------------------------------------------------------------------- seen
def seen_by(
    data: TextSet, recipe: Recipe, words: Sequence[str], steps: Int[np.ndarray, " step"]
) -> Int[np.ndarray, "word step"]:
    """How often each word had been read by each of `steps`, which rise: in the examples of the run's own steps.

    The token that a window of a longer text shows on each side of its own is counted in the window that it is part of.
    """
    stream = TextStream(data.store, data.config, relations(recipe.pretext), recipe.seed)
    spelled, of_word = spellings(data.vocabulary, words)
    found: dict[int, Occurrences] = {}
    counts = np.zeros((len(spelled), len(steps)), np.int64)
    for column, store, start, size in _spans(stream, recipe.steps, steps.tolist()):
        if id(store) not in found:
            found[id(store)] = Occurrences(store, spelled)
        counts[:, column] += found[id(store)].within(start, size)
    return np.array([counts[numbers].sum(0) for numbers in of_word]).reshape(len(words), len(steps)).cumsum(1)


def _spans(
    stream: TextStream, steps: int, stops: Sequence[int]
) -> Iterator[tuple[int, TokenStore, Int[np.ndarray, " span"], Int[np.ndarray, " span"]]]:
    """(number of the stop, store, starts, sizes) of the segments read between each of `stops` and the one before."""
    taken = stream.read(Cursor(), 0, steps)
    at = 0
    for number, stop in enumerate(stops):
        while at < stop:
            rows: list[Row] = []
            while at < stop and len(rows) < _ROWS:
                one = next(taken)
                rows += [*one.rows, *one.added]
                at += 1
            for store in {id(row.store): row.store for row in rows}.values():
                kept = pieces_of([row for row in rows if row.store is store]).written()
                start, size = kept.start.ravel(), kept.size.ravel()
                yield number, store, start[size > 0], size[size > 0]


def spellings(vocabulary: Vocabulary, words: Sequence[str]) -> tuple[list[tuple[int, ...]], list[list[int]]]:
    """Different ways in which tokens spell some of the words, and those of each word: as it stands alone, and after a
    space where that makes other tokens. Words that the tokenizer does not tell apart are spelled the same; one that it
    cannot spell ([UNK]) is never seen."""
    unknown = vocabulary.ids.get("unk")
    known: dict[tuple[int, ...], int] = {}
    of_word: list[list[int]] = []
    alone, spaced = (vocabulary.encode_batch(texts) for texts in (list(words), [f" {word}" for word in words]))
    for ways in zip(alone, spaced, strict=True):
        able = [ids for ids in dict.fromkeys(map(tuple, ways)) if ids and unknown not in ids]
        of_word.append([known.setdefault(ids, len(known)) for ids in able])
    return list(known), of_word


def told_apart(vocabulary: Vocabulary, words: Sequence[str]) -> dict[str, str]:
    """Each word -> one name for all that have its tokens: "the" for "The", where the tokenizer knows no capitals."""
    different = sorted(set(words))
    of_word = [tuple(numbers) for numbers in spellings(vocabulary, different)[1]]
    name = dict(zip(of_word, different, strict=True))
    return {word: name[numbers] if numbers else word for word, numbers in zip(different, of_word, strict=True)}


class Occurrences:
    """Where spellings stand in a store: from the start of a word of the text to the end of one."""

    def __init__(self, store: TokenStore, spelled: Sequence[tuple[int, ...]]):
        self.count = len(spelled)
        self.by_length: dict[int, tuple[np.ndarray, np.ndarray]] = {}  # places, rising, and which spelling
        parts: dict[int, list[tuple[np.ndarray, np.ndarray]]] = {}
        tree = _Tree(spelled, store.vocabulary.size)
        for first in range(0, len(store.ids), _TOKENS):
            for length, places, which in tree.find(store, first, min(first + _TOKENS, len(store.ids))):
                parts.setdefault(length, []).append((places, which))
        for length, found in parts.items():
            places, which = (np.concatenate(column) for column in zip(*found, strict=True))
            self.by_length[length] = places, which

    def within(self, start: Int[np.ndarray, " span"], size: Int[np.ndarray, " span"]) -> Int[np.ndarray, " spelling"]:
        """How often each spelling stands whole within the spans, which may overlap or be the same."""
        counts = np.zeros(self.count, np.int64)
        for length, (places, which) in self.by_length.items():
            low = np.searchsorted(places, start)
            high = np.maximum(np.searchsorted(places, start + size - length, "right"), low)
            n = len(places) + 1
            covered = np.cumsum(np.bincount(low, minlength=n) - np.bincount(high, minlength=n))[:-1]
            counts += np.bincount(which, covered, self.count).astype(np.int64)
        return counts


class _Tree:
    """The spellings as a tree of tokens, walked from all starts of words at once."""

    def __init__(self, spelled: Sequence[tuple[int, ...]], size: int):
        self.size = size
        edges: dict[tuple[int, int], int] = {}
        ends: dict[int, int] = {}
        for number, ids in enumerate(spelled):
            node = 0
            for token in ids:
                node = edges.setdefault((node, token), len(edges) + 1)
            ends[node] = number
        order = sorted(edges)
        self.keys = np.array([node * size + token for node, token in order], np.int64)
        self.to = np.array([edges[edge] for edge in order], np.int64)
        self.ends = np.array([ends.get(node, -1) for node in range(len(edges) + 1)], np.int64)

    def find(self, store: TokenStore, first: int, last: int) -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
        """(length, places, spellings) of what starts from `first` up to `last`."""
        place = first + np.flatnonzero(np.asarray(store.flags[first:last]) & WORD)
        node = np.zeros(len(place), np.int64)
        length = 0
        while len(place) and len(self.keys):
            key = node * self.size + np.asarray(store.ids[place + length]).astype(np.int64)
            at = np.minimum(np.searchsorted(self.keys, key), len(self.keys) - 1)
            known = self.keys[at] == key
            place, node, length = place[known], self.to[at[known]], length + 1
            after = place + length
            inside = after < len(store.ids)
            whole = ~inside
            whole[inside] = (np.asarray(store.flags[after[inside]]) & WORD) > 0
            here = whole & (self.ends[node] >= 0)
            yield length, place[here], self.ends[node[here]]
            place, node = place[inside], node[inside]
