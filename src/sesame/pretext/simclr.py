"""SimCLR (Chen et al. 2020): of all other views in a batch, find the one of the same image.

x′ is one view and x″ the other; the views of the other images are what it must be told from. So the loss is one of the
whole batch: it cannot be added up from micro-batches, and several processes join their projections.
"""

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64
from torch import Tensor, nn

from sesame import config
from sesame.data.batch import Pixels
from sesame.models.base import Backbone
from sesame.models.collective import joined
from sesame.pretext.base import Loss, Split, Term
from sesame.pretext.two_views import TwoViews


def nt_xent(
    z: Float[Tensor, "mine out"],
    positive: Int64[Tensor, " mine"],
    everything: Float[Tensor, "all out"],
    own: Int64[Tensor, " mine"],
    temperature: float,
) -> tuple[Float[Tensor, " mine"], Int64[Tensor, " mine"]]:
    """ℓ(i, j) of equation 1 for every row i of `z`: −log of the softmax, over all rows but i itself, of cos / τ at j.

    Rows are directions already. `positive` and `own` say where j and i are in `everything`. Also which row is nearest.
    """
    cosine = (z @ everything.T / temperature).scatter(1, own[:, None], -torch.inf)
    return F.cross_entropy(cosine, positive, reduction="none"), cosine.argmax(1)


def projector(inward: int, out: int, layers: int) -> nn.Sequential:
    """Linear layers with batch norm after each (also the last, which has no bias at all) and ReLU between them.

    The hidden ones are as wide as the backbone. SimCLR has two layers; SimCLR v2 (Chen et al. 2020b) three.
    """
    parts: list[nn.Module] = []
    for _ in range(layers - 1):
        parts += [nn.Linear(inward, inward, bias=False), nn.BatchNorm1d(inward), nn.ReLU()]
    last = nn.BatchNorm1d(out)
    last.register_parameter("bias", None)
    return nn.Sequential(*parts, nn.Linear(inward, out, bias=False), last)


class SimClr(TwoViews):
    """What is printed is the loss of the paper: the mean over all 2N views. Its own code prints twice that, the sum of
    the means over the first and over the second views. The accuracy is the share of views whose nearest is theirs."""

    whole_batch = True
    term = "nt_xent"

    def __init__(self, c: config.SimClr, backbone: Backbone, vocabulary: None = None):
        super().__init__()
        self.config = c
        self.projector = projector(backbone.width, c.out, c.layers)

    def count(self, images: int) -> int:
        return 2 * images

    def loss(self, backbone: Backbone, split: Split) -> Loss:
        first, second = self.views(split)
        # Both views go through as one batch: batch norm sees 2N of them.
        z = F.normalize(self.projector(backbone(Pixels(torch.cat([first.x, second.x]))).last), dim=1)
        everything, begin = joined(z) if self.training else (z, 0)  # held-out batches are the same on all processes
        own = begin + torch.arange(len(z), device=z.device)
        positive = begin + torch.arange(len(z), device=z.device).roll(len(z) // 2)
        each, nearest = nt_xent(z, positive, everything, own, self.config.temperature)
        return {self.term: Term(each.sum(), split.count[self.term], hits=(nearest == positive).sum())}
