"""Words in running text: which to ask about, where their sub-words are, and what the answers come to.

A text is encoded as it stands, since a model has met words with the spaces and marks around them; where the sub-words
of a word are is told by characters. A word that shares a sub-word with its neighbour ("do" in "don't") cannot be asked
about by itself; it is left out and counted, as are words that the tokenizer cannot spell.
"""

import hashlib
import logging
import math
from bisect import bisect_left
from collections import Counter
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Bool, Int

from sesame.data import chance
from sesame.probes.base import Ask, Value
from sesame.probes.prediction import Reader, Word

log = logging.getLogger(__name__)

OPENING, CLOSING = "⟦", "⟧"
"""Around the word that is asked about, where its text is shown."""
SHOWN = 8
"""Words of a group whose text and guesses are shown."""


@dataclass(frozen=True)
class Asked:
    """A word to ask about, in its text."""

    text: str
    start: int
    """Of its characters."""
    stop: int
    group: str

    @property
    def word(self) -> str:
        return self.text[self.start : self.stop]

    @cached_property
    def key(self) -> int:
        """The same for the same word of the same text, everywhere."""
        return key_of(self.text, self.start)

    @property
    def shown(self) -> str:
        """The text, with the word in brackets."""
        return f"{self.text[: self.start]}{OPENING}{self.word}{CLOSING}{self.text[self.stop :]}"


def key_of(*parts: Hashable) -> int:
    """64 bits that stand for some content."""
    return int.from_bytes(hashlib.blake2b(repr(parts).encode(), digest_size=8).digest(), "little")


def keyed_order(keys: Sequence[int]) -> list[int]:
    """Indices in an order that depends on the keys alone, so that a part of it is a random choice that stays."""
    return np.argsort(chance.bits("probe order", np.array(keys, np.uint64)), kind="stable").tolist()


def shown_of(keys: Sequence[int], groups: Sequence[str]) -> set[int]:
    """The numbers of the first few of each group in keyed order."""
    taken = Counter[str]()
    shown = set()
    for number in keyed_order(keys):
        if taken[groups[number]] < SHOWN:
            taken[groups[number]] += 1
            shown.add(number)
    return shown


def balanced(found: dict[str, list[int]], most: int) -> list[int]:
    """The first of each list, equally many or all there are, at most `most` together."""
    cap = quota([len(numbers) for numbers in found.values()], most)
    return [number for numbers in found.values() for number in numbers[:cap]]


def quota(sizes: Sequence[int], most: int) -> int:
    """The largest number such that taking at most it of each of `sizes` things takes at most `most` in all."""
    left = most
    for done, size in enumerate(sorted(sizes)):
        share_of_each = left // (len(sizes) - done)
        if size > share_of_each:
            return share_of_each
        left -= size
    return max(sizes, default=0)


# ---------------------------------------------------------------------------------------------- encoding
def placed(reader: Reader, asked: Sequence[Asked], left_out: Counter[str]) -> list[tuple[Asked, Word]]:
    """The words that can be asked about, with their sub-words; why others cannot is counted in `left_out`.

    Of a text that is longer than the model reads, a window around the word is read, and that is counted too.
    """
    vocabulary = reader.vocabulary
    texts = list(dict.fromkeys(one.text for one in asked))
    tokens = {}
    for text, (ids, offsets) in zip(texts, vocabulary.encode_with_offsets(texts), strict=True):
        tokens[text] = ids, *_without_space(text, offsets)
    found = []
    for one in asked:
        ids, number, begin, end = tokens[one.text]
        first, last = bisect_left(begin, one.start), bisect_left(begin, one.stop)
        if (first and end[first - 1] > one.start) or (first < last and end[last - 1] > one.stop):
            left_out["words that share a sub-word with a neighbour"] += 1
        elif first == last:
            left_out["words without a sub-word"] += 1
        elif "unk" in vocabulary.ids and vocabulary.unk in ids[number[first] : number[last - 1] + 1]:
            left_out["words that the tokenizer cannot spell ([UNK])"] += 1
        else:
            start, stop = number[first], number[last - 1] + 1
            if len(ids) <= reader.room:
                found.append((one, Word(ids, start, stop)))
            elif window := reader.window(start, stop, len(ids)):
                left_out["words of a text longer than the model reads, of which it reads a window"] += 1
                found.append((one, Word(ids[window], start - window.start, stop - window.start)))
            else:
                left_out["words longer than the model reads"] += 1
    return found


def _without_space(text: str, offsets: Int[np.ndarray, "token 2"]) -> tuple[list[int], list[int], list[int]]:
    """Numbers of the tokens that are more than white space, and where they begin and end without any at their ends."""
    solid = np.flatnonzero([not c.isspace() for c in text])
    first = np.searchsorted(solid, offsets[:, 0])
    last = np.searchsorted(solid, offsets[:, 1]) - 1
    number = np.flatnonzero(first <= last)
    return number.tolist(), solid[first[number]].tolist(), (solid[last[number]] + 1).tolist()


def say_once(ask: Ask, probe: str, counts: Counter[str], warnings: Sequence[str] = ()) -> None:
    """Tell what was left out, with the first measurement."""

    def say() -> None:
        if total := {what: n for what, n in counts.items() if n}:
            told = "; ".join(f"{n:,} {what}" for what, n in sorted(total.items()))
            log.info("%s, not as they stand: %s", probe, told)
        for warning in warnings:
            log.warning("%s: %s", probe, warning)

    ask.once((probe, "said", ask.source, ask.full), say)


# --------------------------------------------------------------------------------------------- answering
def share(metric: str, right: Bool[np.ndarray, " thing"], group: str = "") -> Value:
    """The share of things that were right, with Wilson's 95% interval (Wilson 1927)."""
    n, p, z = len(right), float(right.mean()), 1.959963984540054
    centre = (p + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z * math.sqrt(p * (1 - p) / n + z**2 / (4 * n**2)) / (1 + z**2 / n)
    return Value(metric, p, n, group, low=max(0.0, min(centre - half, p)), high=min(1.0, max(centre + half, p)))
