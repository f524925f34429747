"""Lengths into rows: which examples share a row so that next to nothing of it stays empty; rows before they are
written out."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

import numpy as np

from sesame.data.cutting import Pieces
from sesame.data.store import TokenStore


@dataclass(frozen=True)
class Row:
    """Examples that stand in one row, as spans of a store: some of those of a block."""

    store: TokenStore
    block: Pieces
    index: list[int]
    epoch: int

    @property
    def pieces(self) -> Pieces:
        return self.block.take(self.index)


@dataclass(frozen=True)
class Block:
    """The rows of some documents: `rows[i]` lists examples of `pieces`."""

    store: TokenStore
    pieces: Pieces
    rows: list[list[int]]
    epoch: int

    def row(self, number: int) -> Row:
        return Row(self.store, self.pieces, self.rows[number], self.epoch)


def pieces_of(rows: Sequence[Row]) -> Pieces:
    """The examples of all rows, in order; at once where they are of one block."""
    blocks = groupby(rows, lambda row: id(row.block))
    groups = [(some[0].block, [i for row in some for i in row.index]) for some in (list(rows) for _, rows in blocks)]
    return Pieces.joined([block.take(index) for block, index in groups])


def pack(lengths: Sequence[int] | np.ndarray, capacity: int) -> list[list[int]]:
    """Rows of indices into `lengths`, each of at most `capacity` in all (best fit, longest first).

    Deterministic, every index in exactly one row, O(n + n·gaps) where gaps is the number of distinct free spaces.
    Raises ValueError for a length outside 1..capacity: cutting comes before packing.
    """
    lengths = np.asarray(lengths)
    if len(lengths) and (lengths.min() < 1 or lengths.max() > capacity):
        raise ValueError(f"lengths must lie in 1..{capacity}, found {lengths.min()}..{lengths.max()}")
    if 0 < lengths.sum() <= capacity:  # one row holds them all
        return [np.argsort(-lengths, kind="stable").tolist()]
    rows: list[list[int]] = []
    open_rows: list[list[int]] = [[] for _ in range(capacity + 1)]  # by free space, the rows that have it
    free = 0  # bit s is set where some row has s free: the tightest fit is one bit scan
    for index in np.argsort(-lengths, kind="stable").tolist():
        length = int(lengths[index])
        fitting = free >> length
        if fitting:
            space = length + (fitting & -fitting).bit_length() - 1
            row = open_rows[space].pop()
            if not open_rows[space]:
                free &= ~(1 << space)
        else:
            space, row = capacity, len(rows)
            rows.append([])
        rows[row].append(index)
        if left := space - length:
            open_rows[left].append(row)
            free |= 1 << left
    return rows
