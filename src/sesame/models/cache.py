"""Keys and values of what a decoder has read, so that the next token costs one position and not all of them again.

Rows end together: the newest token of every row stands in the same slot, and a shorter row begins later. Slots are
laid out in advance, head by head, so that a step writes one position and reads each head's keys in one run.
"""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from sesame.data.batch import Rows
from sesame.models.attention import Links, split_heads
from sesame.models.relative import Gain


class Kept:
    """Of one layer. `cross_*` are those of an encoder's states, which are computed once."""

    def __init__(self, room: int):
        self.room, self.length = room, 0
        self.key: Tensor | None = None
        self.value: Tensor | None = None
        self.cross_key: Tensor | None = None
        self.cross_value: Tensor | None = None

    def add(
        self, key: Float[Tensor, "row new width"], value: Float[Tensor, "row new width"], heads: int
    ) -> tuple[Tensor, Tensor]:
        """Keep what is new, and give what is to be attended to: all that was read so far, split into heads; the new
        as it is where that is all."""
        first, new = self.length, key.shape[1]
        if self.key is None or self.value is None:
            shape = (len(key), heads, self.room, key.shape[2] // heads)
            self.key, self.value = key.new_empty(shape), value.new_empty(shape)
        self.length = first + new
        self.key.narrow(2, first, new).copy_(split_heads(key, heads))
        self.value.narrow(2, first, new).copy_(split_heads(value, heads))
        if not first:
            return key, value
        return self.key.narrow(2, 0, self.length), self.value.narrow(2, 0, self.length)

    def take(self, rows: Int[Tensor, " taken"]) -> None:
        for name in ("key", "value"):
            old = getattr(self, name)
            if old is not None:
                new = old.new_empty((len(rows), *old.shape[1:]))
                torch.index_select(old[:, :, : self.length], 0, rows, out=new[:, :, : self.length])
                setattr(self, name, new)
        for name in ("cross_key", "cross_value"):
            old = getattr(self, name)
            if old is not None:
                setattr(self, name, old[rows])


class Cache:
    """Of a whole Transformer, for `room` positions a row. Give it to `forward` with the prompts, then with one token a
    row at a time."""

    def __init__(self, layers: int, room: int):
        self.layers, self.room = [Kept(room) for _ in range(layers)], room
        self.length = 0
        """Slots that are filled."""
        self.mask: Float[Tensor, "row 1 1 room"] | None = None
        self.linked_memory: Links | None = None

    def linked(self, gain: Gain | None, dtype: torch.dtype) -> Links:
        """From the one new position of each row to all before it and itself; with what scores gain by distance."""
        mask = None if self.mask is None else self.mask[..., : self.length + 1]
        if gain is not None:
            device = None if mask is None else mask.device
            gained = gain(torch.arange(-self.length, 1, device=device)[None]).to(dtype)[None]
            mask = gained if mask is None else mask + gained
        return Links(mask)

    def read(self, rows: Rows, linked_memory: Links | None, dtype: torch.dtype) -> None:
        """Note that `rows` were read, where they began, and whom they may attend to in a memory."""
        if linked_memory is not None and linked_memory.mask is not None:
            linked_memory = Links(linked_memory.mask[:, :, -1:])
        self.linked_memory = linked_memory
        if not self.length and not rows.alone:
            empty = torch.zeros(len(rows.x), self.room, dtype=torch.bool, device=rows.x.device)
            empty[:, : rows.x.shape[1]] = ~rows.valid
            self.mask = torch.zeros(empty.shape, dtype=dtype, device=empty.device).masked_fill_(empty, float("-inf"))
            self.mask = self.mask[:, None, None]
        self.length += rows.x.shape[1]

    def take(self, rows: Int[Tensor, " taken"]) -> None:
        """Go on with these rows, in this order; a row may be taken several times."""
        for kept in self.layers:
            kept.take(rows)
        if self.mask is not None:
            self.mask = self.mask[rows]
        if self.linked_memory is not None and self.linked_memory.mask is not None:
            self.linked_memory = Links(self.linked_memory.mask[rows])
