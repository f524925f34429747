"""Images in keyed order. `digits` is built in: 1797 handwritten digits of 8x8 grey pixels (scikit-learn)."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Int, UInt8

from sesame.config import ImageData
from sesame.data.batch import Cursor, ImageBatch, Step
from sesame.data.decoding import content_keys
from sesame.data.image_store import Images, open_images
from sesame.data.order import HELD_OUT_SEED, Order, hash_of, held_out, sampled
from sesame.errors import UserError


def digits() -> tuple[UInt8[np.ndarray, "image 1 8 8"], Int[np.ndarray, " image"]]:
    """Pixels in 0..255 and the digit that each image shows."""
    from sklearn.datasets import load_digits

    found = load_digits()
    grey = np.rint(found.images * (255 / 16)).astype(np.uint8)  # scikit-learn counts ink in 0..16
    return grey[:, None], found.target.astype(np.int64)


BUILT_IN: dict[str, Callable[[], tuple[np.ndarray, np.ndarray]]] = {"digits": digits}


def open_source(data: ImageData) -> Images:
    """The images that a configuration names. UserError where there are none, or bad ones."""
    if not data.source:
        raise UserError("No images were named. Give a folder, a .zip, arrays, hf:NAME or digits (--data).")
    if data.source not in BUILT_IN:
        return open_images(data)
    pixels, label = BUILT_IN[data.source]()
    names = tuple(str(i) for i in range(int(label.max()) + 1))
    return Images(pixels, content_keys(pixels), label, names, {})


@dataclass(frozen=True)
class ImageSet:
    """A source of images, opened when it is first asked for, and how to read it."""

    config: ImageData

    @cached_property
    def images(self) -> Images:
        return open_source(self.config)

    @property
    def hash(self) -> str:
        """Of what the images show, in their order. Labels are no part of it: no pretext task reads them."""
        return hash_of(self.images.key)

    @property
    def altered(self) -> str:
        return f"{self.config.source} holds other images than it did, as where files were added, removed or edited"

    @property
    def facts(self) -> dict[str, int]:
        channels, height = self.images.pixels.shape[1:3]
        return {"in_channels": channels, "image": height}


class ImageStream:
    """A set of images as batches; a tenth, by hash of content, is held out."""

    def __init__(self, data: ImageSet, seed: int, rank: int = 0, world: int = 1):
        images, rows = data.images, data.config.rows
        self.pixels, self.key, self.label, self.names = images.pixels, images.key, images.label, images.names
        self.skipped = images.skipped
        self.seed, self.rows = seed, rows
        away = held_out(self.key)
        self.training, self.away = np.flatnonzero(~away), sampled(np.flatnonzero(away), self.key)
        self.order = Order(len(self.training), rows, seed, rank, world)

    def train(self, cursor: Cursor, step: int, steps: int, parts: int) -> Iterator[Step]:
        """Step after step from `cursor`, endlessly; `step` and `steps` mean nothing to images."""
        for turn in self.order.turns(cursor, parts):
            batches = tuple(self.batch(self.training[part], self.seed, turn.epoch) for part in turn.mine)
            yield Step(batches, turn.cursor, len(turn.whole))

    def held_out(self, rows: int) -> Iterator[ImageBatch]:
        """At most `rows` images that training never sees, a fair sample, the same for every run and process."""
        chosen = self.away[:rows]
        for start in range(0, len(chosen), self.rows):
            yield self.batch(chosen[start : start + self.rows], HELD_OUT_SEED, epoch=0)

    def batch(self, image: Int[np.ndarray, " image"], seed: int, epoch: int) -> ImageBatch:
        """The images of these numbers."""
        return ImageBatch(
            pixels=self.pixels[image],
            key=self.key[image],
            seed=seed,
            epoch=epoch,
            label=None if self.label is None else self.label[image],
        )
