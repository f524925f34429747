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
_BACKWARD: dict[str, Callable[[Tensor, Tensor], Tensor]] = {  # into the first argument
    "gelu": lambda grad, x: torch.ops.aten.gelu_backward.grad_input(grad, x, grad_input=grad),
    "gelu_tanh": lambda grad, x: torch.ops.aten.gelu_backward.grad_input(grad, x, approximate="tanh", grad_input=grad),
    "relu": lambda grad, x: grad.mul_(x > 0),
}


class _ActivatedLinear(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, activation: str) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.activation = activation
        return F.linear(ACTIVATIONS[activation](x), weight, bias)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        x, weight = ctx.saved_tensors
        rows, wide = grad.reshape(-1, grad.shape[-1]), x.reshape(-1, x.shape[-1])
        activated = ACTIVATIONS[ctx.activation](wide).to(grad.dtype)
        grad_weight = rows.T @ activated
        grad_wide = torch.mm(rows, weight.to(grad.dtype), out=activated).to(x.dtype)  # one wide tensor at a time
        _BACKWARD[ctx.activation](grad_wide, wide)
        return grad_wide.view_as(x), grad_weight.to(weight.dtype), rows.sum(0).to(weight.dtype), None


def activated_linear(
    x: Float[Tensor, "*where wide"], weight: Float[Tensor, "out wide"], bias: Float[Tensor, " out"], activation: str
) -> Float[Tensor, "*where out"]:
    """activation(x) · weightᵀ + bias. The activation is computed again on the way back, which costs a percent of the
    step and saves the largest tensor of a Transformer block. Differentiable once."""
    return _ActivatedLinear.apply(x, weight, bias, activation)
