"""Bootstrap your own latent (Grill et al. 2020): from one view of an image, predict a slow copy's output for another.

x′ is one view and x″ what the slow copy makes of the other, and the other way round. Nothing pushes images apart; the
predictor and the slowness of the copy are what keeps the projections from collapsing into one point.
"""

import copy
import math
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from sesame import config
from sesame.data import chance
from sesame.data.batch import ImageBatch, Pixels
from sesame.data.images import ImageStream
from sesame.models.base import Backbone
from sesame.pretext.base import Loss, Pretext, Split, Term


def regression(predicted: Float[Tensor, "image out"], projected: Float[Tensor, "image out"]) -> Float[Tensor, " image"]:
    """2 − 2 cos: the squared distance of the two directions (equation 2)."""
    return 2.0 - 2.0 * F.cosine_similarity(predicted, projected, dim=1)


def decay(step: int, steps: int, start: float) -> float:
    """The slow copy's decay after `step` of `steps` steps: from `start` to 1 along half a cosine (section 3.2)."""
    return 1.0 - (1.0 - start) * (math.cos(math.pi * step / max(steps, 1)) + 1.0) / 2.0


def mlp(inward: int, hidden: int, out: int) -> nn.Sequential:
    """Projector and predictor: Linear – batch norm – ReLU – Linear without a bias (section 3.3)."""
    return nn.Sequential(
        nn.Linear(inward, hidden), nn.BatchNorm1d(hidden), nn.ReLU(), nn.Linear(hidden, out, bias=False)
    )


class Byol(Pretext):
    """Two networks learn from each other: the trained one, and its slow copy, which no gradient ever reaches."""

    def __init__(self, c: config.Byol, backbone: Backbone, vocabulary: None = None):
        super().__init__()
        self.config = c
        self.projector = mlp(backbone.width, c.hidden, c.out)
        self.predictor = mlp(c.out, c.hidden, c.out)
        self.slow_backbone = copy.deepcopy(backbone).requires_grad_(False)
        self.slow_projector = copy.deepcopy(self.projector).requires_grad_(False)

    def stream(self, data: config.ImageData, seed: int, rank: int = 0, world: int = 1) -> ImageStream:
        return ImageStream(data, seed, rank, world)

    def split(self, batch: ImageBatch) -> Split:
        """Two views of every image, whose chance depends on the image, the epoch and the view alone."""
        views = self.view(batch, 0), self.view(batch, 1)
        return Split(seen=views, target={}, count={"byol": batch.size}, size=batch.size)

    def view(self, batch: ImageBatch, number: int) -> Pixels:
        """The images shifted, then with brightness and contrast changed, then with noise; pixels count from 0 to 1."""
        c, words = self.config, (batch.seed, batch.epoch, batch.key, number)
        x = torch.from_numpy(batch.pixels).float() / 255.0
        down, right = (
            torch.from_numpy(chance.integers(2 * c.shift + 1, purpose, *words) - c.shift)
            for purpose in ("shift down", "shift right")
        )
        x = shifted(x, down, right)
        brightness, contrast = (
            torch.from_numpy(1.0 + c.jitter * (2.0 * chance.uniform(purpose, *words) - 1.0)).float()[
                :, None, None, None
            ]
            for purpose in ("brightness", "contrast")
        )
        x = x * brightness
        grey = x.mean((1, 2, 3), keepdim=True)
        x = ((x - grey) * contrast + grey).clamp_(0.0, 1.0)
        pixel = np.arange(x[0].numel())
        noise = chance.normal("noise", batch.seed, batch.epoch, batch.key[:, None], number, pixel[None])
        return Pixels(x + c.noise * torch.from_numpy(noise).float().view_as(x))

    def loss(self, backbone: Backbone, split: Split) -> Loss:
        """The *sum* of the two symmetric terms for each image; their mean would halve the step against the recipe."""
        first, second = split.seen
        # The views go through one after the other: batch norm must not see both at once, or its statistics give
        # away which images belong together.
        distance = regression(self.predict(backbone, first), self.project_slowly(second))
        distance = distance + regression(self.predict(backbone, second), self.project_slowly(first))
        return {"byol": Term(distance.sum(), split.count["byol"])}

    def predict(self, backbone: Backbone, view: Pixels) -> Float[Tensor, "image out"]:
        """What the trained network expects the slow copy to make of the other view."""
        return self.predictor(self.projector(backbone(view).last))

    @torch.no_grad()
    def project_slowly(self, view: Pixels) -> Float[Tensor, "image out"]:
        """The slow copy's projection. It runs in the mode of the whole: in training its batch norm uses the batch."""
        return self.slow_projector(self.slow_backbone(view).last)

    def start(self, backbone: Backbone, artifact: dict[str, Any]) -> None:
        """The copy starts as the backbone that training really starts from, which may be a loaded one."""
        self.slow_backbone.load_state_dict(backbone.state_dict())
        self.slow_projector.load_state_dict(self.projector.state_dict())

    @torch.no_grad()
    def after_step(self, backbone: Backbone, step: int, steps: int) -> None:
        """slow = τ slow + (1 − τ) trained, weights only: running statistics of batch norm are each network's own."""
        share = 1.0 - decay(step, steps, self.config.decay)
        for slow, trained in ((self.slow_backbone, backbone), (self.slow_projector, self.projector)):
            for s, t in zip(slow.parameters(), trained.parameters(), strict=True):
                s.lerp_(t, share)


def shifted(
    x: Float[Tensor, "image channel height width"], down: Int[Tensor, " image"], right: Int[Tensor, " image"]
) -> Float[Tensor, "image channel height width"]:
    """Each image moved by its own number of pixels; what comes in at an edge repeats the edge."""
    height, width = x.shape[2:]
    row = (torch.arange(height) - down[:, None]).clamp_(0, height - 1)
    column = (torch.arange(width) - right[:, None]).clamp_(0, width - 1)
    x = x.gather(2, row[:, None, :, None].expand_as(x))
    return x.gather(3, column[:, None, None, :].expand_as(x))
