"""Rows of an embedding matrix, and the matrix for whoever projects back onto it, with one gradient between them.

Where the output projection is the embedding itself (Press & Wolf 2017), autograd makes two gradients of the size of the
vocabulary, most of the first being zeros, and adds them. Here the few rows that were looked up are added to the other.
"""

from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor


class _Lookup(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, weight: Tensor, ids: Tensor) -> tuple[Tensor, Tensor]:
        ctx.save_for_backward(ids)
        ctx.vocabulary = len(weight)
        ctx.set_materialize_grads(False)
        return F.embedding(ids, weight), weight.view_as(weight)

    @staticmethod
    def backward(ctx: Any, grad: Tensor | None, whole: Tensor | None) -> tuple[Tensor | None, None]:
        (ids,) = ctx.saved_tensors
        if grad is None:
            return whole, None
        if whole is not None and whole.device.type == "cpu":
            return whole.index_add_(0, ids.flatten(), grad.flatten(0, -2)), None
        rows = torch.ops.aten.embedding_dense_backward(grad, ids, ctx.vocabulary, -1, False)
        return rows if whole is None else whole.add_(rows), None


def lookup(
    weight: Float[Tensor, "vocab width"], ids: Int[Tensor, "*where"]
) -> tuple[Float[Tensor, "*where width"], Float[Tensor, "vocab width"]]:
    """weight[ids], and `weight` again. The gradient that comes back through the latter is added to in place: it must
    be a tensor of its own, as that of a projection is. Differentiable once."""
    if not (torch.is_grad_enabled() and weight.requires_grad):
        return F.embedding(ids, weight), weight.detach()
    return _Lookup.apply(weight, ids)
