"""Dropout (Srivastava et al. 2014), cheaper on a CPU than torch's: sixteen random bits an element, and one byte kept.

torch's own draws a float per element on the CPU, one by one. Elsewhere torch's fused kernel is used.
"""

from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int8
from torch import Tensor

_LEVELS = 1 << 16


def _kept(like: Tensor, dropped: int) -> Int8[Tensor, "*shape"]:
    """-1 with probability 1 − dropped/65536, else 0, from torch's generator; the same for any number of threads.

    By arithmetic, because comparisons of integers are not vectorised.
    """
    n = like.numel()
    words = torch.empty((n + 3) // 4, dtype=torch.int64).random_(-(1 << 63), None)
    above = (dropped - 1 - _LEVELS // 2) - words.view(torch.int16)[:n].to(torch.int32)  # negative: kept
    return above.bitwise_right_shift_(31).to(torch.int8).view(like.shape)


def _factor(kept: Int8[Tensor, "*shape"], scale: float) -> Float[Tensor, "*shape"]:
    """`scale` where kept, else 0: all bits of the number, or none."""
    bits = int(torch.tensor(scale).view(torch.int32))
    return kept.to(torch.int32).bitwise_and_(bits).view(torch.float32)


class _DropoutAdd(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, h: Tensor | None, x: Tensor, dropped: int) -> Tensor:
        kept = _kept(x, dropped)
        ctx.save_for_backward(kept)
        ctx.scale, ctx.type = _LEVELS / (_LEVELS - dropped), x.dtype
        factor = _factor(kept, ctx.scale)
        if h is None:
            return (x * factor).to(x.dtype)
        return torch.addcmul(h, x, factor) if h.dtype == x.dtype == factor.dtype else h + (x * factor).to(x.dtype)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor, None]:
        to_h = grad if ctx.needs_input_grad[0] else None
        return to_h, (grad * _factor(ctx.saved_tensors[0], ctx.scale)).to(ctx.type), None


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
