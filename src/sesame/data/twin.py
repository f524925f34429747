"""What a twin run reads otherwise than the run it was forked from: documents left out, documents in addition.

All else stays in its row, its step and under its mask. An example of a document that is left out becomes padding, and
so does a pair with one segment of such a document; what is added comes in rows of its own.
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Int

from sesame import config
from sesame.data import chance
from sesame.data.cutting import LEFT_OUT
from sesame.data.packing import Block, Row
from sesame.data.store import TokenStore, read_info
from sesame.errors import UserError

WITHOUT, ADDED = "without.npy", "added"

Phase = Callable[[int, int], tuple[int, int, float]]
"""(step, steps) -> length and number of the rows, and the step at which they end."""


Cut = Callable[..., Block]
"""(store, documents, repeat, seed, epoch, number, length) -> rows."""


@dataclass(frozen=True)
class Part:
    """Where one reading of the added documents meets steps with rows of one length."""

    reading: int
    begin: float
    """As a share of all steps that are left; so is `end`."""
    end: float
    first: int
    until: int
    length: int


class Twin:
    """Changes the rows of the steps from `at` on, as a pure function of the step: no cursor needs to know of it."""

    def __init__(self, c: config.Twin, store: TokenStore, seed: int, steps: int, phase: Phase, cut: Cut):
        self.at, self.times, self.seed, self.left, self.cut = c.at, c.times, seed, max(steps - c.at, 1), cut
        self.gone: Bool[np.ndarray, " document"] | None = None
        if c.without:
            self.gone = np.isin(store.keys, _keys(c))
            self.starts = store.offsets[:-1].astype(np.int64)
        self.store = TokenStore.open(Path(c.folder) / ADDED) if c.added else None
        self.parts = list(self._parts(steps, phase)) if self.store else []
        self.planned: dict[int, tuple[Block, Int[np.ndarray, " row"]]] = {}

    @classmethod
    def open(
        cls, c: config.Twin | None, store: TokenStore, seed: int, steps: int, phase: Phase, cut: Cut
    ) -> "Twin | None":
        return cls(c, store, seed, steps, phase, cut) if c else None

    # ---------------------------------------------------------------------------------------- without
    def left_out(self, rows: list[Row]) -> list[Row]:
        """The rows, with the examples marked that hold text of a document that is left out."""
        if self.gone is None:
            return rows
        marked = []
        for row in rows:
            pieces = row.pieces
            document = np.searchsorted(self.starts, pieces.start, "right") - 1
            hit = (self.gone[document] & (pieces.size > 0)).any(1)
            pieces = replace(pieces, pair=np.where(hit, LEFT_OUT, pieces.pair))
            marked.append(replace(row, block=pieces, index=list(range(len(pieces)))) if hit.any() else row)
        return marked

    # ------------------------------------------------------------------------------------------- with
    def added(self, step: int) -> list[Row]:
        """The rows that one step reads in addition: `times` times every added document, evenly over all steps left.

        Chance decides, by its content, in which part of a reading a document comes. A reading is cut and masked as an
        epoch is.
        """
        now, after = (step - self.at) / self.left, (step + 1 - self.at) / self.left
        met = [n for n, part in enumerate(self.parts) if part.begin <= after and part.end >= now]
        self.planned = {n: self.planned[n] if n in self.planned else self._plan(n) for n in met}
        return [block.row(int(n)) for block, steps in self.planned.values() for n in np.flatnonzero(steps == step)]

    def _parts(self, steps: int, phase: Phase) -> list[Part]:
        parts = []
        for reading in range(self.times):
            first = self.at
            while first < steps:
                length, _, end = phase(first, steps)
                until = int(min(end, steps))
                begin = max(reading / self.times, (first - self.at) / self.left)
                done = min((reading + 1) / self.times, (until - self.at) / self.left)
                if begin < done:
                    parts.append(Part(reading, begin, done, first, until, length))
                first = until
        return parts

    def _plan(self, number: int) -> tuple[Block, Int[np.ndarray, " row"]]:
        """The rows of a part, and the step that each belongs to."""
        assert self.store is not None
        part, index = self.parts[number], np.arange(len(self.store))
        draw = chance.uniform("added", self.seed, part.reading, self.store.keys, index)
        when = (part.reading + draw) / self.times
        documents = index[(part.begin <= when) & (when < part.end)]
        block = self.cut(self.store, documents, 0 * documents, self.seed, part.reading, number, part.length)
        count = len(block.rows)
        share = part.begin + (np.arange(count) + 0.5) / max(count, 1) * (part.end - part.begin)
        steps = self.at + np.floor(share * self.left).astype(np.int64)
        return block, np.clip(steps, part.first, part.until - 1)


def fingerprint(c: config.Twin) -> str:
    """Hash of what is left out and what is added."""
    digest = hashlib.blake2b(_keys(c).tobytes() if c.without else b"", digest_size=16)
    digest.update(read_info(Path(c.folder) / ADDED).hash.encode() if c.added else b"")
    return digest.hexdigest()


def _keys(c: config.Twin) -> np.ndarray:
    file = Path(c.folder) / WITHOUT
    try:
        keys: np.ndarray = np.load(file, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise UserError(f"{file} cannot be read ({error}): it says what the twin of {c.of} leaves out.") from None
    return keys
