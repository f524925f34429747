"""Two runs on the same items: what a twin does differently from the run it was forked from.

Both were asked the same things at the same steps, so each thing is compared with itself. The difference of two shares
depends only on the things that one run got right and the other wrong; which of the two it was is a fair coin where the
runs do not differ (McNemar 1947). The interval is exact given how many such things there are: Clopper & Pearson's
(1934) for that coin, times their share. Where no thing differs, it is how large a share of such things could have gone
unseen.
"""

from dataclasses import dataclass

import numpy as np
from scipy.stats import binomtest

from sesame.errors import UserError
from sesame.probes.answers import Answered

LEVEL = 0.95


@dataclass(frozen=True)
class Difference:
    """Of the shares that two runs got right of one group's items at one step."""

    group: str
    """Empty for all groups together."""
    step: int
    items: int
    """That both were asked."""
    first: float
    second: float
    gained: int
    """Right in the second run only."""
    lost: int
    """Right in the first run only."""
    difference: float
    """Second minus first."""
    low: float
    high: float
    p: float
    """Of the exact McNemar test (two-sided)."""


def differences(first: Answered, second: Answered) -> list[Difference]:
    """Each group at each step that both runs were measured at, all groups together last.

    Raises UserError where the two have no step or no item in common.
    """
    steps, at_first, at_second = np.intersect1d(first.steps, second.steps, return_indices=True)
    place = {name: i for i, name in enumerate(zip(second.groups, second.keys.tolist(), strict=True))}
    both = [
        (group, i, place[group, key])
        for i, (group, key) in enumerate(zip(first.groups, first.keys.tolist(), strict=True))
        if (group, key) in place
    ]
    if not len(steps) or not both:
        what = "step at which both were measured" if both else "item that both were asked"
        raise UserError(
            f"{first.label} and {second.label} have no {what}. Measure both alike: "
            f"sesame watch {first.label} {second.label}"
        )
    a = first.right[[i for _, i, _ in both]][:, at_first]
    b = second.right[[j for *_, j in both]][:, at_second]
    groups = np.array([group for group, *_ in both])
    found = []
    for group in [*sorted(set(groups.tolist())), ""]:
        of = (groups == group) | (group == "")
        for column, step in enumerate(steps.tolist()):
            asked = of & np.isfinite(a[:, column]) & np.isfinite(b[:, column])
            if asked.any():
                found.append(_difference(group, step, a[asked, column] > 0, b[asked, column] > 0))
    return found


def _difference(group: str, step: int, first: np.ndarray, second: np.ndarray) -> Difference:
    n, gained, lost = len(first), int((second & ~first).sum()), int((first & ~second).sum())
    low, high, p = interval(n, gained, lost)
    return Difference(
        group, step, n, float(first.mean()), float(second.mean()), gained, lost, (gained - lost) / n, low, high, p
    )


def interval(n: int, gained: int, lost: int) -> tuple[float, float, float]:
    """(low, high, p) of (gained − lost) / n, of n things that were asked of both."""
    differing = gained + lost
    if not differing:
        unseen = 1 - (1 - LEVEL) ** (1 / n)
        return -unseen, unseen, 1.0
    test = binomtest(gained, differing)
    coin = test.proportion_ci(LEVEL, method="exact")
    return (2 * coin.low - 1) * differing / n, (2 * coin.high - 1) * differing / n, float(test.pvalue)
