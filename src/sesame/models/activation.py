"""The second half of a feed-forward layer, which keeps its input and forgets the (as large) activated input."""

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
_BACKWARD: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "gelu": torch.ops.aten.gelu_backward.default,
    "gelu_tanh": lambda grad, x: torch.ops.aten.gelu_backward.default(grad, x, approximate="tanh"),
    "relu": lambda grad, x: grad * (x > 0),
}


CHUNK = 1 << 20
"""Activated numbers held at a time (4 MiB in fp32): they are still in the cache when the product reads them."""


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
        grad_wide, grad_weight = torch.empty_like(wide), torch.zeros_like(weight, dtype=grad.dtype)
        back = weight.to(grad.dtype)
        for begin in range(0, len(wide), _rows(wide)):
            here = slice(begin, begin + _rows(wide))
            activated = ACTIVATIONS[ctx.activation](wide[here]).to(grad.dtype)
            grad_weight.addmm_(rows[here].T, activated)
            torch.mm(rows[here], back, out=activated)
            grad_wide[here] = _BACKWARD[ctx.activation](activated.to(x.dtype), wide[here])
        return grad_wide.view_as(x), grad_weight.to(weight.dtype), rows.sum(0).to(weight.dtype), None


def _rows(wide: Tensor) -> int:
    return max(1, CHUNK // wide.shape[-1])


def activated_linear(
    x: Float[Tensor, "*where wide"], weight: Float[Tensor, "out wide"], bias: Float[Tensor, " out"], activation: str
) -> Float[Tensor, "*where out"]:
    """activation(x) · weightᵀ + bias. The activation is computed again on the way back, which is cheap beside
    the products around it and saves the largest tensor of a Transformer block. Differentiable once."""
    return _ActivatedLinear.apply(x, weight, bias, activation)
