"""Dropout (Srivastava et al. 2014), cheaper on a CPU than torch's: sixteen random bits an element, and none kept.

torch's own draws a float per element on the CPU and keeps it for the way back; here a seed is kept, and the bits are
drawn again. Elsewhere torch's fused kernel is used.
"""

from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

_LEVELS = 1 << 16


def _kept(like: Tensor, dropped: int, seed: int) -> Bool[Tensor, "*shape"]:
    """True with probability 1 − dropped/65536, by `seed` alone; the same for any number of threads."""
    n, generator = like.numel(), torch.Generator().manual_seed(seed)
    words = torch.empty((n + 3) // 4, dtype=torch.int64).random_(-(1 << 63), None, generator=generator)
    return (words.view(torch.int16)[:n] >= dropped - _LEVELS // 2).view(like.shape)


class _DropoutAdd(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, h: Tensor | None, x: Tensor, dropped: int) -> Tensor:
        ctx.seed = int(torch.randint(1 << 32, ()))  # from torch's generator
        ctx.dropped, ctx.scale, ctx.type = dropped, _LEVELS / (_LEVELS - dropped), x.dtype
        kept = x * _kept(x, dropped, ctx.seed)
        return kept.mul_(ctx.scale) if h is None else torch.add(h, kept, alpha=ctx.scale)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor, None]:
        to_h = grad if ctx.needs_input_grad[0] else None
        return to_h, (grad * _kept(grad, ctx.dropped, ctx.seed)).mul_(ctx.scale).to(ctx.type), None


def dropout(x: Float[Tensor, "*shape"], rate: float, training: bool) -> Float[Tensor, "*shape"]:
    """dropout(x). The rate is held to 16 bits: within 0.00001 of the one asked for."""
    dropped = min(round(rate * _LEVELS), _LEVELS - 1)
    if x.device.type != "cpu" or not training or not dropped:
        return F.dropout(x, rate, training)
    return _DropoutAdd.apply(None, x, dropped)


def dropout_add(
    h: Float[Tensor, "*shape"], x: Float[Tensor, "*shape"], rate: float, training: bool
) -> Float[Tensor, "*shape"]:
    """h + dropout(x)."""
    if not training or not rate:
        return h + x
    dropped = min(round(rate * _LEVELS), _LEVELS - 1)
    if x.device.type != "cpu" or not dropped:
        return h + F.dropout(x, rate)
    return _DropoutAdd.apply(h, x, dropped)
