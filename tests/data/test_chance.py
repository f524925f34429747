"""Keyed chance: a pure function of its key, uniform, and a permutation of any size."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sesame.data import chance

FAST = settings(max_examples=40, deadline=None)


@FAST
@given(n=st.integers(1, 3000), seed=st.integers(-(2**63), 2**63))
def test_permute_is_a_permutation_of_any_size(n: int, seed: int) -> None:
    there = chance.permute(np.arange(n), n, "order", seed)
    assert np.array_equal(np.sort(there), np.arange(n))


def test_permute_answers_the_same_one_by_one_and_differs_by_key() -> None:
    n = 257
    whole = chance.permute(np.arange(n), n, "order", 3, 1)
    single = [int(chance.permute(np.array([i]), n, "order", 3, 1)[0]) for i in range(n)]
    assert whole.tolist() == single
    for other in (chance.permute(np.arange(n), n, "order", 3, 2), chance.permute(np.arange(n), n, "rows", 3, 1)):
        assert (other == whole).mean() < 0.05


def test_permute_sends_every_index_everywhere() -> None:
    n, turns = 64, 300
    counts = np.zeros((n, n))
    for epoch in range(turns):
        counts[np.arange(n), chance.permute(np.arange(n), n, "order", 0, epoch)] += 1
    expected = turns / n
    assert ((counts - expected) ** 2 / expected).sum() < 4415  # chi-squared, 3,969 degrees of freedom: five deviations


def test_uniform_is_uniform_and_uncorrelated_along_every_word_of_the_key() -> None:
    grid = chance.uniform("mask", 1, np.arange(400)[:, None], np.arange(500))
    assert grid.min() >= 0 and grid.max() < 1
    counts = np.histogram(grid, 50, (0, 1))[0]
    expected = grid.size / 50
    assert ((counts - expected) ** 2 / expected).sum() < 90  # chi-squared, 49 degrees of freedom: 86 at 0.9992
    for a, b in ((grid[1:], grid[:-1]), (grid[:, 1:], grid[:, :-1])):
        assert abs(np.corrcoef(a.ravel(), b.ravel())[0, 1]) < 0.01
    other = chance.uniform("mask", 2, np.arange(400)[:, None], np.arange(500))
    assert abs(np.corrcoef(grid.ravel(), other.ravel())[0, 1]) < 0.01


def test_a_value_does_not_depend_on_what_it_is_computed_with() -> None:
    keys = np.array([5, 2**64 - 1, 17], np.uint64)
    together = chance.uniform("mask", 7, keys[:, None], np.arange(6))
    for i, key in enumerate(keys):
        for position in range(6):
            assert chance.uniform("mask", 7, int(key), position) == together[i, position]
    assert not np.array_equal(together, chance.uniform("order", 7, keys[:, None], np.arange(6)))


@FAST
@given(n=st.integers(1, 50))
def test_integers_stay_below_n_and_reach_all_of_it(n: int) -> None:
    found = chance.integers(n, "pick", np.arange(100 * n))
    assert set(found.tolist()) == set(range(n))


def test_seed_for_fits_a_signed_64_bit_seed() -> None:
    seeds = [chance.seed_for("dropout", 0, step) for step in range(200)]
    assert all(0 <= s < 2**63 for s in seeds) and len(set(seeds)) == 200


@pytest.mark.parametrize("words", [(1, 2), (2, 1), (-1, 2)])
def test_the_order_and_sign_of_words_matter(words: tuple[int, int]) -> None:
    assert int(chance.bits("x", *words)) != int(chance.bits("x", 1, 1))
    assert int(chance.bits("x", 1, 2)) != int(chance.bits("x", 2, 1))
