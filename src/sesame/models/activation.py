"""The second half of a feed-forward layer, which keeps its input and forgets the (as large) activated input."""

import math
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "gelu": F.gelu,
    "gelu_tanh": lambda x: F.gelu(x, approximate="tanh"),
    "relu": F.relu,
}
_gelu_backward = torch.ops.aten.gelu_backward.grad_input
_BACKWARD: dict[str, Callable[[Tensor, Tensor, Tensor], Any]] = {
    "gelu": lambda grad, x, out: _gelu_backward(grad, x, grad_input=out),
    "gelu_tanh": lambda grad, x, out: _gelu_backward(grad, x, approximate="tanh", grad_input=out),
    "relu": lambda grad, x, out: torch.mul(grad, x > 0, out=out),
}
"""From the gradient of the activated numbers and what was activated, the gradient of the latter, into `out`."""

CHUNK = 1 << 22
"""Activated numbers held at a time (16 MiB in fp32)."""


class _ActivatedLinear(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, activation: str) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.activation = activation
        wide = x.flatten(0, -2)
        parts = [F.linear(ACTIVATIONS[activation](part), weight, bias) for part in wide.split(_rows(wide))]
        out = parts[0] if len(parts) == 1 else torch.cat(parts)
        return out.view(*x.shape[:-1], len(weight))

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        x, weight = ctx.saved_tensors
        wide, rows = x.flatten(0, -2), grad.flatten(0, -2)
        grad_wide, back = torch.empty_like(wide), weight.to(grad.dtype)
        grad_weight: Tensor | None = None
        for wide_part, part, out in zip(*(t.split(_rows(wide)) for t in (wide, rows, grad_wide)), strict=True):
            activated = ACTIVATIONS[ctx.activation](wide_part).to(grad.dtype)
            # No zeros to add the first product to: writing them would be one more way through memory.
            grad_weight = part.T @ activated if grad_weight is None else grad_weight.addmm_(part.T, activated)
            torch.mm(part, back, out=activated)
            _BACKWARD[ctx.activation](activated.to(x.dtype), wide_part, out)
        assert grad_weight is not None  # split gives one part, if an empty one, of no rows too
        return grad_wide.view_as(x), grad_weight.to(weight.dtype), rows.sum(0).to(weight.dtype), None


def _rows(wide: Tensor) -> int:
    """Rows in a part: as many parts as CHUNK asks for, all about equal, because a product of few rows is slow."""
    parts = max(1, math.ceil(wide.numel() / CHUNK))
    return max(1, math.ceil(len(wide) / parts))


def activated_linear(
    x: Float[Tensor, "*where wide"], weight: Float[Tensor, "out wide"], bias: Float[Tensor, " out"], activation: str
) -> Float[Tensor, "*where out"]:
    """activation(x) · weightᵀ + bias. The activation is computed again on the way back, which is cheap beside
    the products around it and saves the largest tensor of a Transformer block. Differentiable once."""
    return _ActivatedLinear.apply(x, weight, bias, activation)
