"""Labelled examples as a backbone reads them: sequences of tokens or frames, packed into rows without padding.

Rows of packed sequences are what pretraining reads too (`data/batch.py`): attention stays inside each sequence, so a
packed batch gives what the sequences give one by one. Where attention takes rows apart anyway, on a CPU, all of them
stand on end in one row, which wastes nothing.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float32, Int
from torch import Tensor

from sesame.data.batch import At, Movable, Rows
from sesame.data.packing import pack

STEP = 64
"""Rows on end are so many positions long, or a multiple: products of few different shapes, because a library prepares
itself for each shape that it has not met (oneDNN: about a millisecond, which a small network feels)."""


@dataclass(frozen=True, kw_only=True)
class Sequences:
    """Sequences of tokens, or of frames, on end. One example has one, or several (the windows of a long text)."""

    ids: Int[np.ndarray, " token"] | Float32[np.ndarray, "token feature"]
    """All sequences: token ids, [CLS] and [SEP] included; or frames."""
    kind: Int[np.ndarray, " token"]
    """Segment of the token: 0 up to the first [SEP], then 1."""
    offsets: Int[np.ndarray, " edge"]
    """Sequence i has the tokens offsets[i] to offsets[i + 1]."""
    owner: Int[np.ndarray, " sequence"]
    """The example that a sequence belongs to; sequences of one example are neighbours, in order."""
    read: Int[np.ndarray, " read"]
    """Positions whose states the head is given, each counted within its sequence, rising."""
    read_offsets: Int[np.ndarray, " edge"]
    """Sequence i reads read[read_offsets[i] : read_offsets[i + 1]]."""
    target: np.ndarray | None = None
    """What is to be predicted, a row for each sequence or each read position; None where there are no labels."""
    target_of: Literal["sequence", "read"] = "sequence"

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @property
    def lengths(self) -> Int[np.ndarray, " sequence"]:
        return np.diff(self.offsets)


@dataclass(frozen=True)
class TaskBatch(Movable):
    """Some sequences, packed into rows."""

    rows: Rows
    at: At
    order: Int[Tensor, " read"]
    """`States.last[order]` is in order of (sequence, position): what a head is given."""
    sequence: Int[Tensor, " read"]
    """Number within the batch of the sequence that a read position belongs to, rising."""
    count: int
    """Sequences."""
    target: Tensor | None


def batch_of(sequences: Sequences, chosen: Int[np.ndarray, " chosen"], pad: int, on_end: bool = True) -> TaskBatch:
    """The `chosen` sequences as one batch, in the order given: in one row, or else in rows as wide as the longest."""
    begin, size = sequences.offsets[chosen], sequences.lengths[chosen]
    plan = [list(range(len(chosen)))] if on_end else pack(size, int(size.max()))
    width = max(int(size[row].sum()) for row in plan)
    if on_end:
        width = -(-width // STEP) * STEP
    shape = (len(plan), width)
    x = np.full((*shape, *sequences.ids.shape[1:]), pad, sequences.ids.dtype)
    position, kind, example = (np.full(shape, value, np.int64) for value in (0, 0, -1))
    reads = np.zeros(shape, bool)
    row_of, start = np.empty(len(chosen), np.int64), np.empty(len(chosen), np.int64)
    for r, members in enumerate(plan):
        at = 0
        for m in members:
            here, there = slice(at, at + size[m]), slice(begin[m], begin[m] + size[m])
            x[r, here], kind[r, here] = sequences.ids[there], sequences.kind[there]
            position[r, here], example[r, here] = np.arange(size[m]), m
            row_of[m], start[m] = r, at
            at += int(size[m])
    first, reading = sequences.read_offsets[chosen], np.diff(sequences.read_offsets)[chosen]
    sequence = np.repeat(np.arange(len(chosen)), reading)
    index = np.arange(len(sequence)) - np.repeat(np.cumsum(reading) - reading, reading) + np.repeat(first, reading)
    where = (row_of[sequence], start[sequence] + sequences.read[index])
    reads[where] = True
    order = (np.cumsum(reads.ravel()) - 1).reshape(shape)[where]
    target = sequences.target
    if target is not None:
        target = target[chosen if sequences.target_of == "sequence" else index]
    tensor, alone = torch.from_numpy, bool((size == width).all())
    return TaskBatch(
        Rows(tensor(x), tensor(position), tensor(kind), tensor(example), alone=alone),
        At.of(reads),
        torch.from_numpy(order),
        torch.from_numpy(sequence),
        len(chosen),
        None if target is None else torch.from_numpy(target),
    )
