"""The smallest thing the engine can train: recover a hidden number of each example from the others."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from sesame import config
from sesame.data import chance
from sesame.data.batch import Cursor, ImageBatch, Pixels, Step
from sesame.models.base import Backbone, States
from sesame.pretext.base import Loss, Pretext, Split, Term

EXAMPLES, SIDE = 64, 4


class TinyData:
    """Sixty-four images of correlated noise."""

    def __init__(self) -> None:
        base = chance.uniform("tiny", np.arange(EXAMPLES)[:, None], np.arange(SIDE * SIDE)[None])
        self.facts = {"in_channels": 1, "image": SIDE}
        self.hash, self.altered = "tiny", "they are others"
        self.pixels = (255 * np.cumsum(base, 1) / (SIDE * SIDE)).astype(np.uint8).reshape(EXAMPLES, 1, SIDE, SIDE)


class TinyStream:
    """Rows in a keyed order; the last eight are held out."""

    def __init__(self, data: TinyData, rows: int, seed: int, rank: int, world: int):
        self.data, self.rows, self.seed, self.rank, self.world = data, rows, seed, rank, world

    def batch(self, index: np.ndarray, epoch: int) -> ImageBatch:
        key = (index + 1).astype(np.uint64)
        return ImageBatch(pixels=self.data.pixels[index], key=key, seed=self.seed, epoch=epoch)

    def train(self, cursor: Cursor, step: int, steps: int, parts: int) -> Iterator[Step]:
        epoch, row = cursor.epoch, cursor.row
        while True:
            n = EXAMPLES - 8
            if row + self.rows > n:
                epoch, row = epoch + 1, 0
            index = chance.permute(np.arange(row, row + self.rows), n, "order", self.seed, epoch)
            row += self.rows
            mine = np.split(index, self.world * parts)[self.rank * parts : (self.rank + 1) * parts]
            yield Step(tuple(self.batch(i, epoch) for i in mine), Cursor(epoch=epoch, row=row), self.rows)

    def held_out(self, rows: int) -> Iterator[ImageBatch]:
        yield self.batch(np.arange(EXAMPLES - 8, EXAMPLES)[:rows], 0)


class TinyNet(Backbone):
    def __init__(self, c: config.ConvNet):
        super().__init__()
        self.config, self.width = c, c.channels[0]
        self.embed = nn.Linear(SIDE * SIDE, self.width)
        self.blocks = nn.ModuleList(nn.Linear(self.width, self.width) for _ in c.channels)

    def forward(self, inputs: Pixels, at: object = None, layers: bool = False) -> States:
        h = self.embed(inputs.x.flatten(1))
        for block in self.blocks:
            h = h + torch.tanh(nn.functional.dropout(block(h), 0.1, self.training))
        return States(h)


class TinyPretext(Pretext):
    """Pixels of even numbers are hidden from x′; x″ is their sum. Images whose key is odd count, the others do not."""

    def __init__(self, c: Any, backbone: TinyNet, vocabulary: None):
        super().__init__()
        self.config = c
        self.head = nn.Linear(backbone.width, 1)

    def stream(self, data: TinyData, seed: int, rank: int = 0, world: int = 1) -> TinyStream:
        return TinyStream(data, 8, seed, rank, world)

    def split(self, batch: ImageBatch) -> Split:
        x = torch.from_numpy(batch.pixels).float() / 255
        counted = torch.from_numpy((batch.key % np.uint64(2)).astype(np.int64))
        target = x.flatten(1)[:, ::2].sum(1)
        seen = x.clone().flatten(1)
        seen[:, ::2] = 0
        return Split(
            Pixels(seen.view_as(x)), {"sum": target, "counted": counted}, {"sum": int(counted.sum())}, size=len(x)
        )

    def loss(self, backbone: Backbone, split: Split) -> Loss:
        said: Tensor = self.head(backbone(split.seen).last)[:, 0]
        error = (said - split.target["sum"]) ** 2 * split.target["counted"]
        return {
            "sum": Term(error.sum(), split.count["sum"], 1.0, ((error < 0.1) & (split.target["counted"] > 0)).sum())
        }
