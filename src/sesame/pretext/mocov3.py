"""MoCo v3 (Chen, Xie & He 2021): of a slow copy's outputs for all images of a batch, predict the one of this image.

SimCLR's question with BYOL's networks: x′ is one view and x″ what the slow copy makes of the other, told from what it
makes of the other images. The loss is one of the whole batch.
"""

from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64
from torch import Tensor, nn

from sesame import config
from sesame.models.base import Backbone
from sesame.models.collective import joined
from sesame.pretext.base import Loss, Split, Term
from sesame.pretext.slow_copy import SlowCopy, decay
from sesame.pretext.two_views import TwoViews


def contrast(
    q: Float[Tensor, "mine out"], k: Float[Tensor, "all out"], positive: Int64[Tensor, " mine"], temperature: float
) -> Float[Tensor, " mine"]:
    """2τ times the cross-entropy of cos(q, k) / τ (algorithm 1): 2τ keeps its gradient of one size for every τ."""
    cosine = F.normalize(q, dim=1) @ F.normalize(k, dim=1).T
    return 2.0 * temperature * F.cross_entropy(cosine / temperature, positive, reduction="none")


def mlp(inward: int, hidden: int, out: int, layers: int, last_norm: bool) -> nn.Sequential:
    """Linear layers without biases, batch norm and ReLU between them; after the last one a norm without weights."""
    widths = [inward, *[hidden] * (layers - 1)]
    parts: list[nn.Module] = []
    for before, after in zip(widths, [*widths[1:], out], strict=True):
        parts += [nn.Linear(before, after, bias=False), nn.BatchNorm1d(after), nn.ReLU()]
    parts[-2:] = [nn.BatchNorm1d(out, affine=False)] if last_norm else []
    return nn.Sequential(*parts)


class MocoV3(TwoViews):
    """What is printed is the sum over both directions, as in algorithm 1. Images are counted, not views."""

    whole_batch = True
    term = "moco"

    def __init__(self, c: config.MocoV3, backbone: Backbone, vocabulary: None = None):
        super().__init__()
        self.config = c
        self.projector = mlp(backbone.width, c.hidden, c.out, c.layers, last_norm=True)
        self.predictor = mlp(c.out, c.hidden, c.out, 2, last_norm=c.predictor_norm)
        self.slow = SlowCopy(backbone, self.projector)

    def loss(self, backbone: Backbone, split: Split) -> Loss:
        views = self.views(split)
        total: Tensor = torch.zeros((), device=views[0].x.device)
        for seen, other in (views, reversed(views)):
            q = self.predictor(self.projector(backbone(seen).last))
            k = self.slow(other)
            everything, begin = joined(k) if self.training else (k, 0)  # held-out batches are the same everywhere
            positive = begin + torch.arange(len(q), device=q.device)
            total = total + contrast(q, everything, positive, self.config.temperature).sum()
        return {self.term: Term(total, split.count[self.term])}

    def start(self, backbone: Backbone, artifact: dict[str, Any]) -> None:
        self.slow.start(backbone, self.projector)

    def after_step(self, backbone: Backbone, step: int, steps: int) -> None:
        self.slow.follow(backbone, self.projector, decay(step, steps, self.config.decay))
