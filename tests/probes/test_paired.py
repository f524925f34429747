"""Two runs on the same items: against brute force, and against other formulas of the same tests."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from items import tables
from scipy.stats import beta, binom

from sesame.errors import UserError
from sesame.probes.answers import answered
from sesame.probes.paired import differences, interval


def run_of(right, steps, **told):
    return answered(*tables(right, steps, **told), "word-classes", "mask_prediction")


@settings(max_examples=60, deadline=None)
@given(gained=st.integers(0, 30), lost=st.integers(0, 30), same=st.integers(0, 50))
def test_the_interval_and_the_test_are_exact(gained: int, lost: int, same: int) -> None:
    n, differing = gained + lost + same, gained + lost
    if not n:
        return
    low, high, p = interval(n, gained, lost)
    if not differing:
        assert (1 - high) ** n == pytest.approx(0.05) and low == -high and p == 1
        return
    coin = beta.ppf(0.025, gained, lost + 1) if gained else 0.0, beta.ppf(0.975, gained + 1, lost) if lost else 1.0
    assert (low, high) == pytest.approx(tuple((2 * c - 1) * differing / n for c in coin), abs=1e-6)
    assert p == pytest.approx(min(1.0, 2 * binom.cdf(min(gained, lost), differing, 0.5)))
    assert low <= (gained - lost) / n <= high
    assert (p < 0.05) == (low > 0 or high < 0)


def test_differences_are_of_the_same_items_at_the_same_steps() -> None:
    rng = np.random.default_rng(0)
    first = {"noun": rng.integers(0, 2, (9, 4)).astype(float), "verb": rng.integers(0, 2, (5, 4)).astype(float)}
    second = {"noun": rng.integers(0, 2, (7, 3)).astype(float), "verb": rng.integers(0, 2, (5, 3)).astype(float)}
    second["verb"][2, 1] = np.nan
    a, b = run_of(first, [0, 2, 4, 8]), run_of(second, [2, 8, 9])
    found = {(one.group, one.step): one for one in differences(a, b)}
    assert set(found) == {(group, step) for group in ("noun", "verb", "") for step in (2, 8)}
    for (group, step), one in found.items():
        of = [group] if group else ["noun", "verb"]
        pairs = [
            (first[name][i, [0, 2, 4, 8].index(step)], second[name][i, [2, 8, 9].index(step)])
            for name in of for i in range(len(second[name]))
        ]  # fmt: skip
        pairs = [pair for pair in pairs if not np.isnan(pair).any()]
        assert one.items == len(pairs) == {"noun": 7, "verb": 5 - (step == 8), "": 12 - (step == 8)}[group]
        assert (one.gained, one.lost) == (pairs.count((0, 1)), pairs.count((1, 0)))
        assert one.first == pytest.approx(np.mean([x for x, _ in pairs]))
        assert one.difference == pytest.approx(one.second - one.first)


def test_runs_with_nothing_in_common_are_refused() -> None:
    right = {"noun": np.ones((3, 2))}
    with pytest.raises(UserError, match="no step"):
        differences(run_of(right, [0, 1]), run_of(right, [2, 3]))
    with pytest.raises(UserError, match="no item"):
        differences(run_of(right, [0, 1]), run_of(right, [0, 1], first_key=77))
