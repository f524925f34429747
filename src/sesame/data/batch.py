"""What travels: a batch from the data, rows into a backbone, a cursor with each step.

A batch is made on the host, in numpy, by the loader's thread. Pretext.split turns it into tensors.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any, Protocol, TypeVar, runtime_checkable

import numpy as np
import torch
from jaxtyping import Bool, Float, Int, UInt8, UInt64
from msgspec import Struct
from torch import Tensor


class Cursor(Struct, frozen=True, kw_only=True):
    """Where training data goes on. It travels with each step, so batches made ahead of time cost no exactness."""

    epoch: int = 0
    block: int = 0
    row: int = 0


M = TypeVar("M", bound="Movable")


class Movable:
    def to(self: M, device: torch.device | str) -> M:
        """The same on `device`; asynchronous from pinned memory."""
        return replace(self, **{f.name: moved(getattr(self, f.name), device) for f in fields(self)})  # type: ignore[arg-type,type-var]


def moved(value: Any, device: torch.device | str) -> Any:
    """`value` with every tensor inside it on `device`; dictionaries, tuples and our dataclasses are walked."""
    if isinstance(value, Tensor | Movable):
        return value.to(device, non_blocking=True) if isinstance(value, Tensor) else value.to(device)
    if isinstance(value, dict):
        return {k: moved(v, device) for k, v in value.items()}
    if isinstance(value, tuple):
        return tuple(moved(v, device) for v in value)
    return value


@dataclass(frozen=True)
class Rows(Movable):
    """Rows that pack several examples. Attention joins positions of one example and nothing else."""

    x: Int[Tensor, "row time"] | Float[Tensor, "row time feature"]
    """Token ids, or frames."""
    position: Int[Tensor, "row time"]
    """From 0 in every example."""
    kind: Int[Tensor, "row time"]
    """Segment (token type) of the position, from 0 in every example."""
    example: Int[Tensor, "row time"]
    """Number of the example within the batch; -1 where there is nothing."""
    alone: bool = False
    """Every row is one example that fills it: attention needs no mask."""

    @property
    def valid(self) -> Bool[Tensor, "row time"]:
        return self.example >= 0


@dataclass(frozen=True)
class At(Movable):
    """The positions whose states somebody will read, so that the last layer computes no others."""

    time: Int[Tensor, "row most"]
    """Positions read in each row; short rows are filled up with 0."""
    flat: Int[Tensor, " read"]
    """Where the real ones stand in the flattened `time`, in order of (row, time)."""

    @classmethod
    def of(cls, where: Bool[np.ndarray, "row time"]) -> "At":
        """The positions where `where` holds."""
        count = where.sum(1)
        most = max(int(count.max(initial=0)), 1)
        row, time = np.nonzero(where)
        slot = np.arange(len(row)) - np.repeat(np.cumsum(count) - count, count)
        table = np.zeros((len(where), most), np.int64)
        table[row, slot] = time
        return cls(torch.from_numpy(table), torch.from_numpy(row * most + slot))

    def places(self, width: int) -> Int[Tensor, " read"]:
        """The positions read, counted through rows of `width`."""
        row = torch.arange(len(self.time), device=self.time.device)
        return (row[:, None] * width + self.time).flatten()[self.flat]


@dataclass(frozen=True)
class Pixels(Movable):
    """Images as a backbone reads them."""

    x: Float[Tensor, "image channel height width"]


# ------------------------------------------------------------------------- batches, before the split
@dataclass(frozen=True, kw_only=True)
class TextBatch:
    """Whole examples packed into rows, with what a pretext task needs to divide them."""

    ids: Int[np.ndarray, "row time"]
    position: Int[np.ndarray, "row time"]
    kind: Int[np.ndarray, "row time"]
    example: Int[np.ndarray, "row time"]
    word: Bool[np.ndarray, "row time"]
    """True where a word starts; a continued sub-word, a special token and padding are False."""
    sentence: Bool[np.ndarray, "row time"]
    """True where a sentence starts, and at the first token of a segment."""
    special: Bool[np.ndarray, "row time"]
    """[CLS], [SEP], padding: never hidden, never predicted."""
    key: UInt64[np.ndarray, " example"]
    """Stable identity of each example: from its document's content and its place in it."""
    pair: Int[np.ndarray, " example"]
    """Relation of its two segments: -1 one segment, 0 adjacent in order, 1 second from elsewhere, 2 swapped."""
    seed: int
    epoch: Int[np.ndarray, " example"]
    """Of each example: a batch may hold the last of one epoch and the first of the next."""

    @property
    def size(self) -> int:
        """Useful positions."""
        return int((self.example >= 0).sum())

    @classmethod
    def stacked(cls, batches: Sequence["TextBatch"]) -> "TextBatch":
        """The rows of all, which have one width and one seed, below each other; examples are numbered on."""
        if len(batches) == 1:
            return batches[0]
        begin = np.cumsum([0, *(len(batch.key) for batch in batches[:-1])])
        example = [np.where(b.example < 0, -1, b.example + n) for b, n in zip(batches, begin, strict=True)]
        joined = {
            f.name: np.concatenate([getattr(batch, f.name) for batch in batches])
            for f in fields(cls)
            if f.name not in ("example", "seed")
        }
        return cls(example=np.concatenate(example), seed=batches[0].seed, **joined)

    def keyed(self, at: Bool[np.ndarray, "row time"]) -> tuple[int, np.ndarray, np.ndarray, np.ndarray]:
        """What chance is keyed by at some positions of examples: seed, epoch, key, position."""
        example = self.example[at]
        return self.seed, self.epoch[example], self.key[example], self.position[at]


@dataclass(frozen=True, kw_only=True)
class ImageBatch:
    pixels: UInt8[np.ndarray, "image channel height width"]
    key: UInt64[np.ndarray, " image"]
    seed: int
    epoch: int
    label: Int[np.ndarray, " image"] | None = None
    """Never read by a pretext task; for probes."""

    @property
    def size(self) -> int:
        return len(self.pixels)


@dataclass(frozen=True, kw_only=True)
class SpeechBatch:
    """One utterance a row."""

    frames: Float[np.ndarray, "row time feature"]
    frames_in: Int[np.ndarray, " row"]
    """True length of each row; what lies beyond is zero and is no data."""
    key: UInt64[np.ndarray, " row"]
    seed: int
    epoch: int
    repeats: int = 1
    """How often the bands stand side by side in a frame: stacked frames, and the slopes of each."""

    @property
    def size(self) -> int:
        return int(self.frames_in.sum())


Batch = TextBatch | ImageBatch | SpeechBatch


@dataclass(frozen=True)
class Step:
    """The data of one optimiser step on this process: its micro-batches, and where to go on after it."""

    parts: tuple[Any, ...]
    cursor: Cursor
    size: int = field(default=0)
    """Useful positions (images) of the step over all processes."""


@runtime_checkable
class Stream(Protocol):
    """Batches for one process, from anywhere."""

    def train(self, cursor: Cursor, step: int, steps: int, parts: int) -> Iterator[Step]:
        """Step after step from `cursor`, endlessly. `step` of `steps` is where the run stands (length schedules)."""
        ...

    def held_out(self, rows: int) -> Iterator[Batch]:
        """At most `rows` rows that training never sees, the same every time, over all processes the same."""
        ...


@runtime_checkable
class Drawable(Protocol):
    """A stream whose examples can be looked at."""

    def picture(self) -> Any:
        """Some of them, as an image of Pillow, which is imported only where one is drawn."""
        ...
