"""The order in which a set of things that fit an index (images, utterances) is gone through.

Every epoch is a keyed permutation of all things, cut into whole steps; what is left over at the end of an epoch is
fewer than one step, and other things every time. A position is `Cursor(epoch, row)` and is reached directly.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Int, UInt64

from sesame.data import chance
from sesame.data.batch import Cursor
from sesame.errors import UserError

HELD_OUT = 0.1
"""Share of the things that training never sees."""
HELD_OUT_SEED = 0
"""What is held out is divided the same way in every run, so that runs can be compared."""


def held_out(key: UInt64[np.ndarray, " thing"]) -> Bool[np.ndarray, " thing"]:
    """Which things are held out: a matter of their content alone, so equal things are on one side."""
    return chance.uniform("held-out", key) < HELD_OUT


def sampled(thing: Int[np.ndarray, " thing"], key: UInt64[np.ndarray, " every"]) -> Int[np.ndarray, " thing"]:
    """These things in an order of their content alone: the first of them are a fair sample, whatever the source is
    sorted by. `key` is that of every thing."""
    return thing[np.argsort(chance.bits("held out", key[thing]), kind="stable")]


def hash_of(key: UInt64[np.ndarray, " thing"]) -> str:
    """Of the content of all things, as they stand in line: an order is one of places, so it matters who has which."""
    return hashlib.blake2b(key.astype("<u8").tobytes(), digest_size=16).hexdigest()


@dataclass(frozen=True)
class Turn:
    """The things of one optimiser step."""

    epoch: int
    whole: Int[np.ndarray, " row"]
    """Of all processes."""
    mine: tuple[Int[np.ndarray, " _"], ...]
    """Of this process, micro-batch by micro-batch."""
    cursor: Cursor
    """Where to go on."""


@dataclass(frozen=True)
class Order:
    """`things` of them, `rows` in one step over all processes, of which this one takes its own slice."""

    things: int
    rows: int
    seed: int
    rank: int = 0
    world: int = 1
    size: Int[np.ndarray, " thing"] | None = None
    """Where given, each `pool` steps have their things sorted by size together, and come in keyed order themselves."""
    pool: int = 1

    def __post_init__(self) -> None:
        if self.things < self.rows:
            raise UserError(
                f"The data has {self.things} training examples and a step takes {self.rows}. "
                f"Give more data, or a step of at most {self.things} rows (--data.rows)."
            )

    def turns(self, cursor: Cursor, parts: int) -> Iterator[Turn]:
        """Step after step from `cursor`, endlessly, in `parts` micro-batches."""
        if self.rows < self.world * parts:
            raise UserError(
                f"A step of {self.rows} rows cannot be shared by {self.world} processes with {parts} micro-batches "
                f"each. Take at least {self.world * parts} rows (--data.rows)."
            )
        while True:
            if cursor.row + self.rows > self.things:
                cursor = Cursor(epoch=cursor.epoch + 1)
            whole = self._step(cursor)
            mine = np.array_split(np.array_split(whole, self.world)[self.rank], parts)
            after = Cursor(epoch=cursor.epoch, row=cursor.row + self.rows)
            yield Turn(cursor.epoch, whole, tuple(mine), after)
            cursor = after

    def _step(self, cursor: Cursor) -> Int[np.ndarray, " row"]:
        """The things of the step that begins there, over all processes."""
        first, count = cursor.row, 1
        if self.size is not None:
            inside = cursor.row // self.rows % self.pool
            first -= inside * self.rows
            count = min(self.pool, (self.things - first) // self.rows)
        row = np.arange(first, first + count * self.rows)
        things = chance.permute(row, self.things, "order", self.seed, cursor.epoch)
        if self.size is None:
            return things
        things = things[np.argsort(self.size[things], kind="stable")].reshape(count, self.rows)
        return things[chance.permute(np.array([inside]), count, "pool", self.seed, cursor.epoch, first)[0]]
