"""What a run answered, out of its tables: which things were right at which step.

Where it was measured in both forms, one of them counts, at all steps (`table.form_of`). What follows from the answers
of a word class (when it was learned, how often its words had been seen by then, what two runs differ in) is worked out
elsewhere.
"""

from dataclasses import dataclass, field, replace
from functools import reduce
from operator import and_
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from jaxtyping import Bool, Float, Int, UInt64

from sesame.data import chance
from sesame.errors import UserError
from sesame.probes.table import FULL, ITEM_SCHEMA, ITEMS, LIVE, VALUE_SCHEMA, VALUES, form_of, read


@dataclass(frozen=True)
class Answered:
    """The items of one metric of one run, one row each."""

    label: str
    steps: Int[np.ndarray, " step"]
    """Where it was measured, rising."""
    tokens: Int[np.ndarray, " step"]
    """Seen by then; the steps themselves where that is not known."""
    counted: bool
    """Whether it is."""
    keys: UInt64[np.ndarray, " item"]
    groups: tuple[str, ...]
    """Of each item."""
    words: tuple[str, ...]
    right: Float[np.ndarray, "item step"]
    """1 or 0; NaN where it was not asked at that step."""
    baseline: dict[str, float] = field(default_factory=dict)
    """By group, what needs no sentence: the score of the unigram baseline at the last step."""
    chance: dict[str, float] = field(default_factory=dict)
    """By group, what guessing gets, where that is not next to nothing."""

    def names(self) -> list[str]:
        return sorted(set(self.groups))

    def of(self, group: str) -> "Answered":
        """The items of one group, and the steps at which any of them was asked."""
        item = np.flatnonzero([name == group for name in self.groups])
        step = np.flatnonzero(np.isfinite(self.right[item]).any(0))
        return replace(
            self,
            steps=self.steps[step],
            tokens=self.tokens[step],
            keys=self.keys[item],
            groups=(group,) * len(item),
            words=tuple(self.words[i] for i in item),
            right=self.right[item][:, step],
        )

    @property
    def asked(self) -> Int[np.ndarray, " step"]:
        """How many items were asked."""
        return np.isfinite(self.right).sum(0)


def answered(
    values: pa.Table, items: pa.Table, probe: str, metric: str, source: str | None = None, label: str = "the run"
) -> Answered:
    """What the two tables (probes/table.py) say of one metric.

    `source` may be left out where the probe has one alone. Raises UserError where there is nothing, or more than one.
    """
    here = items.filter((pc.field("probe") == probe) & (pc.field("metric") == metric))
    sources = sorted(set(here["source"].to_pylist())) if source is None else [source]
    if len(sources) > 1:
        raise UserError(
            f"{label}: {probe} was measured on several sources. Choose one: {', '.join(map(repr, sources))}."
        )
    here = here.filter(pc.is_in(here["source"], pa.array(sources, pa.string())))
    if not len(here):
        raise UserError(
            f"{label} has no items of {probe}, {metric}. There are: {', '.join(measures(items)) or 'none'}. "
            "`sesame watch RUN` measures its checkpoints."
        )
    steps_in = {form: len(pc.unique(here.filter(pc.equal(here["form"], form))["step"])) for form in (FULL, LIVE)}
    form = form_of(steps_in[FULL], steps_in[LIVE])
    here = here.filter(pc.equal(here["form"], form))

    steps, at = np.unique(here["step"].to_numpy(), return_inverse=True)
    tokens = np.full(len(steps), -1, np.int64)
    tokens[at] = here["tokens"].to_numpy()
    counted = bool((tokens >= 0).all())
    groups = here["group"].to_numpy(zero_copy_only=False).astype(str)
    named = np.empty(len(groups), [("group", groups.dtype), ("key", np.uint64)])
    named["group"], named["key"] = groups, here["key"].to_numpy()
    things, first, item = np.unique(named, return_index=True, return_inverse=True)
    right = np.full((len(things), len(steps)), np.nan)
    right[item, at] = np.asarray(here["right"])
    words = here["word"].to_numpy(zero_copy_only=False)[first]
    return Answered(
        label,
        steps,
        tokens if counted else steps,
        counted,
        np.ascontiguousarray(things["key"]),
        tuple(things["group"].tolist()),
        tuple(words.tolist()),
        right,
        _baseline(values, probe, f"{metric}_unigram", sources[0], form),
        _baseline(values, probe, f"{metric}_chance", sources[0], form),
    )


def opened(folder: Path, probe: str, metric: str, source: str | None = None) -> Answered:
    """The same of the tables in a run's folder."""
    values, items = read(folder / VALUES, VALUE_SCHEMA), read(folder / ITEMS, ITEM_SCHEMA)
    return answered(values, items, probe, metric, source, str(folder))


def measures(items: pa.Table) -> list[str]:
    """`probe, metric` of all there is."""
    rows = items.group_by(["probe", "metric"]).aggregate([]).to_pylist()
    return sorted(f"{row['probe']}, {row['metric']}" for row in rows)


def _baseline(values: pa.Table, probe: str, metric: str, source: str, form: str) -> dict[str, float]:
    where = {"probe": probe, "metric": metric, "source": source, "form": form}
    rows = (
        values.filter(reduce(and_, (pc.field(name) == value for name, value in where.items())))
        .sort_by("step")
        .to_pylist()
    )
    return {row["group"]: row["value"] for row in rows}


# --------------------------------------------------------------------------------------------- resamples
def resampled(keys: UInt64[np.ndarray, " item"], resamples: int) -> Int[np.ndarray, "resample item"]:
    """How often each item is in each of so many bootstrap samples of them; the first is the sample itself.

    The choice is keyed by the items, so it is the same at all steps and in all runs.
    """
    n = len(keys)
    number = np.arange(1, resamples + 1)[:, None]
    drawn = chance.integers(n, "bootstrap", number, keys[None]) + n * (number - 1)
    counts = np.bincount(drawn.ravel(), minlength=n * resamples).reshape(resamples, n)
    return np.concatenate([np.ones((1, n), np.int64), counts])


def curves(
    right: Float[np.ndarray, "item step"], weight: Int[np.ndarray, "resample item"]
) -> Float[np.ndarray, "resample step"]:
    """The share that is right at each step, by resample; one without anything asked there has that of the first."""
    asked: Bool[np.ndarray, "item step"] = np.isfinite(right)
    total = weight @ asked.astype(float)
    share = (weight @ np.where(asked, right, 0.0)) / np.maximum(total, 1)
    return np.where(total > 0, share, share[:1])
