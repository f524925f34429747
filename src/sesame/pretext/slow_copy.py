"""A network's slow copy: an exponential moving average of its weights, which no gradient ever reaches.

The "target network" of BYOL and the "momentum encoder" of MoCo: it gives the trained network something to predict that
changes slowly.
"""

import copy
import math

import torch
from jaxtyping import Float
from torch import Tensor, nn

from sesame.data.batch import Pixels
from sesame.models.base import Backbone


def decay(step: int, steps: int, start: float) -> float:
    """The slow copy's decay after `step` of `steps` steps: from `start` to 1 along half a cosine (Grill et al. 2020,
    section 3.2; Chen, Xie & He 2021, section 3)."""
    return 1.0 - (1.0 - start) * (math.cos(math.pi * step / max(steps, 1)) + 1.0) / 2.0


class SlowCopy(nn.Module):
    """Of a backbone and its projector. In training its batch norm uses the batch, as the trained network's does."""

    def __init__(self, backbone: Backbone, projector: nn.Module):
        super().__init__()
        self.backbone = copy.deepcopy(backbone).requires_grad_(False)
        self.projector = copy.deepcopy(projector).requires_grad_(False)

    @torch.no_grad()
    def forward(self, view: Pixels) -> Float[Tensor, "image out"]:
        return self.projector(self.backbone(view).last)

    def start(self, backbone: Backbone, projector: nn.Module) -> None:
        """Become what training really starts from, which may be a loaded network."""
        self.backbone.load_state_dict(backbone.state_dict())
        self.projector.load_state_dict(projector.state_dict())

    @torch.no_grad()
    def follow(self, backbone: Backbone, projector: nn.Module, decay: float) -> None:
        """slow = decay · slow + (1 − decay) · trained, weights only: running statistics of batch norm are each
        network's own."""
        for slow, trained in ((self.backbone, backbone), (self.projector, projector)):
            for s, t in zip(slow.parameters(), trained.parameters(), strict=True):
                s.lerp_(t, 1.0 - decay)
