"""What came out of a comparison: the values, their means over seeds, and the differences that the seeds can resolve.

Arms with the same seed read the same text in the same order, so an arm is compared with the reference seed by seed.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from msgspec import Struct
from scipy.stats import t

from sesame.report import wording
from sesame.tasks.comparison import ROUNDING, Mean, mean_of, standard_error

LEVEL = 0.95


class Difference(Struct, frozen=True, kw_only=True):
    """An arm minus the reference, over the seeds that both have."""

    mean: float
    se: float | None
    """Standard error of the mean of the differences; None for one seed, which resolves nothing."""
    low: float | None
    high: float | None
    """Of the 95% interval (Student's t): with few seeds it is many standard errors wide."""
    n: int

    @property
    def resolved(self) -> bool:
        """Whether the interval is on one side of 0. An error of nothing resolves nothing: a few seeds may be tied."""
        if self.se is None or self.low is None or self.high is None:
            return False
        return self.se > ROUNDING and (self.low > 0 or self.high < 0)


def paired(ours: Sequence[float], theirs: Sequence[float]) -> Difference:
    """The mean of the differences between two lists of the same seeds, with its error and interval."""
    differences = np.subtract(ours, theirs)
    mean, n = float(differences.mean()), len(differences)
    error = standard_error(differences.tolist())
    if error is None:
        return Difference(mean=mean, se=None, low=None, high=None, n=n)
    reach = float(t.ppf((1 + LEVEL) / 2, n - 1)) * error
    return Difference(mean=mean, se=error, low=mean - reach, high=mean + reach, n=n)


class Cell(Struct, frozen=True, kw_only=True):
    """One arm's answer to one measurement."""

    values: tuple[float | None, ...]
    """By seed; None where the run did not get that far."""
    mean: Mean | None = None
    difference: Difference | None = None
    """From the reference; None for the reference itself."""
    how: str = ""
    """How it was measured, where arms were not all asked in the same way."""


class Column(Struct, frozen=True, kw_only=True):
    """One measurement of all arms."""

    name: str
    metric: str
    share: bool
    """A share, shown times 100."""
    cells: dict[str, Cell]
    words: str
    """What shows, and what cannot be resolved."""


class Line(Struct, frozen=True, kw_only=True):
    """One arm's training."""

    recipe: str
    changes: dict[str, object]
    steps: int
    positions: int
    """Tokens (images, frames) of all its steps, padding included."""
    seconds: float | None
    """Of training, the mean over seeds."""


class Outcome(Struct, frozen=True, kw_only=True):
    """A whole comparison, as `result.json` has it."""

    grid: str
    about: str
    equal: str
    amount: float
    reference: str
    seeds: tuple[int, ...]
    arms: dict[str, Line]
    columns: tuple[Column, ...]
    notes: tuple[str, ...]


def column(
    name: str,
    metric: str,
    share: bool,
    values: Mapping[str, Sequence[float | None]],
    how: dict[str, str],
    reference: str,
) -> Column:
    """The statistics of one measurement from its values by arm and seed."""
    base, cells = values[reference], {}
    for arm, own in values.items():
        there = [v for v in own if v is not None]
        both = [(a, b) for a, b in zip(own, base, strict=True) if a is not None and b is not None]
        cells[arm] = Cell(
            values=tuple(own),
            mean=mean_of(there) if there else None,
            difference=paired(*zip(*both, strict=True)) if both and arm != reference else None,
            how=how.get(arm, ""),
        )
    return Column(name=name, metric=metric, share=share, cells=cells, words=_words(cells, share, reference))


# ------------------------------------------------------------------------------------------------------ in words
def amount(mean: float, se: float | None, share: bool, sign: bool = False) -> str:
    """54.9 ± 0.3 in hundredths for a share, 12.34 ± 0.05 for anything else."""

    def said(value: float, sign: bool = False) -> str:
        digits = f"{100 * value:{'+' if sign else ''}.1f}" if share else f"{value:{'+' if sign else ''}.4g}"
        return digits.replace("-", "−")

    return said(mean, sign) + (f" ± {said(se)}" if se is not None else "")


def cell(found: Cell, share: bool) -> str:
    """`54.9 ± 0.3`, and below it `(−0.5 ± 0.1)`; a difference that is not resolved is marked ≈."""
    if found.mean is None:
        return "–"
    said = amount(found.mean.mean, found.mean.se, share)
    if found.difference is None:
        return said
    mark = "" if found.difference.resolved else "≈ "
    return f"{said}\n({mark}{amount(found.difference.mean, found.difference.se, share, sign=True)})"


def _words(cells: dict[str, Cell], share: bool, reference: str) -> str:
    others = {arm: c.difference for arm, c in cells.items() if c.difference}
    if not others:
        there = [arm for arm, c in cells.items() if c.mean]
        said = f"{arm_values(cells, there, share)}; {reference} has no value to compare with." if there else ""
        return said or "No arm has a value."
    if all(d.se is None for d in others.values()):
        return "One seed each: no difference can be resolved."
    parts = [
        f"{arm} is {'above' if d.mean > 0 else 'below'} {reference} by {amount(abs(d.mean), d.se, share)}"
        for arm, d in others.items()
        if d.resolved
    ]
    open_ = [arm for arm, d in others.items() if not d.resolved]
    if open_:
        seeds = max(d.n for d in others.values())
        parts.append(f"{wording.several(open_)} cannot be told from {reference} with {seeds} seeds")
    return "; ".join(parts) + "."


def arm_values(cells: Mapping[str, Cell], arms: Sequence[str], share: bool) -> str:
    """NSP 78.1 ± 0.4 and SOP 71.9 ± 1.0."""
    return wording.several([f"{arm} {amount(m.mean, m.se, share)}" for arm in arms if (m := cells[arm].mean)])
