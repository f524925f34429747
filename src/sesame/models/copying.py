"""A start from which an encoder-decoder copies what it reads, and need not find out how.

Denoising repeats most of its source, so a small model's first discovery is to copy. Half a million tokens are not
enough for attention to find it (docs/results.md): until then the loss is that of guessing by frequency. The circuit is
known (induction heads: Olsson et al. 2022, arXiv 2209.11895), so the weights begin with it, on top of small random
ones:

    encoder, layer 1    every position takes up, turned into directions of its own, the token before it
    decoder, layer 1    looks for the place in the source behind the token it wrote last, and takes up what stands there

It goes by words and not by places, so it also copies what was moved, and goes on behind what is missing. As with
attention near the identity (mimetic.py), only where the network starts differs: it stays a plain BART.
"""

import math
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float
from torch import Tensor

if TYPE_CHECKING:
    from sesame.models.transformer import CrossAttention, SelfAttention, Transformer

PLACES = 1 / 8
"""Share of the width that says where a token stands, and nearly nothing of what it is."""
TOKEN, PLACE = 0.1, 0.3
"""Of embeddings: root mean square of a number that says what a token is; amplitude of one that says where."""
FAINT = 0.1
"""What is left in the others' directions: of tokens where places are said, of places where tokens are."""
BEFORE, BEHIND = 56.0, 11.0
"""Scores of what is looked for: the position before, a tenth above its neighbours; the place behind the same token."""
COPIED = 4.0
"""Weight of what is taken up beside what the decoder has, which is the token before."""


@torch.no_grad()
def start(encoder: "Transformer", decoder: "Transformer") -> None:
    """Add to the fresh weights of two stacks with one embedding, in place."""
    width, heads = encoder.width, encoder.config.heads
    places = 2 * max(1, int(min(PLACES * width, width // heads)) // 2)
    what, where = torch.ones(width), torch.zeros(width)
    what[:places], where[:places] = 0.0, 1.0
    token = encoder.embed.token.weight
    token.mul_(TOKEN / encoder.config.init * (what + FAINT * where))
    for stack in (encoder, decoder):
        assert stack.embed.position is not None, "checked when the stacks were put together"
        weight = stack.embed.position.weight
        rate = (len(weight) / 4) ** -(torch.arange(0, places, 2) / places)
        angle = torch.arange(len(weight))[:, None] * rate
        weight.mul_(FAINT)
        weight[:, :places] = PLACE * torch.stack([angle.sin(), angle.cos()], 2).flatten(1)
    # An embedding's norm makes its squared length the width, of which places have this much and tokens the rest.
    share = places * PLACE**2 / 2 / (places * PLACE**2 / 2 + (width - places) * TOKEN**2)
    apart = torch.linalg.qr(torch.randn(width, width))[0]

    first: SelfAttention = encoder.blocks[0].get_submodule("attention")  # type: ignore[assignment]
    query, key, value = first.qkv.weight.chunk(3)
    looks = torch.zeros(heads, width // heads, width)
    looks[:, :places, :places] = torch.eye(places)
    looks = looks.view(width, width) * math.sqrt(BEFORE * math.sqrt(width / heads) / (share * width))
    key.add_(looks)
    query.add_(looks @ one_back(rate, width))
    value.add_(torch.eye(width))
    first.out.weight.add_(apart)

    cross: CrossAttention = decoder.blocks[0].get_submodule("cross")  # type: ignore[assignment]
    key, value = cross.kv.weight.chunk(2)
    looks = torch.diag(what) * math.sqrt(BEHIND / ((1 - share) * math.sqrt(width / heads)))
    cross.q.weight.add_(looks)
    key.add_(looks @ apart.T)
    value.add_(torch.diag(what))
    cross.out.weight.add_(COPIED * torch.eye(width))


def one_back(rate: Float[Tensor, " pair"], width: int) -> Float[Tensor, "width width"]:
    """What turns the sinusoids of a position into those of the one before it."""
    turn = torch.zeros(width, width)
    for i, (sine, cosine) in enumerate(zip(rate.sin().tolist(), rate.cos().tolist(), strict=True)):
        turn[2 * i : 2 * i + 2, 2 * i : 2 * i + 2] = torch.tensor([[cosine, -sine], [sine, cosine]])
    return turn
