"""The tables of probes as rows, and runs that differ by chance alone as one curve. Nothing is written into them."""

import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import msgspec
import pyarrow.compute as pc

from sesame.config import Watch
from sesame.probes.table import FULL, ITEM_SCHEMA, ITEMS, LIVE, VALUE_SCHEMA, VALUES, form_of, read
from sesame.report.reading import Pretraining, Row


class Measure(NamedTuple):
    """What one curve, or one family of curves, is of."""

    probe: str
    source: str
    metric: str


@dataclass(frozen=True)
class Watched:
    """What probes measured of one run, or of a series of checkpoints, each measure in one of its two forms."""

    label: str
    path: Path
    values: dict[Measure, list[Row]]
    """`step`, `tokens` (None where unknown), `form`, `layer`, `group`, `value`, `n`, `low`, `high` (None without)."""
    examples: dict[Measure, list[Row]]
    """Of the items, those with a text: `step`, `tokens`, `key`, `group`, `right`, `word`, `text`, `guesses`."""
    shares: frozenset[Measure]
    """Measures that are shares of things asked, right or wrong."""
    run: Pretraining | None = None
    """None for a series of published checkpoints, which has no log."""

    @property
    def reached(self) -> int:
        """The last step that was measured."""
        return max((rows[-1]["step"] for rows in self.values.values()), default=0)


def is_watched(path: Path) -> bool:
    """Whether `path` is a folder with a table of measurements."""
    return (path / VALUES).is_file()


def watched(path: Path, label: str, run: Pretraining | None = None) -> Watched:
    """The tables in `path`. Raises UserError for a damaged one."""
    values, items = read(path / VALUES, VALUE_SCHEMA), read(path / ITEMS, ITEM_SCHEMA)
    rows = values.to_pylist()
    form = _forms(rows)
    asked = items.select(Measure._fields).group_by(list(Measure._fields)).aggregate([]).to_pylist()
    shown = items.filter(pc.not_equal(items["text"], "")).to_pylist()
    return Watched(
        label=label,
        path=path,
        values=_by_measure(_of_form(rows, form)),
        examples=_by_measure(_of_form(shown, form)),
        shares=frozenset(Measure(**row) for row in asked),
        run=run,
    )


def _measure(row: Row) -> Measure:
    return Measure(*(row[name] for name in Measure._fields))


def _forms(rows: Iterable[Row]) -> dict[Measure, str]:
    """The form that each measure is shown in."""
    steps: dict[tuple[Measure, str], set[int]] = defaultdict(set)
    for row in rows:
        steps[_measure(row), row["form"]].add(row["step"])
    return {measure: form_of(len(steps[measure, FULL]), len(steps[measure, LIVE])) for measure, _ in list(steps)}


def _of_form(rows: Iterable[Row], form: dict[Measure, str]) -> Iterator[Row]:
    """Those in the form of their measure, without numbers that are none."""
    for row in rows:
        if math.isfinite(row.get("value", 0.0)) and row["form"] == form.get(_measure(row), row["form"]):
            yield {key: None if value != value or (key == "tokens" and value < 0) else value
                   for key, value in row.items()}  # fmt: skip


def _by_measure(rows: Iterable[Row]) -> dict[Measure, list[Row]]:
    found: dict[Measure, list[Row]] = defaultdict(list)
    for row in sorted(rows, key=lambda row: row["step"]):  # a stable sort: groups stay in the probe's order
        found[Measure(*(row.pop(name) for name in Measure._fields))].append(row)
    return dict(found)


# ------------------------------------------------------------------------------------------------- cohorts
@dataclass(frozen=True)
class Cohort:
    """Runs of one recipe with different seeds, or a single one."""

    members: list[Watched]
    behind: str = ""
    """Of a single run: the label of the same with another seed that has come more than twice as far."""

    @property
    def label(self) -> str:
        names = [member.label for member in self.members]
        return names[0] if len(names) == 1 else f"{len(names)} seeds ({', '.join(names)})"

    @property
    def stem(self) -> str:
        """The label as short as it can be: what names of figures end in."""
        first, several = self.members[0].label, len(self.members) > 1
        return f"{len(self.members)} seeds {first}" if several else first

    @property
    def unit(self) -> str:
        """What `tokens` counts."""
        run = self.members[0].run
        return run.unit if run else "tokens"

    def curve(self, measure: Measure) -> list[Row]:
        """The rows of one measure in order of step.

        One run's as they are, each with its own interval. Of several the mean at every step that all of them have,
        between the lowest and the highest seed; `seeds` says how many.
        """
        of_runs = [member.values[measure] for member in self.members if measure in member.values]
        if len(of_runs) < 2:
            return [row | {"seeds": 1} for rows in of_runs for row in rows]
        places: dict[tuple[str, int, int], list[Row]] = defaultdict(list)
        for rows in of_runs:
            for row in rows:
                places[row["group"], row["layer"], row["step"]].append(row)
        return [_mean(same) for same in places.values() if len(same) == len(of_runs)]

    def loss(self, training: bool = False) -> list[Row]:
        """`step`, `tokens` and the held-out (or training) `value`; of several runs the mean, where all have one."""
        runs = [member.run for member in self.members if member.run]
        of_runs = [rows for run in runs if (rows := run.training if training else run.held_out)]
        steps: dict[float, list[Row]] = defaultdict(list)
        for rows in of_runs:
            for row in rows:
                steps[row["step"]].append(row)
        whole = [same for _, same in sorted(steps.items()) if len(same) == len(of_runs)]
        fields = (("step", "step"), ("tokens", "tokens"), ("value", "loss"))
        return [{name: math.fsum(row[key] for row in same) / len(same) for name, key in fields} for same in whole]


def _mean(same: Sequence[Row]) -> Row:
    values = [row["value"] for row in same]
    tokens = [row["tokens"] for row in same if row["tokens"] is not None]
    return same[0] | {
        "tokens": round(sum(tokens) / len(tokens)) if len(tokens) == len(same) else None,
        "value": sum(values) / len(values),
        "low": min(values),
        "high": max(values),
        "n": sum(row["n"] for row in same),
        "form": FULL if all(row["form"] == FULL for row in same) else LIVE,
        "seeds": len(same),
    }


def cohorts(found: Sequence[Watched]) -> list[Cohort]:
    """Runs that differ by their seed alone together, in order of appearance.

    One that has come less than half as far as the furthest is by itself, after them: a mean at the steps that all
    have would end where it has barely begun.
    """
    same: dict[object, list[Watched]] = defaultdict(list)
    for one in found:
        same[_but_for_seed(one)].append(one)
    made: list[Cohort] = []
    for members in same.values():
        first = max(members, key=lambda one: one.reached)
        abreast = [one for one in members if 2 * one.reached >= first.reached]
        made += [Cohort(abreast), *(Cohort([one], behind=first.label) for one in members if one not in abreast)]
    return made


def _but_for_seed(one: Watched) -> object:
    """What two runs must share to be two draws of the same thing: all that changes their weights, but the seed."""
    if one.run is None:
        return one.path.resolve()
    made = one.run.run.config
    data = made.recipe.data
    if made.data:  # the hash of the content: where it lies, as in each run's own folder, is no matter
        places = {name: "" for name in ("store", "source", "cache") if hasattr(data, name)}
        data = msgspec.structs.replace(data, **places)
    bare = msgspec.structs.replace(
        made.recipe,
        data=data,
        seed=0,
        watch=Watch(),
        threads=0,
        products="auto",
        eval_every=0,
        save_every=0,
        save_minutes=0.0,
        keep=1,
        log_every=1,
    )
    return msgspec.json.encode(msgspec.structs.replace(made, recipe=bare, machine={}))


def measures(found: Iterable[Watched]) -> list[Measure]:
    """All that was measured, in order of appearance."""
    return list(dict.fromkeys(measure for one in found for measure in one.values))
