"""A norm and the linear layer that reads it, which keep the norm's input alone and compute its output again."""

from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn


class _NormedLinear(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: Tensor, scale: Tensor, shift: Tensor, weight: Tensor, bias: Tensor, eps: float
    ) -> tuple[Tensor, Tensor]:
        x = x.to(scale.dtype)
        h, mean, rstd = torch.native_layer_norm(x, scale.shape, scale, shift, eps)
        ctx.save_for_backward(x, mean, rstd, scale, shift, weight)
        ctx.eps = eps
        ctx.set_materialize_grads(False)  # a pre-norm block leaves h unread
        return h, F.linear(h, weight, bias)

    @staticmethod
    def backward(ctx: Any, grad_h: Tensor | None, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, mean, rstd, scale, shift, weight = ctx.saved_tensors
        rows = grad.flatten(0, -2)
        h = F.layer_norm(x, scale.shape, scale, shift, ctx.eps).flatten(0, -2)
        grad_weight, grad_bias = rows.T @ h.to(grad.dtype), rows.sum(0)
        through = (rows @ weight.to(grad.dtype)).view_as(x).to(x.dtype)
        grad_h = through if grad_h is None else through.add_(grad_h)
        grad_x, grad_scale, grad_shift = torch.ops.aten.native_layer_norm_backward(
            grad_h, x, scale.shape, mean, rstd, scale, shift, (True, True, True)
        )
        return grad_x, grad_scale, grad_shift, grad_weight.to(weight.dtype), grad_bias.to(weight.dtype), None


def normed_linear(
    x: Float[Tensor, "*where width"], norm: nn.LayerNorm, linear: nn.Linear
) -> tuple[Float[Tensor, "*where width"], Float[Tensor, "*where out"]]:
    """h = norm(x), and linear(h). Of the two, autograd would keep both x and h; h is cheap to compute again from x.
    Differentiable once."""
    return _NormedLinear.apply(x, norm.weight, norm.bias, linear.weight, linear.bias, norm.eps)
