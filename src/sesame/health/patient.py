"""A run as it is examined: its log, its newest weights and its data, and what probes say of them.

Nothing is written. What the run's tables know of this checkpoint is read there; the rest is measured in the probes'
light form, which takes seconds.
"""

import math
from collections.abc import Callable, Hashable
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

from sesame.config import Probe
from sesame.engine import build as building
from sesame.engine import checkpoint
from sesame.engine.build import Model
from sesame.engine.run import Run, is_run
from sesame.errors import UserError
from sesame.probes import Ask, find_all
from sesame.probes.base import NO_LAYER
from sesame.probes.measuring import FULL, measure
from sesame.probes.series import reopened
from sesame.probes.table import VALUE_SCHEMA, VALUES, Answers, read
from sesame.processes import cores
from sesame.report.reading import Pretraining, Row, pretraining

T = TypeVar("T")


class NotMeasured(UserError):
    """Why there is no answer, in a line; as other mistakes of the input are, which a measurement may meet."""


class Rows:
    """What one probe says of one model."""

    def __init__(self, probe: str, rows: list[Row]):
        self.probe, self.rows = probe, rows

    def value(self, metric: str, group: str | None = "", layer: int = NO_LAYER) -> float:
        """One number; of whatever group for None. Raises NotMeasured where there is none."""
        return float(self.row(metric, group, layer)["value"])

    def row(self, metric: str, group: str | None = "", layer: int = NO_LAYER) -> Row:
        for row in self.rows:
            if row["metric"] == metric and row["layer"] == layer and group in (None, row["group"]):
                return row
        raise NotMeasured(f"the probe {self.probe} has no {metric} of this model.")

    def has(self, metric: str, group: str) -> bool:
        return any(row["metric"] == metric and row["group"] == group for row in self.rows)

    @property
    def last_layer(self) -> int:
        return max(row["layer"] for row in self.rows)


class Patient:
    """The run in folder `path`, or the one that the checkpoint folder `path` belongs to, as it was then.

    Raises UserError where there is no run, or one that has left nothing to examine.
    """

    def __init__(self, path: Path):
        self.path, at = path, None
        if path.parent.name == "checkpoints" and is_run(path.parent.parent):
            at, path = checkpoint.read_manifest(path).step, path.parent.parent
        self.run = Run.open(path)
        self.recipe = self.run.recipe
        self.told: Pretraining = pretraining(self.run, path.name)
        events = [event for event in self.run.events("log") if at is None or event["step"] <= at]
        self.logged: list[Row] = events
        self.held_out = [row for row in self.told.held_out if at is None or row["step"] <= at]
        self.training = [row for row in self.told.training if at is None or row["step"] <= at]
        self.model: Model | None = None
        self.no_model = ""
        try:
            self.model = building.load(path, at)
        except UserError as error:
            if at is not None or not events:
                raise
            self.no_model = str(error)
        self.step = self.model.step if self.model else self.told.step
        self.ended = at is None and self.told.state == "finished"
        self.data: Any = None
        self.no_data = ""
        """Why there are none."""
        try:
            self.data = reopened(self.recipe.data, self.run.config.data)
        except UserError as error:
            self.no_data = f"its data are gone ({error})"
        self._kept: dict[Hashable, Any] = {}
        self._found: dict[tuple[str, str, bool], Rows | str] = {}

    @property
    def kind(self) -> str:
        """What it reads: "text", "images" or "speech"."""
        return str(self.recipe.data.__struct_config__.tag)

    # ------------------------------------------------------------------------------------------ measuring
    def once(self, name: Hashable, make: Callable[[], T]) -> T:
        """What `make` gives, worked out at the first call."""
        return Ask(kept=self._kept).once(name, make)

    def probe(self, name: str, source: str = "", random: bool = False) -> Rows:
        """What a probe says of the newest weights, or of the same network as it is drawn. NotMeasured where it cannot.

        Both are measured in one form, so that they can be compared.
        """
        key = name, source, random
        if key not in self._found:
            self._found[key] = self._measured(name, source, random)
        found = self._found[key]
        if isinstance(found, str):
            raise NotMeasured(found)
        return found

    def _measured(self, name: str, source: str, random: bool) -> Rows | str:
        known = self._known(name, source)
        if known and not random:
            return Rows(name, known)
        if self.data is None and not source:
            return self.no_data
        model = self.random if random else self.model
        if model is None:
            return self.no_model
        full = bool(known) and known[0]["form"] == FULL
        ask = Ask(source, full, self.data, self.step, cores=cores(), kept=self._kept)
        (probe,) = find_all([Probe(name=name, source=source)], self.kind)
        answers = measure(probe, model, ask, -1, math.nan)
        return Rows(name, answers.values.to_pylist()) if isinstance(answers, Answers) else answers

    @cached_property
    def _table(self) -> list[Row]:
        return read(self.run.path / VALUES, VALUE_SCHEMA).to_pylist()

    def _known(self, name: str, source: str) -> list[Row]:
        """What the tables have of these weights, in full if there is that."""
        rows = [row for row in self._table if (row["step"], row["probe"], row["source"]) == (self.step, name, source)]
        return [row for row in rows if row["form"] == FULL] or rows

    def before(self, name: str, metric: str, group: str = "", layer: int = NO_LAYER) -> tuple[int, float] | None:
        """The first step that the tables have this number of, and the number; None where there is none before now."""
        what = name, "", metric, group, layer
        rows = [
            row
            for row in self._table
            if tuple(row[key] for key in ("probe", "source", "metric", "group", "layer")) == what
            and row["step"] < self.step
        ]
        first = min(rows, key=lambda row: row["step"], default=None)
        return (first["step"], first["value"]) if first else None

    @cached_property
    def random(self) -> Model | None:
        """The recipe's network as it is drawn, which nothing was ever learned with."""
        if self.model is None:
            return None
        objective = building.build(self.recipe, self.model)  # of the data, only the vocabulary is asked for
        return Model(objective.eval(), self.model.vocabulary, self.recipe, 0)
