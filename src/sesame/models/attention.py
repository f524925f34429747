"""Attention between positions of the same example, and nothing else.

One function; how it is computed is chosen once from the layout of the batch: where every row is a single full
example no mask is made; otherwise, on a CPU, examples of about one length are put side by side (models/segments.py),
and elsewhere one additive mask serves all layers.
"""

from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from sesame.data.batch import At, Rows
from sesame.models.base import product_dtype
from sesame.models.relative import Gain
from sesame.models.segments import Group, Segments, segments


@dataclass(frozen=True)
class Links:
    """Who may attend to whom, ready for every layer."""

    mask: Float[Tensor, "some_row some_head query key"] | None
    """Added to the scores: 0, or a gain, where query and key belong together, -inf elsewhere; None when all do."""
    causal: bool = False
    """Use the kernel's own causal mask (only when `mask` is None)."""
    segments: Segments | None = None
    """Take the rows apart instead."""


def links(
    rows: Rows,
    memory: Rows | None = None,
    at: At | None = None,
    causal: bool = False,
    gain: Gain | None = None,
    *,
    dtype: torch.dtype,
) -> Links:
    """The links from `rows` to itself, or to `memory`; only the queries in `at` where it is given.

    `gain` is what a score gains by the distance of its two positions.
    """
    keys = rows if memory is None else memory
    if rows.alone and keys.alone and gain is None and not (causal and at is not None):
        return Links(None, causal)
    if memory is None and rows.example.device.type == "cpu":
        apart = _segments(rows, at, causal, dtype, spread=gain is not None)
        return Links(None, segments=apart if gain is None else _with_gain(apart, gain, dtype))
    if rows.alone and keys.alone and at is None:  # one row's mask is every row's
        rows = Rows(rows.x[:1], rows.position[:1], rows.kind[:1], rows.example[:1])
    return Links(mask_of(rows, memory, at, causal, gain, dtype=dtype))


def attention_dtype(x: Tensor) -> torch.dtype:
    """The type that attention over `x` is computed in, and its masks have: that of products, but never bf16 on a CPU,
    where torch's kernel takes five times as long backwards (docs/results.md)."""
    dtype = product_dtype(x)
    return torch.float32 if dtype == torch.bfloat16 and x.device.type == "cpu" else dtype


def mask_of(
    rows: Rows,
    memory: Rows | None = None,
    at: At | None = None,
    causal: bool = False,
    gain: Gain | None = None,
    *,
    dtype: torch.dtype,
) -> Float[Tensor, "row some_head query key"]:
    """The same links as one additive mask: 0, or a gain, where query and key belong together, -inf elsewhere.

    Positions without an example are linked to each other, so that no softmax is over nothing.
    """
    keys = rows if memory is None else memory
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
    if gain is None:
        return mask[:, None]
    return mask[:, None] + gain(keys.position[:, None, :] - position[:, :, None]).to(dtype)


def _with_gain(apart: Segments, gain: Gain, dtype: torch.dtype) -> Segments:
    def gained(group: Group) -> Group:
        assert group.distance is not None
        added = gain(group.distance).to(dtype)
        return replace(group, mask=added if group.mask is None else added + group.mask)

    return replace(apart, groups=tuple(gained(group) for group in apart.groups))


def _segments(rows: Rows, at: At | None, causal: bool, dtype: torch.dtype, spread: bool) -> Segments:
    read = None if at is None else at.places(rows.example.shape[1]).numpy()
    example, row = rows.example.numpy(), np.arange(len(rows.example))[:, None]
    apart = np.where(example < 0, -1, example + row * (example.max(initial=0) + 1))  # a row ends its examples
    return segments(apart.ravel(), rows.position.flatten().numpy(), read, causal, spread, dtype=dtype)


def attend(
    query: Float[Tensor, "*query width"],
    key: Float[Tensor, "row *key last"],
    value: Float[Tensor, "row *key last"],
    heads: int,
    linked: Links,
    dropout: float = 0.0,
    scale: float | None = None,
) -> Float[Tensor, "*query width"]:
    """Dot-product attention with `heads` heads (Vaswani et al. 2017, 3.2), over the links given.

    Scores are multiplied by `scale`; None divides them by the root of a head's width.
    Queries are [row query width]; where rows are taken apart and only some positions are read, those: [read width].
    Keys and values are [row key width], or out of a cache [row heads key head].
    """

    if linked.segments is not None:
        return _attend_apart(query, key, value, heads, linked.segments, dropout, scale)
    return _attention(query, key, value, heads, linked.mask, linked.causal, dropout, scale)


def attend_within(
    qkv: Float[Tensor, "row time width"], heads: int, linked: Links, dropout: float = 0.0, scale: float | None = None
) -> Float[Tensor, "row time inner"]:
    """The same where every position asks and is asked: queries, keys and values side by side, moved as one."""
    apart = linked.segments
    if apart is None or not apart.groups:
        query, key, value = qkv.chunk(3, -1)
        return attend(query, key, value, heads, linked, dropout, scale)
    parts = apart.keys.gather(qkv.flatten(0, 1)).split([g.examples * g.keys for g in apart.groups])
    mixed = []
    for g, part in zip(apart.groups, parts, strict=True):
        query, key, value = part.view(g.examples, g.keys, 3, heads, -1).permute(2, 0, 3, 1, 4)
        found = _kernel(query, key, value, g.mask, apart.causal, dropout, scale)
        mixed.append(found.transpose(1, 2).reshape(len(part), -1))
    return apart.keys.scatter(torch.cat(mixed)).view(*qkv.shape[:-1], -1)


def _attend_apart(
    query: Float[Tensor, "*query width"],
    key: Float[Tensor, "row key width"],
    value: Float[Tensor, "row key width"],
    heads: int,
    apart: Segments,
    dropout: float,
    scale: float | None,
) -> Float[Tensor, "*query width"]:
    if not apart.groups:  # nobody asks
        return 0.0 * query
    asked = apart.queries.gather(query.flatten(0, -2)).split([g.examples * g.queries for g in apart.groups])
    sizes = [g.examples * g.keys for g in apart.groups]
    keys, values = (apart.keys.gather(x.flatten(0, 1)).split(sizes) for x in (key, value))
    mixed = [
        _attention(
            q.view(g.examples, g.queries, -1),
            k.view(g.examples, g.keys, -1),
            v.view(g.examples, g.keys, -1),
            heads,
            g.mask,
            apart.causal,
            dropout,
            scale,
        ).flatten(0, 1)
        for g, q, k, v in zip(apart.groups, asked, keys, values, strict=True)
    ]
    return apart.queries.scatter(torch.cat(mixed)).view_as(query)


def _attention(
    query: Float[Tensor, "row query width"],
    key: Float[Tensor, "row *key last"],
    value: Float[Tensor, "row *key last"],
    heads: int,
    mask: Float[Tensor, "some_row some_head some_query some_key"] | None,
    causal: bool,
    dropout: float,
    scale: float | None,
) -> Float[Tensor, "row query width"]:
    query = split_heads(query, heads)
    if key.ndim == 3:
        key, value = split_heads(key, heads), split_heads(value, heads)
    return _kernel(query, key, value, mask, causal, dropout, scale).transpose(1, 2).flatten(2)


def _kernel(
    query: Float[Tensor, "row heads query head"],
    key: Float[Tensor, "row heads key head"],
    value: Float[Tensor, "row heads key head"],
    mask: Float[Tensor, "some_row some_head some_query some_key"] | None,
    causal: bool,
    dropout: float,
    scale: float | None,
) -> Float[Tensor, "row heads query head"]:
    kernel = partial(F.scaled_dot_product_attention, attn_mask=mask, dropout_p=dropout, is_causal=causal, scale=scale)
    if query.device.type != "cpu" or not torch.is_autocast_enabled("cpu"):
        return kernel(query, key, value)
    dtype = attention_dtype(query)
    with torch.autocast("cpu", enabled=False):
        return kernel(query.to(dtype), key.to(dtype), value.to(dtype))


def split_heads(x: Float[Tensor, "row time width"], heads: int) -> Float[Tensor, "row heads time head"]:
    return x.unflatten(-1, (heads, -1)).transpose(1, 2)
