from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sesame import config
from sesame.data.batch import TextBatch
from sesame.pretext.masked_lm import choose, see

MASK, ORDINARY = 4, np.arange(5, 40)


def batch_of(words: list[list[int]], *, rows: int = 1, seed: int = 0, keys: list[int] | None = None) -> TextBatch:
    """Examples given as the sizes of their words, spread over rows in turn; ids are all ordinary."""
    packed: list[list[tuple[int, int]]] = [[] for _ in range(rows)]  # (example, its tokens)
    numbers: list[int] = []
    for r in range(rows):
        for example in range(r, len(words), rows):
            packed[r].append((len(numbers), example))
            numbers.append(example)
    time = max(sum(sum(words[e]) + 2 for _, e in row) for row in packed) + 1
    shape = (rows, time)
    ids, position = np.zeros(shape, int), np.zeros(shape, int)
    example, word, special = np.full(shape, -1), np.zeros(shape, bool), np.ones(shape, bool)
    for r, row in enumerate(packed):
        at = 0
        for number, e in row:
            size = sum(words[e]) + 2
            example[r, at : at + size], position[r, at : at + size] = number, np.arange(size)
            ids[r, at : at + size] = 5 + (np.arange(size) + e) % 30
            special[r, at + 1 : at + size - 1] = False
            word[r, at + 1 + np.cumsum([0, *words[e][:-1]])] = True
            at += size
    key = np.array([keys[e] if keys else 100 + e for e in numbers], np.uint64)
    pair = np.full(len(numbers), -1)
    return TextBatch(
        ids=ids, position=position, kind=np.zeros(shape, int), example=example, word=word, sentence=word,
        special=special, key=key, pair=pair, seed=seed, epoch=np.zeros(len(numbers), int),
    )  # fmt: skip


examples = st.lists(st.lists(st.integers(1, 4), min_size=1, max_size=20), min_size=1, max_size=6)
units = st.sampled_from(["token", "word", "span", "ngram"])


@settings(max_examples=60, deadline=None)
@given(words=examples, unit=units, rate=st.sampled_from([0.0, 0.15, 0.4, 1.0]), seed=st.integers(0, 5))
def test_the_rate_is_kept_and_words_are_whole(words: list[list[int]], unit: str, rate: float, seed: int) -> None:
    batch = batch_of(words, rows=2, seed=seed)
    hidden = choose(batch, config.Bert(rate=rate, unit=unit))
    assert not (hidden & batch.special).any()
    for number, key in enumerate(batch.key):
        here = (batch.example == number) & ~batch.special
        sizes = words[int(key) - 100]
        budget = max(1, round(rate * sum(sizes))) if rate else 0
        count = int(hidden[here].sum())
        if unit == "token":
            assert count == budget
            continue
        edges = np.cumsum([0, *sizes])
        by_word = [hidden[here][a:b] for a, b in pairwise(edges)]
        assert all(w.all() or not w.any() for w in by_word)
        left = [len(w) for w in by_word if not w.any()]
        # as near to the budget as whole words allow: over it only when a single smallest word is
        assert count <= budget or (count == min(sizes) and sum(w.any() for w in by_word) == 1)
        if unit == "word" and count <= budget and left:
            assert min(left) > budget - count


@pytest.mark.parametrize(("unit", "mean"), [("word", 1.0), ("span", 3.8), ("ngram", 18 / 11)])
def test_words_are_hidden_in_runs_of_the_published_length(unit: str, mean: float) -> None:
    """At so small a rate few runs meet, which then count as one, and few are cut short by what is left to hide."""
    batch = batch_of([[1, 2] * 2000] * 12, rows=4)
    hidden = choose(batch, config.Bert(rate=0.02, unit=unit))
    lengths: list[int] = []
    for number in range(12):
        by_word = hidden[(batch.example == number) & ~batch.special & batch.word]
        edges = np.flatnonzero(np.diff(np.r_[False, by_word, False]))
        lengths += (edges[1::2] - edges[::2]).tolist()
    assert np.mean(lengths) == pytest.approx(mean, rel=0.08)
    longest = {"word": 1, "span": 10, "ngram": 3}[unit]
    assert set(range(1, longest + 1)) <= set(lengths)


@settings(max_examples=30, deadline=None)
@given(words=examples, unit=units, rows=st.integers(1, 3))
def test_a_mask_does_not_depend_on_the_batch(words: list[list[int]], unit: str, rows: int) -> None:
    c = config.Bert(unit=unit)
    together = batch_of(words, rows=rows)
    hidden = choose(together, c)
    seen = see(together, hidden, c, MASK, ORDINARY)
    for e, sizes in enumerate(words):
        alone = batch_of([sizes], keys=[100 + e])
        number = together.key.tolist().index(100 + e)
        here = together.example == number
        there = alone.example == 0
        assert (hidden[here] == choose(alone, c)[there]).all()
        # ids differ between the two batches by construction, so compare what was written over them
        same = replace(alone, ids=np.where(there, 0, 0))
        same.ids[there] = together.ids[here]
        assert (seen[here] == see(same, choose(same, c), c, MASK, ORDINARY)[there]).all()


def test_epochs_and_seeds_mask_anew() -> None:
    batch = batch_of([[1] * 100])
    masks = [choose(replace(batch, epoch=batch.epoch + e, seed=s), config.Bert()) for e in range(2) for s in range(2)]
    assert len({m.tobytes() for m in masks}) == 4


def test_80_10_10() -> None:
    batch = batch_of([[1] * 100] * 300, rows=3)
    c = config.Bert(rate=0.5)
    hidden = choose(batch, c)
    seen, old = see(batch, hidden, c, MASK, ORDINARY)[hidden], batch.ids[hidden]
    n = len(old)
    masked, kept = (seen == MASK).mean(), (seen == old).mean()
    other = seen[(seen != MASK) & (seen != old)]
    for share, expected in (
        (masked, 0.8),
        (kept, 0.1 + 0.1 / len(ORDINARY)),
        (len(other) / n, 0.1 - 0.1 / len(ORDINARY)),
    ):
        assert abs(share - expected) < 4 * np.sqrt(expected * (1 - expected) / n)
    assert set(other) == set(ORDINARY.tolist())
    assert (see(batch, hidden, c, MASK, ORDINARY)[~hidden] == batch.ids[~hidden]).all()


@pytest.mark.parametrize(("unit", "mean"), [("span", 3.8), ("ngram", 18 / 11)])
def test_run_lengths_have_the_published_means(unit: str, mean: float) -> None:
    # SpanBERT reports a mean of 3.8 words after clipping at 10; ALBERT's mean is 3 / (1 + 1/2 + 1/3).
    from sesame.pretext.masked_lm import _run_lengths

    lengths = _run_lengths(unit, np.random.default_rng(0).random(200_000))
    assert lengths.mean() == pytest.approx(mean, rel=0.02)
    assert lengths.min() == 1
    assert lengths.max() == (10 if unit == "span" else 3)
