"""One Transformer, written once (Vaswani et al. 2017); `config.Transformer`'s switches make it BERT, GPT, T5, ALBERT.

Post-norm (BERT, BART):  h = norm(h + attention(h));   h = norm(h + ffn(h))
Pre-norm (GPT-2, T5):    h = h + attention(norm(h));   h = h + ffn(norm(h)), and one norm after the last layer.
"""

import math
from collections.abc import Sequence
from typing import cast

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from sesame import config
from sesame.data.batch import At, Rows
from sesame.errors import UserError
from sesame.models import mimetic
from sesame.models.attention import Links, attend, attend_within, attention_dtype, links, split_heads
from sesame.models.base import Backbone, States
from sesame.models.cache import Cache, Kept
from sesame.models.dropout import dropout, dropout_add
from sesame.models.feed_forward import ACTIVATIONS, feed_forward
from sesame.models.lookup import lookup
from sesame.models.relative import RelativePositions
from sesame.models.segments import pick

Norm = nn.LayerNorm | nn.RMSNorm


def norm_of(c: config.Transformer, width: int = 0) -> Norm:
    """A norm of the kind that `c` has, over `width` numbers (0: its own width)."""
    kind = nn.RMSNorm if c.norm_kind == "rms" else nn.LayerNorm
    return kind(width or c.width, c.norm_eps)


class Embedding(nn.Module):
    """Token (or frame) + position + segment kind, normalised where the family does so, brought to the layers' width."""

    def __init__(self, c: config.Transformer):
        super().__init__()
        width = c.embedding or c.width
        if c.input == "tokens":
            self.token = nn.Embedding(c.vocab, width)
        else:
            self.frame = nn.Linear(c.features, width)
        self.position = nn.Embedding(c.positions, width) if c.position == "learned" else None
        self.kind = nn.Embedding(c.kinds, width) if c.kinds else None
        self.norm = norm_of(c, width) if c.embedding_norm else None
        self.dropout = c.dropout
        self.project = nn.Linear(width, c.width) if c.embedding else None
        self.scale = math.sqrt(width) if c.scale_embedding else None

    def forward(self, rows: Rows) -> tuple[Float[Tensor, "row time width"], Float[Tensor, "vocab embedding"] | None]:
        """The embeddings of `rows`, and the matrix that tokens are looked up in."""
        if rows.x.is_floating_point():
            h, vocabulary = self.frame(rows.x), None
        else:
            h, vocabulary = lookup(self.token.weight, rows.x)
        if self.scale is not None:
            h = h * self.scale
        if self.position is not None:
            h = h + self.position(rows.position)
        if self.kind is not None:
            h = h + self.kind(rows.kind)
        if self.norm is not None:
            h = self.norm(h)
        h = dropout(h, self.dropout, self.training)
        return h if self.project is None else self.project(h), vocabulary


def heads_width(c: config.Transformer) -> int:
    """Width of all heads together: what queries, keys and values have."""
    return c.heads * (c.head_width or c.width // c.heads)


class SelfAttention(nn.Module):
    def __init__(self, c: config.Transformer):
        super().__init__()
        self.heads, self.dropout, self.scale = c.heads, c.attention_dropout, None if c.scale_scores else 1.0
        inner = heads_width(c)
        self.qkv = nn.Linear(c.width, 3 * inner, c.bias)
        self.out = nn.Linear(inner, c.width, c.bias)
        self.norm = norm_of(c)

    def forward(
        self, h: Float[Tensor, "row time width"], linked: Links, at: At | None = None, kept: Kept | None = None
    ) -> Float[Tensor, "row time width"] | Float[Tensor, "read width"]:
        """What each position (or each one in `at`) gathers from its example, and from what was `kept` of it before."""
        dropped = self.dropout if self.training else 0.0
        if at is None and kept is None:
            return self.out(attend_within(self.qkv(h), self.heads, linked, dropped, self.scale))
        if at is None:
            query, key, value = self.qkv(h).chunk(3, -1)
        else:
            weight, bias, inner = self.qkv.weight, cast("Tensor | None", self.qkv.bias), self.out.in_features
            asked = gather(h, at) if linked.segments is None else read(h, at)
            query = F.linear(asked, weight[:inner], None if bias is None else bias[:inner])
            key, value = F.linear(h, weight[inner:], None if bias is None else bias[inner:]).chunk(2, -1)
        if kept is not None:
            key, value = kept.add(key, value, self.heads)
        mixed = attend(query, key, value, self.heads, linked, dropped, self.scale)
        return self.out(mixed if at is None or linked.segments is not None else mixed.flatten(0, 1)[at.flat])


class CrossAttention(nn.Module):
    def __init__(self, c: config.Transformer):
        super().__init__()
        self.heads, self.dropout, self.scale = c.heads, c.attention_dropout, None if c.scale_scores else 1.0
        inner = heads_width(c)
        self.q = nn.Linear(c.width, inner, c.bias)
        self.kv = nn.Linear(c.width, 2 * inner, c.bias)
        self.out = nn.Linear(inner, c.width, c.bias)
        self.norm = norm_of(c)

    def forward(
        self,
        h: Float[Tensor, "row query width"],
        memory: Float[Tensor, "row key width"],
        linked: Links,
        kept: Kept | None = None,
    ) -> Float[Tensor, "row query width"]:
        if kept is None:
            key, value = self.kv(memory).chunk(2, -1)
        else:
            if kept.cross_key is None:  # the memory stays the same while a text is written
                kept.cross_key, kept.cross_value = (split_heads(x, self.heads) for x in self.kv(memory).chunk(2, -1))
            key, value = kept.cross_key, kept.cross_value
        dropped = self.dropout if self.training else 0.0
        return self.out(attend(self.q(h), key, value, self.heads, linked, dropped, self.scale))


class FeedForward(nn.Module):
    def __init__(self, c: config.Transformer):
        super().__init__()
        self.up = nn.Linear(c.width, c.ffn, c.bias)
        self.gate = nn.Linear(c.width, c.ffn, c.bias) if c.gated else None
        self.down = nn.Linear(c.ffn, c.width, c.bias)
        self.norm = norm_of(c)
        self.activation = c.activation

    def forward(
        self, x: Float[Tensor, "*where width"], norm: Norm
    ) -> tuple[Float[Tensor, "*where width"], Float[Tensor, "*where width"]]:
        """norm(x), and the layer of it: down(activation(up)), or down(activation(gate) · up)."""
        if isinstance(norm, nn.LayerNorm) and self.gate is None and self.up.bias is not None:
            return feed_forward(x, norm, self.up, self.down, self.activation)
        h, activate = norm(x), ACTIVATIONS[self.activation]
        if self.gate is None:
            return h, self.down(activate(self.up(h)))
        return h, self.down(activate(self.gate(h)) * self.up(h))


class Block(nn.Module):
    """Attention, cross-attention in decoders, feed-forward; each with its residual and norm."""

    def __init__(self, c: config.Transformer, cross: bool = False):
        super().__init__()
        self.pre, self.dropout = c.norm == "pre", c.dropout
        self.attention = SelfAttention(c)
        self.cross = CrossAttention(c) if cross else None
        self.ffn = FeedForward(c)

    def forward(
        self,
        h: Float[Tensor, "row time width"],
        linked: Links,
        at: At | None = None,
        memory: Float[Tensor, "row key width"] | None = None,
        linked_memory: Links | None = None,
        kept: Kept | None = None,
    ) -> Float[Tensor, "*where width"]:
        added = self.attention(self.attention.norm(h) if self.pre else h, linked, at, kept)
        if at is not None:
            h = read(h, at)
        h, norm = self._add(h, added), self.attention.norm
        if self.cross is not None:
            assert memory is not None and linked_memory is not None
            x = (self.cross.norm if self.pre else norm)(h)
            h, norm = self._add(h if self.pre else x, self.cross(x, memory, linked_memory, kept)), self.cross.norm
        x, added = self.ffn(h, self.ffn.norm if self.pre else norm)
        return self._add(h, added) if self.pre else self.ffn.norm(self._add(x, added))

    def _add(self, h: Tensor, added: Tensor) -> Tensor:
        return dropout_add(h, added, self.dropout, self.training)


class Transformer(Backbone):
    """Embeddings and a stack of blocks over packed rows."""

    def __init__(self, c: config.Transformer, cross: bool = False):
        super().__init__()
        _check(c)
        self.config, self.width = c, c.width
        self.embed = Embedding(c)
        self.relative = (
            RelativePositions(c.heads, c.buckets, c.farthest, c.causal) if c.position == "relative" else None
        )
        self.order = order_of(c)
        self.blocks = nn.ModuleList(Block(c, cross) for _ in range(max(self.order) + 1))
        self.norm = norm_of(c) if c.norm == "pre" else None
        self.output = nn.Embedding(c.vocab, c.width) if c.output == "untied" else None
        self.apply(self._start)
        if c.start == "mimetic":
            mimetic.start(self)

    @property
    def stack(self) -> list[Block]:
        """The block of every layer, from the first to the last; a block that layers share comes again."""
        return [cast(Block, self.blocks[i]) for i in self.order]

    @property
    def vocabulary(self) -> Float[Tensor, "vocab embedding"]:
        """What states are projected onto for words: the token embeddings, or a matrix of their own."""
        return self.embed.token.weight if self.output is None else self.output.weight

    def _start(self, module: nn.Module) -> None:
        """Normal(0, init) weights, zero biases (BERT's code); pre-norm scales what joins the residual (GPT-2, 2.3).

        What a family leaves out of a product its weights begin with: queries of unscaled scores are smaller by the
        root of a head's width, embeddings onto which scaled states are projected larger by the root of theirs.
        """
        c = self.config
        if isinstance(module, nn.Linear | nn.Embedding | RelativePositions):
            nn.init.normal_(module.weight, std=c.init)
        if isinstance(module, nn.Linear) and module.bias is not None:
            nn.init.zeros_(module.bias)
        if isinstance(module, Block):
            if c.norm == "pre":
                for last in (module.attention.out, module.ffn.down):
                    nn.init.normal_(last.weight, std=c.init / math.sqrt(2 * c.layers))
            if not c.scale_scores:
                inner = heads_width(c)
                for query in (module.attention.qkv, *([] if module.cross is None else [module.cross.q])):
                    nn.init.normal_(query.weight[:inner], std=c.init / math.sqrt(inner / c.heads))
        if isinstance(module, Embedding) and c.output == "scaled":
            nn.init.normal_(module.token.weight, std=c.init * math.sqrt(c.width))

    def forward(
        self,
        inputs: Rows,
        at: At | None = None,
        layers: bool = False,
        memory: Float[Tensor, "row key width"] | None = None,
        memory_rows: Rows | None = None,
        cache: Cache | None = None,
    ) -> States:
        """States of every position, or of those in `at`; a decoder also reads `memory`, laid out as `memory_rows`.

        With a `cache`, one example a row that ends where the row ends; then, call after call, the next token of each.
        """
        if at is not None and memory is not None:
            raise ValueError("a decoder reads all its positions: at must be None where there is a memory")
        if at is not None and layers:
            raise ValueError("hidden states of all layers are whole rows: at must be None where layers are asked for")
        h, vocabulary = self.embed(inputs)
        dtype = attention_dtype(h)
        if cache is not None and cache.length:
            linked, linked_memory = cache.linked(self.relative, dtype), cache.linked_memory
        else:
            linked = links(inputs, causal=self.config.causal, gain=self.relative, dtype=dtype)
            linked_memory = None if memory_rows is None else links(inputs, memory_rows, dtype=dtype)
        kept = [h] if layers else []
        *first, last = self.stack
        stored: Sequence[Kept | None] = [None] * len(self.order) if cache is None else cache.layers
        for block, its in zip(first, stored[:-1], strict=True):
            h = block(h, linked, None, memory, linked_memory, its)
            if layers:
                kept.append(h)
        if at is not None:
            linked = links(inputs, at=at, causal=self.config.causal, gain=self.relative, dtype=dtype)
        h = last(h, linked, at, memory, linked_memory, stored[-1])
        if cache is not None:
            cache.read(inputs, linked_memory, dtype)
        if self.norm is not None:
            h = self.norm(h)
        if layers:
            kept.append(h)
        if self.output is not None:
            vocabulary = self.vocabulary
        elif self.config.output == "scaled":
            h = h * self.width**-0.5
        return States(h, tuple(kept), inputs.valid, vocabulary)


def order_of(c: config.Transformer) -> list[int]:
    """Which block each layer is: its own, or the one that it shares with others (Lan et al. 2020, 3.1)."""
    if not c.groups:
        return list(range(c.layers))
    sets = c.layers // c.inner
    return [(i * c.groups // sets) * c.inner + j for i in range(sets) for j in range(c.inner)]


def _check(c: config.Transformer) -> None:
    """Raise UserError for switches that do not go together, naming the options."""
    if not c.head_width and c.width % c.heads:
        raise UserError(
            f"--backbone.width {c.width} is no multiple of --backbone.heads {c.heads}. Choose one that is, or say how "
            "wide a head is with --backbone.head-width."
        )
    if c.groups and (c.layers % c.inner or c.groups > c.layers // c.inner):
        raise UserError(
            f"--backbone.layers {c.layers} cannot be shared in {c.groups} groups of {c.inner}: layers must be a "
            "multiple of --backbone.inner, and at least as many as the groups hold."
        )
    if c.inner > 1 and not c.groups:
        raise UserError(f"--backbone.inner {c.inner} is said of layers that are shared: give --backbone.groups too.")
    if c.embedding and (c.causal or c.output != "tied"):
        raise UserError(
            f"--backbone.embedding {c.embedding}: embeddings of another width than the layers' are for masked language "
            "models, whose head brings the states back to it. Leave it at 0."
        )
    if c.start == "copying" and (c.position != "learned" or c.head_width or c.input != "tokens"):
        raise UserError(
            "--backbone.*.start copying is for tokens at learned positions (BART), whose heads share the width between "
            "them. Leave it at normal."
        )
    if c.output != "tied" and c.input != "tokens":
        raise UserError(f"--backbone.output {c.output} is for tokens, and the input is {c.input}. Leave it at tied.")


def gather(h: Float[Tensor, "row time width"], at: At) -> Float[Tensor, "row most width"]:
    """The states at `at`, row by row."""
    return h.gather(1, at.time[:, :, None].expand(-1, -1, h.shape[-1]))


def read(h: Float[Tensor, "row time width"], at: At) -> Float[Tensor, "read width"]:
    """The states at `at`."""
    return pick(h.flatten(0, 1), at.places(h.shape[1]))
