"""The contract of a backbone: what it is given and what it gives back."""

from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from sesame.data.batch import At


@dataclass(frozen=True)
class States:
    """What a backbone makes of its input."""

    last: Float[Tensor, "*where width"]
    """The last layer: [row time width], or [read width] where `at` was given; images: [image width]."""
    layers: tuple[Tensor, ...] = ()
    """When asked for: every hidden state from the embeddings to the last layer. Widths may differ."""
    valid: Bool[Tensor, "row time"] | None = None
    vocabulary: Float[Tensor, "vocab embedding"] | None = None
    """What heads project `last` onto: the token embeddings as they were read (models/lookup.py), or the backbone's own
    output matrix."""
    memory: "States | None" = None
    """The encoder's states, of an encoder-decoder."""


class Backbone(nn.Module):
    """The network that stays after pretraining.

    `forward(inputs, at=None, layers=False) -> States` is the same for every modality. `at` says which positions
    anybody will read, so that the rest of the last layer is never computed.
    """

    config: Any
    width: int
    """Width of the last layer."""

    trainable: bool = True
    """False of one that is only ever read: what another library publishes."""

    @property
    def depth(self) -> int:
        """Hidden states that `forward` gives with `layers`: one a layer, and before them the embeddings."""
        return 1 + int(self.config.layers)

    @property
    def token_vectors(self) -> Float[Tensor, "vocab width"] | None:
        """Vectors of tokens that a network of another kind may begin with; None of one that is no such table."""
        return None

    def forward(self, inputs: Any, at: At | None = None, layers: bool = False) -> States:
        raise NotImplementedError("abstract")


def product_dtype(x: Tensor) -> torch.dtype:
    """The type that matrix products of `x` are computed in: autocast's where it is on."""
    device = x.device.type
    if torch.amp.is_autocast_available(device) and torch.is_autocast_enabled(device):
        return torch.get_autocast_dtype(device)
    return x.dtype


def channels_last(x: Float[Tensor, "image channel height width"]) -> Float[Tensor, "image channel height width"]:
    """The same numbers, with the channels of one place side by side in memory: convolutions and batch norm read them
    so fastest, and what they give lies likewise."""
    return x.contiguous(memory_format=torch.channels_last)
