"""Attention between positions of the same example, and nothing else.

One function; how it is computed is chosen once from the layout of the batch: where every row is a single full
example no mask is made, otherwise one additive mask serves all layers.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from sesame.data.batch import At, Rows


@dataclass(frozen=True)
class Links:
    """Who may attend to whom, ready for every layer."""

    mask: Float[Tensor, "row 1 query key"] | None
    """Added to the scores: 0 where query and key belong together, -inf elsewhere; None when all do."""
    causal: bool = False
    """Use the kernel's own causal mask (only when `mask` is None)."""


def links(
    rows: Rows, memory: Rows | None = None, at: At | None = None, causal: bool = False, *, dtype: torch.dtype
) -> Links:
    """The links from `rows` to itself, or to `memory`; only the queries in `at` where it is given.

    Positions without an example are linked to each other, so that no softmax is over nothing.
    """
    keys = rows if memory is None else memory
    if rows.alone and keys.alone and not (causal and at is not None):
        return Links(None, causal)
    query, position = rows.example, rows.position
    if at is not None:
        query, position = query.gather(1, at.time), position.gather(1, at.time)
    together = query[:, :, None] == keys.example[:, None, :]
    if causal:
        together = together & (position[:, :, None] >= keys.position[:, None, :])
    if memory is not None:
        # A row of `memory` may hold none of this row's examples (padding rows): link those queries to everything.
        together = together | ~together.any(-1, keepdim=True)
    mask = torch.zeros(together.shape, dtype=dtype, device=together.device).masked_fill_(~together, float("-inf"))
    return Links(mask[:, None], False)


def attend(
    query: Float[Tensor, "row query width"],
    key: Float[Tensor, "row key width"],
    value: Float[Tensor, "row key width"],
    heads: int,
    linked: Links,
    dropout: float = 0.0,
) -> Float[Tensor, "row query width"]:
    """Scaled dot-product attention with `heads` heads (Vaswani et al. 2017, 3.2), over the links given."""

    def split(x: Tensor) -> Tensor:
        return x.unflatten(-1, (heads, -1)).transpose(1, 2)

    mixed = F.scaled_dot_product_attention(
        split(query), split(key), split(value), attn_mask=linked.mask, dropout_p=dropout, is_causal=linked.causal
    )
    return mixed.transpose(1, 2).flatten(2)
