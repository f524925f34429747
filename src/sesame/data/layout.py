"""Examples on end into rows: what becomes of an example keeps the row, and the number, that the example has."""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Int

from sesame.data.batch import Rows, TextBatch


def within(sizes: Int[np.ndarray, " example"]) -> Int[np.ndarray, " token"]:
    """0, 1, … for the tokens of each of several examples on end."""
    return np.arange(int(sizes.sum())) - np.repeat(np.cumsum(sizes) - sizes, sizes)


@dataclass(frozen=True)
class Layout:
    """Which row each example stands in. An encoder and a decoder read one layout each of the same examples."""

    row: Int[np.ndarray, " example"]
    rows: int
    pad: int

    @classmethod
    def of(cls, batch: TextBatch, pad: int) -> "Layout":
        """That of a batch."""
        row, time = np.nonzero((batch.position == 0) & (batch.example >= 0))
        of_example = np.zeros(len(batch.key), np.int64)
        of_example[batch.example[row, time]] = row
        return cls(of_example, len(batch.ids), pad)

    def write(
        self,
        ids: Int[np.ndarray, " token"],
        position: Int[np.ndarray, " token"],
        size: Int[np.ndarray, " example"],
    ) -> tuple[Rows, Int[np.ndarray, " token"]]:
        """Examples on end as rows, no wider than the fullest; and where each token went, counted through the rows."""
        order = np.argsort(self.row, kind="stable")
        before = np.cumsum(size[order]) - size[order]
        filled = np.bincount(self.row, size, minlength=self.rows).astype(np.int64)
        begin = np.empty(len(size), np.int64)
        begin[order] = before - (np.cumsum(filled) - filled)[self.row[order]]
        owner = np.repeat(np.arange(len(size)), size)
        width = max(int(filled.max(initial=0)), 1)
        at = self.row[owner] * width + begin[owner] + within(size)

        def table(values: np.ndarray, empty: int) -> torch.Tensor:
            flat = np.full(self.rows * width, empty, np.int64)
            flat[at] = values
            return torch.from_numpy(flat.reshape(self.rows, width))

        kind = torch.zeros((self.rows, width), dtype=torch.int64)
        return Rows(table(ids, self.pad), table(position, 0), kind, table(owner, -1)), at
