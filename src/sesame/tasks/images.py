"""A class for an image: a linear layer on the backbone's output (Chen et al. 2020, section 4; appendix B.5).

Images are read whole, their pixels from 0 to 1. While a network is fine-tuned they are cropped and flipped as the run's
first view was (its colours stay): so are they from scratch, which would be a weak rival without it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import torch
from jaxtyping import Float, Int, Int64, UInt8, UInt64
from torch import Tensor, nn

from sesame import config
from sesame.config import Augment
from sesame.data import images, order, views
from sesame.data.batch import Movable, Pixels
from sesame.data.tokenizer import Vocabulary
from sesame.engine.build import Model
from sesame.errors import UserError
from sesame.models.base import Backbone
from sesame.tasks.base import Head, Notes, TaskData
from sesame.tasks.classes import Choice, Classes, columns_of
from sesame.tasks.network import Network

TOGETHER = 512
"""Images that are read at once without gradients."""


@dataclass(frozen=True, slots=True)
class Picture:
    """An image with its label."""

    key: str
    where: str
    pixels: UInt8[np.ndarray, "channel height width"]
    content: int
    """Hash of the pixels."""
    label: str | None = None


@dataclass(frozen=True)
class Pictures:
    """Images as a backbone reads them."""

    pixels: UInt8[np.ndarray, "image channel height width"]
    content: UInt64[np.ndarray, " image"]
    target: Int64[np.ndarray, " image"] | None

    def __len__(self) -> int:
        return len(self.pixels)

    @property
    def owner(self) -> Int[np.ndarray, " image"]:
        """The example that each belongs to."""
        return np.arange(len(self))


@dataclass(frozen=True)
class PictureBatch(Movable):
    """Some images."""

    images: Pixels
    target: Tensor | None
    count: int


class LinearHead(Head):
    """One linear layer, which starts at zero: what it says first is that all labels are as likely."""

    def __init__(self, width: int, out: int):
        super().__init__()
        self.out = nn.Linear(width, out)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)

    def forward(self, h: Float[Tensor, "image width"], batch: PictureBatch) -> Float[Tensor, "image label"]:  # type: ignore[override]
        return self.out(h)


class ImageClassification(Classes[Picture]):
    """One of the labels of the training images."""

    kind = "images"
    reads = "images"
    unchanged = True

    @classmethod
    def read(cls, config: config.Images, path: Path, notes: Notes, labelled: bool = True) -> list[Picture]:
        return read(str(path), labelled)

    def encode(  # type: ignore[override]
        self, examples: Sequence[Picture], vocabulary: Vocabulary | None, length: int, notes: Notes
    ) -> Pictures:
        pixels = np.stack([example.pixels for example in examples])
        content = np.array([example.content for example in examples], np.uint64)
        return Pictures(pixels, content, self._target(examples))

    def head(self, width: int, dropout: float) -> LinearHead:
        return LinearHead(width, len(self.labels))

    def order(self, train: Sequence[Picture], seed: int) -> Int[np.ndarray, " example"]:
        """One of each class in turn, so that small choices have about as many of each."""
        keyed = super().order(train, seed)
        turn, seen = np.empty(len(keyed), np.int64), dict.fromkeys(self.labels, 0)
        for place, number in enumerate(keyed.tolist()):
            label = str(train[number].label)
            turn[place] = seen[label]
            seen[label] += 1
        return keyed[np.argsort(turn, kind="stable")]

    def raw(self, encoded: Pictures) -> Float[Tensor, "image pixel"]:
        return torch.from_numpy(encoded.pixels.reshape(len(encoded), -1)).float() / 255.0

    def features(self, backbone: Backbone, encoded: Pictures) -> Float[Tensor, "image width"]:
        backbone.eval()
        with torch.inference_mode():
            found = [backbone(part).last.float() for part in parts(backbone, encoded)]
        return torch.cat(found).clone()

    def baselines(self, train: Sequence[Picture], test: Sequence[Picture]) -> dict[str, list[Choice]]:
        """What else needs no network is read off the pixels (tasks/frozen.py)."""
        return {"majority": self.majority(train, test)}

    def lexical(self, train: Sequence[Picture], test: Sequence[Picture]) -> list[Choice]:
        raise NotImplementedError("images have no words")

    def write(self, examples: Sequence[Picture], predictions: Sequence[Choice], path: Path) -> None:
        rows = [("key", "prediction", "probability")]
        rows += [(e.key, *map(str, columns_of(p).values())) for e, p in zip(examples, predictions, strict=True)]  # type: ignore[misc]
        path.write_text("".join("\t".join(row) + "\n" for row in rows), encoding="utf-8")


# --------------------------------------------------------------------------------------------- the network
class ImageNetwork(Network):
    """Backbone and head. With `augment`, what it is trained on is changed so, by chance that is set for each step."""

    def __init__(self, backbone: Backbone, head: Head, augment: Augment | None = None):
        super().__init__(backbone, head)
        self.augment = augment

    def forward(self, batch: PictureBatch) -> Float[Tensor, "image label"]:  # type: ignore[override]
        return self.head(self.backbone(batch.images).last, batch)

    def batch(self, pictures: Pictures, chosen: Int[np.ndarray, " chosen"], pad: int) -> PictureBatch:  # type: ignore[override]
        weight = next(self.parameters())
        pixels = torch.from_numpy(pictures.pixels[chosen]).to(weight.device)
        if self.training and self.augment:
            height, width = pixels.shape[2:]
            # The engine seeds torch by (seed, step) before each batch, as it does for dropout.
            drawn = views.draw(self.augment, pictures.content[chosen], torch.initial_seed(), 0, 0, height, width)
            x = views.apply(pixels, drawn.to(weight.device))
        else:
            x = pixels.float() / 255.0
        target = None if pictures.target is None else torch.from_numpy(pictures.target[chosen]).to(weight.device)
        return PictureBatch(Pixels(x.to(weight.dtype)), target, len(chosen))

    def scores(self, pictures: Pictures, pad: int) -> np.ndarray:  # type: ignore[override]
        self.eval()
        groups = np.array_split(np.arange(len(pictures)), -(-len(pictures) // TOGETHER))
        with torch.inference_mode():
            return np.concatenate([self(self.batch(pictures, some, pad)).float().cpu().numpy() for some in groups])


def parts(backbone: Backbone, pictures: Pictures) -> Any:
    """The images where the backbone's weights are, some at a time."""
    weight = next(backbone.parameters())
    for some in torch.from_numpy(pictures.pixels).split(TOGETHER):
        yield Pixels((some.to(weight.device).float() / 255.0).to(weight.dtype))


def gentle(model: Model) -> Augment | None:
    """The crop and the flip of a run's first view, without what it does to colours; None for a run without views."""
    found: tuple[Augment, ...] = getattr(model.recipe.pretext if model.recipe else None, "views", ())
    if not found:
        return None
    return msgspec.structs.replace(found[0], jitter=0.0, grey=0.0, blur=0.0, solarise=0.0)


# ------------------------------------------------------------------------------------------------- reading
def read(source: str, labelled: bool) -> list[Picture]:
    """All images of a source, in its order."""
    pixels, label = images.SOURCES[source]()
    keys = images.content_keys(pixels)
    return [
        Picture(f"{number}", f"{source}:{number}", x, int(key), str(name))
        for number, (x, name, key) in enumerate(zip(pixels, label.tolist(), keys.tolist(), strict=True))
    ]


def open_images(name: str, c: config.Images, notes: Notes) -> TaskData[Picture, Choice]:
    """The task that `c` describes. Of a source without test images, test is what pretraining on it holds out."""
    from sesame.tasks.opening import hold_out

    train = read(c.train, True)
    test = read(c.test, True) if c.test else []
    if not c.test:
        away = order.held_out(np.array([example.content for example in train], np.uint64))
        test = [example for example, held in zip(train, away, strict=True) if held]
        train = [example for example, held in zip(train, away, strict=True) if not held]
        notes.counts["held out of train as test, by content, as in pretraining"] = len(test)
    task = ImageClassification(c, ImageClassification.labels_of(c, train))
    if c.dev:
        dev = task.check(read(c.dev, True), notes)
    else:
        train, dev = hold_out(name, train, notes)
    return TaskData(name, task, train, dev, task.check(test, notes), notes)
