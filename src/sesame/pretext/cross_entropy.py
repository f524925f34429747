"""Vocabulary projection and cross-entropy together, in chunks: no [.., vocabulary] tensor outlives its chunk."""

import math
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from sesame.models.base import product_dtype

CHUNK = 1 << 22
"""Logits held at a time (16 MiB in fp32): enough for the matrix product to run at full speed, small beside a model."""


class _LinearCrossEntropy(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, hidden: Tensor, weight: Tensor, bias: Tensor | None, target: Tensor, chunk: int
    ) -> tuple[Tensor, Tensor]:
        # The gradient of a *sum* of cross-entropies is known as soon as the logits are, up to one factor that
        # backward brings. So each chunk's logits become its gradient in place and are gone before the next chunk.
        parts = max(1, math.ceil(len(hidden) * weight.shape[0] / chunk))
        rows = max(1, math.ceil(len(hidden) / parts))  # about equal parts, because a product of few rows is slow
        total = torch.zeros(
            (), dtype=torch.float32 if hidden.dtype != torch.float64 else torch.float64, device=hidden.device
        )
        hits = torch.zeros((), dtype=torch.int64, device=hidden.device)
        need_h, need_w, need_b = ctx.needs_input_grad[:3]
        grad_h = torch.empty_like(hidden) if need_h else None
        grad_w: Tensor | None = None
        grad_b = torch.zeros_like(bias) if need_b and bias is not None else None
        for start in range(0, len(hidden), rows):
            h, y = hidden[start : start + rows], target[start : start + rows, None]
            logits = h @ weight.T if bias is None else torch.addmm(bias, h, weight.T)
            logits = logits.to(total.dtype)
            top, best = logits.max(1, keepdim=True)
            hits += (best == y).sum()
            right = logits.gather(1, y)
            p = logits.sub_(top).exp_()
            norm = p.sum(1, keepdim=True)
            total += (norm.log() + top - right).sum()
            if need_h or need_w or need_b:
                p.div_(norm).scatter_add_(1, y, p.new_full(y.shape, -1.0))
                p = p.to(hidden.dtype)
                if grad_h is not None:
                    torch.mm(p, weight, out=grad_h[start : start + rows])
                if need_w:  # no zeros to add the first product to: they would be the size of the vocabulary
                    grad_w = p.T @ h if grad_w is None else grad_w.addmm_(p.T, h)
                if grad_b is not None:
                    grad_b += p.sum(0)
        if need_w and grad_w is None:  # nothing was scored
            grad_w = torch.zeros_like(weight)
        ctx.save_for_backward(*(g for g in (grad_h, grad_w, grad_b) if g is not None))
        ctx.has = [g is not None for g in (grad_h, grad_w, grad_b)]
        ctx.mark_non_differentiable(hits)
        return total, hits

    @staticmethod
    def backward(ctx: Any, grad: Tensor, _: Tensor) -> tuple[Tensor | None, ...]:
        saved = list(ctx.saved_tensors)
        grads = [saved.pop(0).mul_(grad) if has else None for has in ctx.has]
        return *grads, None, None


def linear_cross_entropy(
    hidden: Float[Tensor, "scored width"],
    weight: Float[Tensor, "vocab width"],
    bias: Float[Tensor, " vocab"] | None,
    target: Int[Tensor, " scored"],
    chunk: int = CHUNK,
) -> tuple[Float[Tensor, ""], Int[Tensor, ""]]:
    """Sum over the scored positions of −log softmax(hidden · weightᵀ + bias)[target], and how many were right.

    Differentiable once in hidden, weight and bias. Memory for logits is `chunk` numbers, whatever the vocabulary.
    """
    dtype = product_dtype(hidden)
    hidden, weight, bias = hidden.to(dtype), weight.to(dtype), None if bias is None else bias.to(dtype)
    return _LinearCrossEntropy.apply(hidden, weight, bias, target, chunk)
