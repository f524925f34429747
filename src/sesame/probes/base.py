"""The contract of a probe: one small file with one function, `measure(model, ask)`, that changes nothing.

A probe's file is a module of this folder, or any Python file of a user. Its docstring is its help (first line first),
`READS` says which data it can be measured on, and `measure` yields `Value`s and, where a number is a share of things
that were asked, those things as `Item`s. The same function serves live weights and saved checkpoints; `ask.full` says
which of its two forms is wanted: the light one, a second or so of a small model, or the whole measurement.
"""

import math
import time
from collections.abc import Callable, Hashable, Iterator
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar, runtime_checkable

from sesame.engine.build import Model

T = TypeVar("T")

NO_LAYER = -1


@dataclass(frozen=True)
class Value:
    """One number: a row of `probes.parquet`."""

    metric: str
    value: float
    n: int = 0
    """Things (words, sentences, images) that it is a mean over or comes from; 0 where that means nothing."""
    group: str = ""
    """What of: a part of speech, a phenomenon, a head, another step; empty for all together."""
    layer: int = NO_LAYER
    """0 for the embeddings to the number of layers; -1 where no layer is meant."""
    low: float = math.nan
    """A 95% interval, where the probe has one."""
    high: float = math.nan


@dataclass(frozen=True)
class Item:
    """One thing that was asked, and whether it was answered right: a row of `probe-items.parquet`.

    From items come intervals, the order of acquisition, how often a word had been seen when it was learned, what two
    runs differ in, and the examples behind a point of a curve.
    """

    metric: str
    """That of the Value which is a mean over such items."""
    key: int
    """The same for the same thing at every step and in every run: from its content and place."""
    group: str
    right: bool
    word: str = ""
    """What was hidden, or is asked about, as it stands in the text."""
    text: str = ""
    """The sentence, with the thing in ⟦brackets⟧; may be left empty for all but a keyed choice of examples."""
    guesses: tuple[tuple[str, float], ...] = ()
    """The model's best answers with their probabilities; empty where `text` is."""


Answer = Value | Item


@dataclass
class Ask:
    """What a probe is asked to do, and what it has already worked out."""

    source: str = ""
    """A file, where the user gave one."""
    full: bool = False
    """The whole measurement, not the light form that runs beside training."""
    data: Any = None
    """The run's opened data (a TextSet, an ImageSet, …); None where they are gone or were never known."""
    step: int = 0
    cores: int = 1
    """Threads there are."""
    first: Callable[[], Model] | None = None
    """Opens the first checkpoint of the same series; None for live weights, and where this is the first."""
    previous: Callable[[], Model] | None = None
    """Opens the checkpoint before this one; None likewise."""
    kept: dict[Hashable, Any] = field(default_factory=dict)
    preparing: float = 0.0
    """Seconds that `once` has spent, which are not spent again."""

    def once(self, name: Hashable, make: Callable[[], T]) -> T:
        """What `make` gives, worked out at the first measurement and kept for the next: it must not depend on the
        weights. Probes share it, so a name begins with whose it is."""
        if name not in self.kept:
            began = time.perf_counter() - self.preparing  # what `make` itself asks for once is counted once
            self.kept[name] = make()
            self.preparing = time.perf_counter() - began
        found: T = self.kept[name]
        return found


@runtime_checkable
class Measure(Protocol):
    def __call__(self, model: Model, ask: Ask) -> Iterator[Answer]:
        """The answers about `model`, which is in evaluation mode and under no_grad, and must be left as it was.

        Chance must be keyed (`data.chance`): the same model gives the same answers. Raises UserError where `ask.source`
        is faulty or the model is none that it can measure.
        """
        ...
