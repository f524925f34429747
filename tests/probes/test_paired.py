"""Two runs on the same items: against brute force, and against other formulas of the same tests."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from items import tables
from scipy.optimize import minimize_scalar
from scipy.special import xlogy
from scipy.stats import binom, multinomial

from sesame.errors import UserError
from sesame.probes.answers import answered
from sesame.probes.paired import differences, interval


def run_of(right, steps, **told):
    return answered(*tables(right, steps, **told), "word-classes", "mask_prediction")


def score(n: int, gained: int, lost: int, difference: float) -> float:
    """How far the data are from a difference, in standard errors under it, by searching for the likeliest shares."""

    def unlikely(share: float) -> float:
        shares = np.array([share + difference, share, 1 - 2 * share - difference])
        return -float(xlogy([gained, lost, n - gained - lost], shares).sum())

    least, most = max(0.0, -difference), (1 - difference) / 2
    share = minimize_scalar(unlikely, bounds=(least, most), method="bounded", options={"xatol": 1e-10}).x
    return (gained - lost - n * difference) / np.sqrt(n * (2 * share + difference - difference**2))


@settings(max_examples=40, deadline=None)
@given(gained=st.integers(0, 12), lost=st.integers(0, 12), same=st.integers(1, 50))
def test_the_ends_of_the_interval_are_as_unlikely_as_can_be(gained: int, lost: int, same: int) -> None:
    n = gained + lost + same
    low, high = interval(n, gained, lost)
    assert -1 < low < (gained - lost) / n < high < 1
    assert interval(n, lost, gained) == pytest.approx((-high, -low))
    assert score(n, gained, lost, low) == pytest.approx(1.96, abs=0.01)
    assert score(n, gained, lost, high) == pytest.approx(-1.96, abs=0.01)


def test_all_gained_and_all_lost_have_an_interval() -> None:
    assert interval(5, 5, 0)[1] == 1 == -interval(5, 0, 5)[0]
    assert 0 < interval(5, 5, 0)[0] == pytest.approx(-interval(5, 0, 5)[1])


@pytest.mark.parametrize("shares", [(0.02, 0.02), (0.1, 0.0), (0.15, 0.05), (0.4, 0.3)])
def test_the_interval_holds_the_truth_as_often_as_it_says(shares: tuple[float, float]) -> None:
    """Over every outcome of 25 things, with its chance."""
    held, n = 0.0, 25
    for gained in range(n + 1):
        for lost in range(n + 1 - gained):
            low, high = interval(n, gained, lost)
            chance = multinomial.pmf([gained, lost, n - gained - lost], n, [*shares, 1 - sum(shares)])
            held += chance * (low <= shares[0] - shares[1] <= high)
    assert 0.93 < held <= 1


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
        assert one.p == pytest.approx(min(1, 2 * binom.cdf(min(one.gained, one.lost), one.gained + one.lost, 0.5)))


def test_runs_with_nothing_in_common_are_refused() -> None:
    right = {"noun": np.ones((3, 2))}
    with pytest.raises(UserError, match="no step"):
        differences(run_of(right, [0, 1]), run_of(right, [2, 3]))
    with pytest.raises(UserError, match="no item"):
        differences(run_of(right, [0, 1]), run_of(right, [0, 1], first_key=77))
    apart = np.array([[1.0, np.nan], [np.nan, 1.0]]), np.array([[np.nan, 1.0], [1.0, np.nan]])
    with pytest.raises(UserError, match="no item that both were asked at one step"):
        differences(*(run_of({"noun": each}, [0, 1]) for each in apart))


def test_items_without_a_group_are_compared_once() -> None:
    first, second = (run_of({"": np.array(right)[:, None]}, [8]) for right in ([1.0, 0, 0], [1.0, 1, 0]))
    (one,) = differences(first, second)
    assert (one.group, one.items, one.gained, one.lost) == ("", 3, 1, 0)
