"""Axes have a zero and readable ticks, and names at the ends of lines do not overlap."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sesame.report.learning_chart import apart, extent, spaced, thinned_steps, ticks

places = st.lists(st.floats(0, 1), min_size=1, max_size=9).map(np.array)


@settings(max_examples=100, deadline=None)
@given(places, st.floats(0.01, 0.2))
def test_names_keep_their_order_their_distance_and_to_the_chart(at, least):
    moved = apart(at, least, (0.0, 1.0))
    order = np.argsort(at, kind="stable")
    assert (np.diff(moved[order]) >= least - 1e-9).all()
    assert moved.min() >= -1e-9
    if least * (len(at) - 1) <= 1:
        assert moved.max() <= 1 + 1e-9
    if len(at) > 1 and np.diff(np.sort(at)).min() >= least:
        assert moved == pytest.approx(at)


@settings(max_examples=10, deadline=None)
@given(st.lists(st.integers(0, 5), min_size=2, max_size=3), st.integers(1, 2))
def test_names_move_as_little_as_can_be(at, least):
    grid = np.arange(11) / 2  # brute force
    order = np.argsort(at, kind="stable")
    best = min(
        sum((moved[i] - at[place]) ** 2 for i, place in enumerate(order))
        for moved in itertools.combinations(grid, len(at))
        if all(b - a >= least for a, b in itertools.pairwise(moved))
    )
    found = apart(np.array(at, float), float(least), (0.0, 5.0))
    assert ((found - at) ** 2).sum() <= best + 1e-9


@given(st.floats(1, 1e6), st.floats(1, 1e9))
def test_ticks_lie_on_the_axis_and_there_are_some(first, more):
    last = first * more
    found = ticks(first, last)
    assert found == sorted(set(found))
    assert all(first <= tick <= last for tick in found)
    assert len(found) <= 17
    if more >= 10:
        assert len(found) >= 3


def test_ticks_are_powers_of_ten_where_there_are_enough():
    assert ticks(4000, 40e6) == [1e4, 1e5, 1e6, 1e7]
    assert ticks(4000, 30_000) == [5000, 10_000, 20_000]


@given(st.lists(st.integers(0, 10**6), min_size=1, max_size=200, unique=True).map(sorted), st.integers(2, 40))
def test_of_many_steps_the_first_and_the_last_are_kept(steps, most):
    kept = thinned_steps(steps, most)
    assert kept == sorted(set(kept) & set(steps))
    assert len(kept) == min(most, len(steps))
    assert (kept[0], kept[-1]) == (steps[0], steps[-1])


@pytest.mark.parametrize(
    ("values", "percent", "ends"),
    [
        ([0.1, 0.4], True, (0.0, 0.42)),
        ([0.2, 0.99], True, (0.0, 1.0)),
        ([0.0], True, (0.0, 1.0)),
        ([2.0], False, (1.8, 2.2)),
    ],
)
def test_shares_start_at_nothing_and_end_at_all(values, percent, ends):
    assert extent(values, percent) == pytest.approx(ends)


def test_dots_of_many_measurements_stand_apart_as_the_axis_has_them():
    rows = [{"step": step, "tokens": 4096 * step} for step in (0, *range(1, 2000))]
    kept = spaced(rows, most=20)
    at = np.log1p(np.array(kept))
    assert kept[0] == 0 and 10 < len(kept) <= 21 and np.diff(at).min() >= np.log1p(1999) / 20
    few = [{"step": step, "tokens": None} for step in (0, 1, 10, 100)]
    assert spaced(few) == [0, 1, 10, 100]
