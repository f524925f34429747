"""Relative positions: what an attention score gains by the distance of its two positions (Raffel et al. 2020, 2.1).

Every head has one number for each of a few buckets of distances, and all layers of a stack share them. Of the buckets
of one direction half hold a single distance each; the rest widen like a logarithm, up to `farthest`.
"""

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

Gain = Callable[[Int[Tensor, "*many query key"]], Float[Tensor, "*many head query key"]]
"""From distances, key minus query, to what is added to the scores."""


class RelativePositions(nn.Module):
    def __init__(self, heads: int, buckets: int, farthest: int, causal: bool):
        super().__init__()
        self.weight = nn.Parameter(torch.empty(buckets, heads))
        self.farthest, self.causal = farthest, causal

    def forward(self, distance: Int[Tensor, "*many query key"]) -> Float[Tensor, "*many head query key"]:
        """What each head adds to the score of two positions `distance` apart (key minus query)."""
        bucket = bucket_of(distance, len(self.weight), self.farthest, self.causal)
        return F.embedding(bucket, self.weight).movedim(-1, -3)


def bucket_of(distance: Int[Tensor, "*shape"], buckets: int, farthest: int, causal: bool) -> Int[Tensor, "*shape"]:
    """The bucket of each distance (key minus query). Both directions share the buckets, unless no key comes later."""
    first = torch.zeros_like(distance)
    if causal:
        away = (-distance).clamp(min=0)
    else:
        buckets //= 2
        first, away = torch.where(distance > 0, buckets, 0), distance.abs()
    alone = buckets // 2
    # In single precision and in this order, as the published models were trained: where the logarithm is all but a
    # whole number, rounding decides.
    far = torch.log(away.float().clamp(min=1) / alone) / math.log(farthest / alone) * (buckets - alone)
    return first + torch.where(away < alone, away, (alone + far.long()).clamp(max=buckets - 1))
