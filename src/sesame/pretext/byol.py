"""Bootstrap your own latent (Grill et al. 2020): from one view of an image, predict a slow copy's output for another.

x′ is one view and x″ what the slow copy makes of the other, and the other way round. Nothing pushes images apart; the
predictor and the slowness of the copy are what keeps the projections from collapsing into one point.
"""

from typing import Any

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from sesame import config
from sesame.data.batch import Pixels
from sesame.models.base import Backbone
from sesame.pretext.base import Loss, Split, Term
from sesame.pretext.slow_copy import SlowCopy, decay
from sesame.pretext.two_views import TwoViews, mlp


def regression(predicted: Float[Tensor, "image out"], projected: Float[Tensor, "image out"]) -> Float[Tensor, " image"]:
    """2 − 2 cos: the squared distance of the two directions (equation 2)."""
    return 2.0 - 2.0 * F.cosine_similarity(predicted, projected, dim=1)


class Byol(TwoViews):
    """Two networks learn from each other: the trained one, and its slow copy, which no gradient ever reaches."""

    term = "byol"

    def __init__(self, c: config.Byol, backbone: Backbone, vocabulary: None = None):
        super().__init__()
        self.config = c
        self.projector = mlp(backbone.width, c.hidden, c.out)
        self.predictor = mlp(c.out, c.hidden, c.out)
        self.slow = SlowCopy(backbone, self.projector)

    def loss(self, backbone: Backbone, split: Split) -> Loss:
        """The *sum* of the two symmetric terms for each image; their mean would halve the step against the recipe."""
        first, second = self.views(split)
        # The views go through one after the other: batch norm must not see both at once, or its statistics give
        # away which images belong together.
        distance = regression(self.predict(backbone, first), self.slow(second))
        distance = distance + regression(self.predict(backbone, second), self.slow(first))
        return {self.term: Term(distance.sum(), split.count[self.term])}

    def predict(self, backbone: Backbone, view: Pixels) -> Float[Tensor, "image out"]:
        """What the trained network expects the slow copy to make of the other view."""
        return self.predictor(self.projector(backbone(view).last))

    def start(self, backbone: Backbone, artifact: dict[str, Any]) -> None:
        self.slow.start(backbone, self.projector)

    def after_step(self, backbone: Backbone, step: int, steps: int) -> None:
        self.slow.follow(backbone, self.projector, decay(step, steps, self.config.decay))
