"""Attention: where each head looks, and how many heads keep to one pattern (Clark et al. 2019, section 3).

For every layer and head, over tokens of held-out text, the mean attention that a token pays to the one before it
(`previous`), the one after (`next`), itself (`same`), and [CLS], [SEP] and the like together (`separator`); `entropy`
of its attention in nats, and `entropy_share` of the most that so many positions allow. `uniform` is what a token would
pay any one position if it looked at all alike. `heads` counts the heads of a kind (the group) in each layer: the
largest of the four patterns where that is at least half of the attention; else `broad` where the entropy is at least
0.8 of the most; else `mixed`. In a causal model there is no `next`, in speech no `separator`.

Layer i is the attention that makes the states of layer i, from 1; heads count from 1. Measured on 2,048 positions,
16,384 in the full form.
"""

from collections.abc import Iterator, Mapping

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from sesame.engine.build import Model
from sesame.errors import UserError
from sesame.models.attention import mask_of
from sesame.models.transformer import Block, Transformer
from sesame.probes.base import Answer, Ask, Value
from sesame.probes.held_out import Part, held_out, on_device, reader

READS = ("text", "speech")
LIGHT, FULL = 2048, 16_384
PATTERNS = ("previous", "next", "same", "separator")
PATTERN, BROAD = 0.5, 0.8
"""Share of the attention from which a head has a pattern; share of the largest entropy from which it is broad."""
NUMBERS = 1 << 24
"""Attention weights held at a time (64 MiB in fp32)."""


class Sums:
    """Of one layer: what its heads pay, summed over the tokens asked."""

    def __init__(self) -> None:
        self.of: dict[str, Float[Tensor, " head"]] = {}
        self.tokens: dict[str, int] = {}

    def add(self, name: str, paid: Float[Tensor, "row head query"], asked: Bool[Tensor, "row query"]) -> None:
        found = paid.transpose(1, 2)[asked].double()
        self.of[name] = self.of.get(name, 0.0) + found.sum(0)
        self.tokens[name] = self.tokens.get(name, 0) + len(found)

    def means(self) -> dict[str, Float[np.ndarray, " head"]]:
        return {name: (self.of[name] / self.tokens[name]).cpu().numpy() for name in self.of if self.tokens[name]}


def measure(model: Model, ask: Ask) -> Iterator[Answer]:
    backbone = reader(model)
    if not isinstance(backbone, Transformer):
        raise UserError("The probe attention measures Transformers, and this model is none. Leave the probe out.")
    layers = [Sums() for _ in backbone.stack]
    for part in held_out(model, ask, FULL if ask.full else LIGHT):
        asked = torch.zeros(part.inputs.x.shape[:2], dtype=torch.bool)
        asked.view(-1)[part.at] = True
        look(backbone, part, asked, layers)
    yield Value("uniform", float(layers[0].means()["uniform"][0]), layers[0].tokens["uniform"])
    for layer, sums in enumerate(layers, 1):
        means = sums.means()
        means.pop("uniform")
        for name, mean in means.items():
            for head, paid in enumerate(mean.tolist(), 1):
                yield Value(name, paid, sums.tokens[name], f"head {head}", layer)
        heads = [kind({name: float(mean[head]) for name, mean in means.items()}) for head in range(len(mean))]
        for name in (*PATTERNS, "broad", "mixed"):
            yield Value("heads", float(heads.count(name)), len(heads), name, layer)


def kind(head: Mapping[str, float]) -> str:
    """What a head mostly does, from its means."""
    name = max((name for name in PATTERNS if name in head), key=lambda name: head[name])
    if head[name] >= PATTERN:
        return name
    return "broad" if head.get("entropy_share", 1.0) >= BROAD else "mixed"


def look(backbone: Transformer, part: Part, asked: Bool[Tensor, "row time"], layers: list[Sums]) -> None:
    """Add what the tokens `asked` pay in each layer."""
    rows, causal = on_device(part.inputs, backbone), backbone.config.causal
    asked = asked.to(rows.x.device)
    with torch.no_grad():
        hidden = backbone(rows, layers=True).layers
        mask = mask_of(rows, causal=causal, gain=backbone.relative, dtype=hidden[0].dtype)
        step = max(1, NUMBERS // (backbone.config.heads * asked.shape[1] ** 2))
        for start in range(0, len(asked), step):
            here = slice(start, start + step)
            some, linked = asked[here], mask[here, 0].isfinite()
            near = linked.diagonal(-1, 1, 2)  # whether a position and the one before it are of one example
            keys = linked.sum(2)
            for block, h, sums in zip(backbone.stack, hidden, layers, strict=False):  # the last states enter no block
                paid = weights(block, h[here], mask[here])
                sums.add("same", paid.diagonal(dim1=2, dim2=3), some)
                sums.add("previous", paid.diagonal(-1, 2, 3), some[:, 1:] & near)
                if not causal:
                    sums.add("next", paid.diagonal(1, 2, 3), some[:, :-1] & near)
                if part.special is not None:
                    special = part.special[here].to(paid.device, paid.dtype)
                    sums.add("separator", torch.einsum("rhqk,rk->rhq", paid, special), some)
                entropy = torch.special.entr(paid).sum(-1)
                sums.add("entropy", entropy, some)
                sums.add("uniform", (1.0 / keys)[:, None].expand_as(entropy), some)
                sums.add("entropy_share", entropy / keys.log()[:, None], some & (keys > 1))


def weights(
    block: Block, h: Float[Tensor, "row time width"], mask: Float[Tensor, "row some_head time time"]
) -> Float[Tensor, "row head time time"]:
    """What each position pays the others in this block: softmax(QKᵀ / √d) over the links (Vaswani et al. 2017, 3.2.1).

    The block's own kernel never holds them. They are computed again from what enters the block, with its own weights;
    no hook is set, so there is none to leave behind.
    """
    layer = block.attention
    query, key, _ = layer.qkv(layer.norm(h) if block.pre else h).chunk(3, -1)
    query, key = (x.to(h.dtype).unflatten(-1, (layer.heads, -1)).transpose(1, 2) for x in (query, key))
    with torch.autocast(h.device.type, enabled=False):
        scores = query @ key.transpose(2, 3) * (layer.scale or query.shape[-1] ** -0.5)
        return (scores + mask).softmax(-1)
