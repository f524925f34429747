"""A class for an image: a linear layer on the backbone's output (Chen et al. 2020, section 4; appendix B.5).

Images are read whole, their pixels from 0 to 1. While a network is fine-tuned they are cropped and flipped as the run's
first view was (its colours stay): so are they from scratch, which would be a weak rival without it.
"""

from collections.abc import Sequence
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
from sesame.data.image_sources import ENDINGS
from sesame.data.tokenizer import Vocabulary
from sesame.engine.build import Model
from sesame.errors import UserError
from sesame.models.base import Backbone
from sesame.tasks import files
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

    @property
    def lengths(self) -> Int[np.ndarray, " image"]:
        """All are of one size."""
        return np.ones(len(self), np.int64)


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

    def forward(self, h: Float[Tensor, "image width"], batch: PictureBatch) -> Float[Tensor, "image label"]:
        return self.out(h)


class ImageClassification(Classes[Picture]):
    """One of the labels of the training images."""

    kind = "images"
    reads = "images"
    arms = ("scratch", "pretrained")
    balanced = True
    unchanged = True

    @classmethod
    def read(cls, config: config.Images, path: Path, notes: Notes, labelled: bool = True) -> list[Picture]:
        return read(config, str(path), notes, labelled)

    def content(self, example: Picture) -> int:
        return example.content

    def encode(self, examples: Sequence[Picture], vocabulary: Vocabulary | None, length: int, notes: Notes) -> Pictures:
        pixels = np.stack([example.pixels for example in examples])
        content = np.array([example.content for example in examples], np.uint64)
        return Pictures(pixels, content, self._target(examples))

    def head(self, width: int, dropout: float) -> LinearHead:
        return LinearHead(width, len(self.labels))

    def numbers(self, encoded: Pictures) -> Float[Tensor, "image pixel"]:
        return torch.from_numpy(encoded.pixels.reshape(len(encoded), -1)).float() / 255.0

    def check_model(self, backbone: Backbone, examples: Sequence[Picture]) -> None:
        check_model(backbone, examples)

    def features(self, backbone: Backbone, encoded: Pictures) -> Float[Tensor, "image width"]:
        backbone.eval()
        with torch.inference_mode():
            found = [backbone(part).last.float() for part in parts(backbone, encoded)]
        return torch.cat(found).clone()

    def write(self, examples: Sequence[Picture], predictions: Sequence[Choice], path: Path) -> None:
        rows = [(e.where, *map(str, columns_of(p).values())) for e, p in zip(examples, predictions, strict=True)]
        files.write_rows(path, ("path", "prediction", "probability"), rows)


# --------------------------------------------------------------------------------------------- the network
class ImageNetwork(Network):
    """Backbone and head. With `augment`, what it is trained on is changed so, by chance that is set for each step."""

    def __init__(self, backbone: Backbone, head: Head, augment: Augment | None = None):
        super().__init__(backbone, head)
        self.augment = augment

    def forward(self, batch: PictureBatch) -> Float[Tensor, "image label"]:
        return self.head(self.backbone(batch.images).last, batch)

    def batch(self, pictures: Pictures, chosen: Int[np.ndarray, " chosen"], pad: int) -> PictureBatch:
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

    def scores(self, pictures: Pictures, pad: int) -> np.ndarray:
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
def read(c: config.Images, source: str, notes: Notes, labelled: bool = True) -> list[Picture]:
    """All images of a source, in its order. Raises UserError where they have no labels and these are needed."""
    found = images.open_source(
        config.ImageData(
            source=source,
            size=c.size,
            channels=c.channels,
            image_field=c.image_field,
            label_field=c.label_field,
            skip_bad=notes.skip,
        )
    )
    for reason, skip in found.skipped.items():
        notes.counts[f"skipped: {reason}"] += skip.count
    if labelled and found.label is None:
        raise UserError(f"{source}: its images have no labels, so there is nothing to learn. Give a folder per class.")
    labels = [found.names[i] for i in found.label.tolist()] if labelled and found.label is not None else None
    return [
        Picture(f"{number}", where, x, key, labels[number] if labels else None)
        for number, (where, x, key) in enumerate(zip(found.where(), found.pixels, found.key.tolist(), strict=True))
    ]


def open_images(name: str, c: config.Images, notes: Notes) -> TaskData[Picture, Choice]:
    """The task that `c` describes. Of a source without test images, test is what pretraining on it holds out.

    The task knows the size and the channels of its training images: what a model is used on later is read so, too.
    """
    from sesame.tasks.opening import count_known, hold_out

    train = read(c, c.train, notes)
    test = read(c, c.test, notes) if c.test else []
    if not c.test:
        away = order.held_out(np.array([example.content for example in train], np.uint64))
        test = [example for example, held in zip(train, away, strict=True) if held]
        train = [example for example, held in zip(train, away, strict=True) if not held]
        notes.counts["held out of train as test, by content, as in pretraining"] = len(test)
    task = ImageClassification(c, ImageClassification.labels_of(c, train))
    if c.dev:
        dev = task.check(read(c, c.dev, notes), notes)
        count_known(task, train, "dev", dev, notes)
    else:
        train, dev = hold_out(name, task, train, notes)
    test = task.check(test, notes)
    count_known(task, train, "test", test, notes)
    for part, examples in (("dev", dev), ("test", test)):
        if examples[0].pixels.shape != train[0].pixels.shape:
            raise UserError(
                f"{name}: images of train are {_shape(train[0])}, those of {part} {_shape(examples[0])}. Bring all to "
                "one with --size and --channels."
            )
    channels, size, _ = train[0].pixels.shape
    read_so = msgspec.structs.replace(c, size=size, channels=channels)
    return TaskData(name, ImageClassification(read_so, task.labels), train, dev, test, notes)


def parts_of(folder: Path) -> dict[str, str]:
    """The sources called train, dev and test (or MNIST's t10k) in a folder; all of it as train where there are none.

    A folder that holds images itself is a class, whatever it is called: `train_station`, and CIFAR-100's `train`.
    """
    from sesame.tasks.opening import PARTS, part_of

    names = PARTS | {"test": (*PARTS["test"], "t10k")}
    entries = sorted(path for path in folder.iterdir() if "labels" not in path.name and not _is_class(path))
    found = {part: path for part, called in names.items() if (path := part_of(folder, entries, part, called))}
    return {part: str(path) for part, path in found.items()} if "train" in found else {"train": str(folder)}


def _is_class(path: Path) -> bool:
    return path.is_dir() and any(inner.suffix.lower() in ENDINGS for inner in path.iterdir())


def _shape(example: Picture) -> str:
    channels, height, width = example.pixels.shape
    return f"{height}x{width} with {channels} channel{'s' * (channels != 1)}"


def check_model(backbone: Backbone, examples: Sequence[Picture]) -> None:
    """Raise UserError where the backbone cannot read these images."""
    c: Any = backbone.config
    channels, height, _ = examples[0].pixels.shape
    if (its := getattr(c, "in_channels", 0)) and its != channels:
        raise UserError(
            f"the images are {_shape(examples[0])}, and the model reads {its} channel{'s' * (its != 1)}. "
            f"Fine-tuning reads them so with --channels {its}."
        )
    if (size := getattr(c, "image", 0)) and size != height:
        raise UserError(
            f"the images are {_shape(examples[0])}, and the model reads {size}x{size}. "
            f"Fine-tuning reads them so with --size {size}."
        )
