"""A learned mix of a backbone's layers: γ Σ softmax(w)_j h_j, one weight a layer (Peters et al. 2018, equation 1)."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn


class LayerMix(nn.Module):
    """Begins as the mean of the layers."""

    def __init__(self, layers: int):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(layers))
        self.scale = nn.Parameter(torch.ones(()))

    def forward(self, layers: Sequence[Float[Tensor, "*place width"]]) -> Float[Tensor, "*place width"]:
        share = torch.softmax(self.weight, 0)
        return self.scale * sum(w * h for w, h in zip(share, layers, strict=True))
