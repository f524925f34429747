"""What methods that compare two views of each image share: the images, and how the views are made."""

from dataclasses import dataclass, replace
from typing import Any, ClassVar

from jaxtyping import UInt8
from torch import Tensor, from_numpy, nn

from sesame.data import views
from sesame.data.batch import ImageBatch, Movable, Pixels, Stream
from sesame.data.images import ImageSet, ImageStream
from sesame.pretext.base import Pretext, Split

SHOWN = 4
"""Images of the picture, and views of each."""


@dataclass(frozen=True)
class Undeveloped(Movable):
    """Images, and what is to be done to them for each view: bytes travel to the device, and views are made there."""

    pixels: UInt8[Tensor, "image channel height width"]
    parameters: tuple[views.Parameters, views.Parameters]


class TwoViews(Pretext):
    """x is an image; x′ and x″ are views of it, whose chance depends on the image, the epoch and the view alone."""

    term: ClassVar[str]
    """The loss has one term, of this name."""
    config: Any

    def stream(self, data: ImageSet, seed: int, rank: int = 0, world: int = 1) -> ImageStream:
        return ImageStream(data, seed, rank, world)

    def split(self, batch: ImageBatch) -> Split:
        height, width = batch.pixels.shape[2:]
        first, second = (
            views.draw(augment, batch.key, batch.seed, batch.epoch, number, height, width)
            for number, augment in enumerate(self.config.views)
        )
        seen = Undeveloped(from_numpy(batch.pixels), (first, second))
        return Split(seen=seen, target={}, count={self.term: self.count(batch.size)}, size=batch.size)

    def picture(self, stream: Stream) -> Any:
        from sesame.data.contact_sheet import chosen, contact_sheet

        assert isinstance(stream, ImageStream)
        images = chosen(stream, SHOWN, stream.seed)
        return contact_sheet(stream, self.config.views, images, SHOWN, stream.seed, "Images, and views of them")

    def count(self, images: int) -> int:
        """How many things the loss of so many images is a mean over."""
        return images

    def views(self, split: Split) -> tuple[Pixels, Pixels]:
        """Both views, where the weights are and in their type."""
        weight = next(self.parameters())
        # The loader gives real numbers the type of the weights; pixels are made in fp32 whatever that is.
        first, second = (
            views.apply(split.seen.pixels, replace(p, factor=p.factor.float(), sigma=p.sigma.float())).to(weight.dtype)
            for p in split.seen.parameters
        )
        return Pixels(first), Pixels(second)


def mlp(inward: int, hidden: int, out: int) -> nn.Sequential:
    """BYOL's projector and predictor: Linear – batch norm – ReLU – Linear without a bias (Grill et al. 2020, 3.3)."""
    return nn.Sequential(
        nn.Linear(inward, hidden), nn.BatchNorm1d(hidden), nn.ReLU(), nn.Linear(hidden, out, bias=False)
    )
