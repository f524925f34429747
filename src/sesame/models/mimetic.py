"""A start that a small model need not find by itself: every position looks at its neighbours and takes up their words.

Plain small random weights leave attention uniform, and a masked LM then spends a short run at the unigram loss until
gradients have found the neighbours. After Trockman & Kolter 2023 (arXiv 2305.09828), who saw in trained Transformers
query·key near the identity, and started from there. The network stays what it is; only where it starts differs.
"""

import math
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float
from torch import Tensor

if TYPE_CHECKING:
    from sesame.models.transformer import SelfAttention, Transformer

POSITION = 0.1
"""Amplitude of the sinusoids: 0.07 a number on average, against 0.05 or less of an embedding."""
# The first layer alone begins near the identity: one that gathers neighbours is what a start needs, and a second one
# on top would gather again what is gathered already (deeper models then stay on the plateau).
QUERY_KEY = 1.0
"""Share of the identity in its query and key: scores are then products of positions, greatest for neighbours."""
VALUE_OUT = 1.0
"""Share of the identity in its value and output: what is attended to is added as it is."""


@torch.no_grad()
def start(model: "Transformer") -> None:
    """Add to the fresh weights of `model` in place."""
    if model.embed.position is not None:
        weight = model.embed.position.weight
        weight.copy_(POSITION * sinusoids(*weight.shape))
    if model.embed.project is not None:
        _add_identity(model.embed.project.weight, 1.0)
    first: SelfAttention = model.blocks[0].get_submodule("attention")  # type: ignore[assignment]
    query, key, value = first.qkv.weight.chunk(3)
    for part, share in ((query, QUERY_KEY), (key, QUERY_KEY), (value, VALUE_OUT), (first.out.weight, VALUE_OUT)):
        _add_identity(part, share)


def _add_identity(matrix: Float[Tensor, "out inward"], share: float) -> None:
    matrix.add_(share * torch.eye(*matrix.shape, dtype=matrix.dtype))


def sinusoids(positions: int, width: int) -> Float[Tensor, "position width"]:
    """Vaswani et al. 2017, 3.5: sine and cosine in turn, wavelengths from 2π to 10,000·2π."""
    rate = torch.exp(-math.log(10_000) * torch.arange(0, width, 2) / width)
    angle = torch.arange(positions)[:, None] * rate
    return torch.stack([angle.sin(), angle.cos()], 2).flatten(1)[:, :width]
