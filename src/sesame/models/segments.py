"""Packed rows taken apart for attention: examples of about one length side by side, so that little is masked.

A dense mask over a row of several examples computes every pair of positions and throws most away. Here the positions
of each example are gathered next to those of others of about its length, and given back to their rows afterwards.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

_SHORTEST = 0.8
"""Of the longest of its group: an example that is shorter begins a group of its own."""
_ENOUGH = 16
"""Examples of one length that are worth a group of their own, in which nothing is empty."""


@dataclass(frozen=True)
class Places:
    """Positions of a batch, gathered into slots: group after group, example after example, each filled up to the
    longest of its group."""

    slots: Int[Tensor, " slot"]
    """The position in each slot, counted through the rows; empty slots repeat some position of their example."""
    at: Int[Tensor, " position"]
    """The positions that are part of an example, …"""
    back: Int[Tensor, " position"]
    """… and the slot of each."""
    total: int
    """Positions there are, empty ones included."""
    as_they_are: bool
    """The slots are the positions: there is nothing to move."""

    def gather(self, x: Float[Tensor, "total width"]) -> Float[Tensor, "slot width"]:
        return x if self.as_they_are else _Gather.apply(x, self)

    def scatter(self, x: Float[Tensor, "slot width"]) -> Float[Tensor, "total width"]:
        """Back in their rows; zeros where there is no example."""
        return x if self.as_they_are else _Scatter.apply(x, self)


@dataclass(frozen=True)
class Group:
    """Examples of about one length: how many, and how many query and key slots each has."""

    examples: int
    queries: int
    keys: int
    mask: Float[Tensor, "some_example some_head some_query key"] | None
    """Added to the scores: -inf for empty key slots, and for later keys; None where there are none."""
    distance: Int[Tensor, "one_or_each query key"] | None = None
    """From query to key, where somebody asks: the same in all examples, unless only some positions are queries."""


@dataclass(frozen=True)
class Segments:
    """Who may attend to whom: the positions of an example to each other."""

    queries: Places
    keys: Places
    groups: tuple[Group, ...]
    causal: bool
    """Use the kernel's own causal mask."""


def segments(
    example: Int[np.ndarray, " total"],
    position: Int[np.ndarray, " total"],
    read: Int[np.ndarray, " read"] | None = None,
    causal: bool = False,
    spread: bool = False,
    *,
    dtype: torch.dtype,
) -> Segments:
    """The segments of flattened rows. `read` lists the positions that are queries, rising; None for all of them.

    The positions of an example must stand next to each other, in order. `spread` writes out what a kernel that adds
    more to the scores must be told: every group's distances, and later keys in its mask.
    """
    keys = _Side(example)
    queries = keys if read is None else _Side(example[read])
    asking = np.full(int(example.max(initial=-1)) + 1, -1)  # the number among the queries of each example; -1 for none
    asking[queries.name] = np.arange(len(queries.name))
    number = asking[keys.name]
    order = np.argsort(-keys.size, kind="stable")
    order = order[number[order] >= 0]
    groups, chosen, start = [], [], 0
    while start < len(order):
        left = keys.size[order[start:]]
        alike = int((left == left[0]).sum())
        stop = start + (alike if alike >= _ENOUGH else int((left >= _SHORTEST * left[0]).sum()))
        chosen.append((order[start:stop], number[order[start:stop]]))
        start = stop
    key_slots, query_slots = [], []
    for members, their in chosen:
        key_slots.append(keys.slots(members))
        query_slots.append(key_slots[-1] if read is None else queries.slots(their))
        here = np.arange(key_slots[-1].shape[1]) < keys.size[members][:, None]
        allowed = None if here.all() else here[:, None, None]
        distance = None
        if spread or (causal and read is not None):
            slot = np.arange(key_slots[-1].shape[1])
            distance = slot[None, None, :] - slot[None, :, None]
            if read is not None:
                distance = position[key_slots[-1]][:, None, :] - position[read[query_slots[-1]]][:, :, None]
        if causal and distance is not None:
            at = distance[:, None] <= 0
            allowed = at if allowed is None else allowed & at
        mask = None
        if allowed is not None and (distance is not None or not causal):  # the kernel's mask hides the empty slots
            mask = torch.zeros(allowed.shape, dtype=dtype).masked_fill_(torch.from_numpy(~allowed), float("-inf"))
        told = torch.from_numpy(distance) if spread else None
        groups.append(Group(len(members), query_slots[-1].shape[1], key_slots[-1].shape[1], mask, told))
    of_keys = keys.places([members for members, _ in chosen], key_slots)
    of_queries = of_keys if read is None else queries.places([their for _, their in chosen], query_slots)
    return Segments(of_queries, of_keys, tuple(groups), causal and read is None and not spread)


class _Side:
    """Queries, or keys: where each example begins among them, and how many it has."""

    def __init__(self, example: Int[np.ndarray, " total"]):
        self.total, there = len(example), np.flatnonzero(example >= 0)
        begins = np.flatnonzero(np.diff(example[there], prepend=-1))
        self.name = example[there][begins]
        self.size = np.diff(np.append(begins, len(there)))
        self.begin = there[begins]

    def slots(self, members: Int[np.ndarray, " member"]) -> Int[np.ndarray, "member slot"]:
        """Where the positions of `members` stand, filled up with the last one of each."""
        size = self.size[members]
        return self.begin[members][:, None] + np.minimum(np.arange(size.max()), size[:, None] - 1)

    def places(self, members: list[np.ndarray], slots: list[np.ndarray]) -> Places:
        real = [
            np.arange(table.shape[1]) < self.size[some][:, None] for some, table in zip(members, slots, strict=True)
        ]
        flat = np.concatenate([table.ravel() for table in slots]) if slots else np.zeros(0, np.int64)
        back = np.flatnonzero(np.concatenate([part.ravel() for part in real])) if real else flat
        order = np.argsort(flat[back])
        back = back[order]
        as_they_are = len(flat) == self.total and bool((flat == np.arange(len(flat))).all())
        return Places(
            torch.from_numpy(flat), torch.from_numpy(flat[back]), torch.from_numpy(back), self.total, as_they_are
        )


class _Gather(torch.autograd.Function):
    """What reaches the empty slots is exactly nothing: nobody attends to them, and nobody reads what they gather."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, places: Places) -> Tensor:
        ctx.places = places
        return x.index_select(0, places.slots)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        return _back(grad, ctx.places), None


class _Scatter(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, places: Places) -> Tensor:
        ctx.places = places
        return _back(x, places)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        places = ctx.places
        if len(places.back) == len(places.slots):
            return grad.index_select(0, places.slots), None
        there = grad if len(places.at) == places.total else grad.index_select(0, places.at)
        return grad.new_zeros((len(places.slots), *grad.shape[1:])).index_copy_(0, places.back, there), None


def _back(x: Float[Tensor, "slot width"], places: Places) -> Float[Tensor, "total width"]:
    there = x.index_select(0, places.back)
    if len(places.at) == places.total:
        return there
    return x.new_zeros((places.total, *x.shape[1:])).index_copy_(0, places.at, there)


class _Pick(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, at: Tensor) -> Tensor:
        ctx.at, ctx.total = at, len(x)
        return x.index_select(0, at)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        return grad.new_zeros((ctx.total, *grad.shape[1:])).index_copy_(0, ctx.at, grad), None


def pick(x: Float[Tensor, "total width"], at: Int[Tensor, " read"]) -> Float[Tensor, "read width"]:
    """x[at], where no place is named twice."""
    return _Pick.apply(x, at)


# ------------------------------------------------------------------ for networks that read one position after another
def apart(
    example: Int[Tensor, "row length"],
) -> tuple[
    Int[Tensor, "example time"], Int[Tensor, "example time"], Bool[Tensor, "example time"], Int[Tensor, " time"]
]:
    """Rows taken apart: the place in the flattened rows of each example's first, second … position, the same from the
    last one on, which of these places are any, and how many examples have so many positions. The longest come first.

    The positions of an example stand next to each other.
    """
    flat = example.flatten()
    place = torch.nonzero(flat >= 0)[:, 0]
    _, size = torch.unique_consecutive(flat[place], return_counts=True)
    start = place[torch.cumsum(size, 0) - size]
    size, order = torch.sort(size, descending=True, stable=True)
    start = start[order]
    longest = int(size[0]) if len(size) else 0
    time = torch.arange(longest, device=example.device)
    there = time < size[:, None]
    forwards = start[:, None] + torch.where(there, time, 0)
    backwards = start[:, None] + torch.where(there, size[:, None] - 1 - time, 0)
    return forwards, backwards, there, there.sum(0)


def in_rows(
    x: Float[Tensor, "example time width"],
    places: Int[Tensor, "example time"],
    there: Bool[Tensor, "example time"],
    shape: torch.Size,
) -> Float[Tensor, "row length width"]:
    """What `apart` took apart, back where it stands in rows of this shape; zeros where there is no example."""
    rows, length = shape
    return x.new_zeros(rows * length, x.shape[-1]).index_copy(0, places[there], x[there]).view(rows, length, -1)
