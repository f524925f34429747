"""SimSiam (Chen & He 2021): BYOL without the slow copy. One view predicts the other's projection, which is held still.

x′ is one view and x″ the projection of the other. What keeps projections from collapsing is that no gradient goes
through what is predicted, and that the predictor stands between.
"""

import torch.nn.functional as F
from torch import nn

from sesame import config
from sesame.models.base import Backbone
from sesame.pretext.base import Loss, Split, Term
from sesame.pretext.two_views import TwoViews


def projector(inward: int, out: int, layers: int) -> nn.Sequential:
    """Linear layers as wide as the output, batch norm after each, ReLU between; the last norm has no weights."""
    parts: list[nn.Module] = []
    for width in (inward, *[out] * (layers - 2)):
        parts += [nn.Linear(width, out, bias=False), nn.BatchNorm1d(out), nn.ReLU()]
    return nn.Sequential(*parts, nn.Linear(out, out, bias=False), nn.BatchNorm1d(out, affine=False))


def predictor(out: int, hidden: int) -> nn.Sequential:
    """A bottleneck: Linear – batch norm – ReLU – Linear (section 3)."""
    return nn.Sequential(nn.Linear(out, hidden, bias=False), nn.BatchNorm1d(hidden), nn.ReLU(), nn.Linear(hidden, out))


class SimSiam(TwoViews):
    """What is printed is the loss of equation 2: from −1, where each view is predicted exactly, to 1."""

    term = "simsiam"

    def __init__(self, c: config.SimSiam, backbone: Backbone, vocabulary: None = None):
        super().__init__()
        self.config = c
        self.projector = projector(backbone.width, c.out, c.layers)
        self.predictor = predictor(c.out, c.hidden)

    def loss(self, backbone: Backbone, split: Split) -> Loss:
        """½ D(p₁, stop(z₂)) + ½ D(p₂, stop(z₁)) for each image, where D is minus the cosine (equations 1 to 4)."""
        first, second = (self.projector(backbone(view).last) for view in self.views(split))
        agreement = F.cosine_similarity(self.predictor(first), second.detach(), dim=1)
        agreement = agreement + F.cosine_similarity(self.predictor(second), first.detach(), dim=1)
        return {self.term: Term(-0.5 * agreement.sum(), split.count[self.term])}
