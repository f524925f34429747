"""A norm and the feed-forward layer that reads it, which keep two tensors of what a block computes, and not four.

Autograd would keep the norm's input and output, and the wide numbers before and after the activation. Of each pair
the second is cheap to compute again from the first, next to the products around it.
"""

import math
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "gelu": F.gelu,
    "gelu_tanh": lambda x: F.gelu(x, approximate="tanh"),
    "relu": F.relu,
}
_gelu_backward = torch.ops.aten.gelu_backward.grad_input
_BACKWARD: dict[str, Callable[[Tensor, Tensor], Any]] = {
    "gelu": lambda grad, x: _gelu_backward(grad, x, grad_input=grad),
    "gelu_tanh": lambda grad, x: _gelu_backward(grad, x, approximate="tanh", grad_input=grad),
    "relu": lambda grad, x: grad.mul_(x > 0),
}
"""Turns the gradient of the activated numbers into the gradient of those before, in place."""

CHUNK = 1 << 22
"""Activated numbers held at a time (16 MiB in fp32)."""


def _computed(
    x: Tensor, scale: Tensor, shift: Tensor, up: Tensor, b: Tensor, down: Tensor, c: Tensor, eps: float, activation: str
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """The norm of `x`, its mean and 1/deviation, the wide numbers before the activation, and what comes out."""
    h, mean, rstd = torch.native_layer_norm(x, scale.shape, scale, shift, eps)
    wide = F.linear(h.flatten(0, -2), up, b)
    parts = [F.linear(ACTIVATIONS[activation](part), down, c) for part in wide.split(_rows(wide))]
    out = parts[0] if len(parts) == 1 else torch.cat(parts)
    return h, mean, rstd, wide, out.view(*x.shape[:-1], len(down))


class _FeedForward(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: Tensor, scale: Tensor, shift: Tensor, up: Tensor, b: Tensor, down: Tensor, c: Tensor,
        eps: float, activation: str,
    ) -> tuple[Tensor, Tensor]:  # fmt: skip
        x = x.to(scale.dtype)
        h, mean, rstd, wide, out = _computed(x, scale, shift, up, b, down, c, eps, activation)
        ctx.save_for_backward(x, mean, rstd, scale, shift, up, wide, down)
        ctx.eps, ctx.activation = eps, activation
        ctx.set_materialize_grads(False)  # a pre-norm block leaves h unread
        return h, out

    @staticmethod
    def backward(ctx: Any, grad_h: Tensor | None, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, mean, rstd, scale, shift, up, wide, down = ctx.saved_tensors
        rows = grad.flatten(0, -2)
        h = F.layer_norm(x, scale.shape, scale, shift, ctx.eps).flatten(0, -2).to(rows.dtype)
        up_, down_ = up.to(rows.dtype), down.to(rows.dtype)
        grad_up: Tensor | None = None
        grad_down: Tensor | None = None
        grad_b, through = torch.zeros_like(up[:, 0]), torch.empty_like(h)
        for part, wide_part, h_part, out in zip(*(t.split(_rows(wide)) for t in (rows, wide, h, through)), strict=True):
            inner = ACTIVATIONS[ctx.activation](wide_part).to(rows.dtype)
            # No zeros to add the first product to: writing them would be one more way through memory.
            grad_down = part.T @ inner if grad_down is None else grad_down.addmm_(part.T, inner)
            inner = part @ down_
            _BACKWARD[ctx.activation](inner, wide_part.to(rows.dtype))
            grad_up = inner.T @ h_part if grad_up is None else grad_up.addmm_(inner.T, h_part)
            grad_b += inner.sum(0)
            torch.mm(inner, up_, out=out)
        assert grad_up is not None and grad_down is not None  # split gives one part, if an empty one, of no rows too
        through = through.view_as(x).to(x.dtype)
        grad_x, grad_scale, grad_shift = torch.ops.aten.native_layer_norm_backward(
            through if grad_h is None else through.add_(grad_h),
            x, scale.shape, mean, rstd, scale, shift, (True, True, True),
        )  # fmt: skip
        grads = grad_up.to(up.dtype), grad_b, grad_down.to(down.dtype), rows.sum(0).to(down.dtype)
        return grad_x, grad_scale, grad_shift, *grads, None, None


def _rows(wide: Tensor) -> int:
    """Rows in a part: as many parts as CHUNK asks for, all about equal, because a product of few rows is slow."""
    parts = max(1, math.ceil(wide.numel() / CHUNK))
    return max(1, math.ceil(len(wide) / parts))


def feed_forward(
    x: Float[Tensor, "*where width"], norm: nn.LayerNorm, up: nn.Linear, down: nn.Linear, activation: str
) -> tuple[Float[Tensor, "*where width"], Float[Tensor, "*where out"]]:
    """h = norm(x), and down(activation(up(h))). Differentiable once."""
    weights = norm.weight, norm.bias, up.weight, up.bias, down.weight, down.bias
    if not torch.is_grad_enabled():  # a token is soon written: what autograd's function costs by itself would show
        h, *_, out = _computed(x.to(norm.weight.dtype), *weights, norm.eps, activation)
        return h, out
    return _FeedForward.apply(x, *weights, norm.eps, activation)
