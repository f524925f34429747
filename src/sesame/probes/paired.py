"""Two runs on the same items: what a twin does differently from the run it was forked from.

Both were asked the same things at the same steps, so each thing is compared with itself. The difference of the two
shares comes from the things that one run alone got right; which one is a fair coin where the runs do not differ, which
is McNemar's test (1947), here the exact one. The interval is the score interval for the difference of paired shares
(Tango 1998, 3): the differences that a score test would not reject. It holds its level where few things differ or none.
"""

import math
from dataclasses import dataclass

import numpy as np
from scipy.optimize import brentq
from scipy.stats import binomtest

from sesame.errors import UserError
from sesame.probes.answers import Answered

_Z = 1.959963984540054
"""97.5% of a normal distribution lies below."""


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
    a = first.right[np.array([i for _, i, _ in both], int)][:, at_first]
    b = second.right[np.array([j for *_, j in both], int)][:, at_second]
    groups = np.array([group for group, *_ in both], str)
    found = []
    for group in dict.fromkeys([*sorted(set(groups.tolist())), ""]):
        of = (groups == group) | (group == "")
        for column, step in enumerate(steps.tolist()):
            asked = of & np.isfinite(a[:, column]) & np.isfinite(b[:, column])
            if asked.any():
                found.append(_difference(group, step, a[asked, column] > 0, b[asked, column] > 0))
    if not found:
        what = "step at which both were measured" if both else "item that both were asked"
        what = "item that both were asked at one step" if both and len(steps) else what
        raise UserError(
            f"{first.label} and {second.label} have no {what}. Measure both alike: "
            f"sesame watch {first.label} {second.label}"
        )
    return found


def _difference(group: str, step: int, first: np.ndarray, second: np.ndarray) -> Difference:
    n, gained, lost = len(first), int((second & ~first).sum()), int((first & ~second).sum())
    low, high = interval(n, gained, lost)
    p = float(binomtest(gained, gained + lost).pvalue) if gained + lost else 1.0
    return Difference(
        group, step, n, float(first.mean()), float(second.mean()), gained, lost, (gained - lost) / n, low, high, p
    )


def interval(n: int, gained: int, lost: int) -> tuple[float, float]:
    """95% interval of (gained − lost) / n, of n things that were asked of both."""

    def score(difference: float) -> float:
        """How many standard errors the data are above `difference`, where the share that is lost is what it most likely
        is under that difference: the larger root of a quadratic."""
        a = 2 * n
        b = (2 * n - gained + lost) * difference - gained - lost
        c = -lost * difference * (1 - difference)
        share = (math.sqrt(max(b * b - 4 * a * c, 0.0)) - b) / (2 * a)
        error = math.sqrt(max(n * (2 * share + difference * (1 - difference)), 0.0))
        return (gained - lost - n * difference) / max(error, 1e-12)

    here = (gained - lost) / n
    low = -1.0 if here == -1 else brentq(lambda d: score(d) - _Z, -1.0, here)
    high = 1.0 if here == 1 else brentq(lambda d: score(d) + _Z, here, 1.0)
    return low, high
