"""One Transformer, written once (Vaswani et al. 2017); `config.Transformer`'s switches make it BERT, GPT or a decoder.

Post-norm (BERT, BART):  h = norm(h + attention(h));   h = norm(h + ffn(h))
Pre-norm (GPT-2):        h = h + attention(norm(h));   h = h + ffn(norm(h)), and one norm after the last layer.
"""

import math
from collections.abc import Sequence

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from sesame import config
from sesame.data.batch import At, Rows
from sesame.models import mimetic
from sesame.models.attention import Links, attend, links, split_heads
from sesame.models.base import Backbone, States, product_dtype
from sesame.models.cache import Cache, Kept
from sesame.models.dropout import dropout, dropout_add
from sesame.models.feed_forward import feed_forward
from sesame.models.lookup import lookup
from sesame.models.segments import pick


class Embedding(nn.Module):
    """Token (or frame) + position + segment kind, normalised where the family does so."""

    def __init__(self, c: config.Transformer):
        super().__init__()
        if c.input == "tokens":
            self.token = nn.Embedding(c.vocab, c.width)
        else:
            self.frame = nn.Linear(c.features, c.width)
        self.position = nn.Embedding(c.positions, c.width) if c.position == "learned" else None
        self.kind = nn.Embedding(c.kinds, c.width) if c.kinds else None
        self.norm = nn.LayerNorm(c.width, c.norm_eps) if c.embedding_norm else None
        self.dropout = c.dropout

    def forward(self, rows: Rows) -> tuple[Float[Tensor, "row time width"], Float[Tensor, "vocab width"] | None]:
        """The embeddings of `rows`, and the matrix that tokens are looked up in."""
        if rows.x.is_floating_point():
            h, vocabulary = self.frame(rows.x), None
        else:
            h, vocabulary = lookup(self.token.weight, rows.x)
        if self.position is not None:
            h = h + self.position(rows.position)
        if self.kind is not None:
            h = h + self.kind(rows.kind)
        if self.norm is not None:
            h = self.norm(h)
        return dropout(h, self.dropout, self.training), vocabulary


class SelfAttention(nn.Module):
    def __init__(self, c: config.Transformer):
        super().__init__()
        self.heads, self.dropout = c.heads, c.attention_dropout
        self.qkv = nn.Linear(c.width, 3 * c.width)
        self.out = nn.Linear(c.width, c.width)
        self.norm = nn.LayerNorm(c.width, c.norm_eps)

    def forward(
        self, h: Float[Tensor, "row time width"], linked: Links, at: At | None = None, kept: Kept | None = None
    ) -> Float[Tensor, "row time width"] | Float[Tensor, "read width"]:
        """What each position (or each one in `at`) gathers from its example, and from what was `kept` of it before."""
        if at is None:
            query, key, value = self.qkv(h).chunk(3, -1)
        else:
            width = h.shape[-1]
            asked = gather(h, at) if linked.segments is None else read(h, at)
            query = F.linear(asked, self.qkv.weight[:width], self.qkv.bias[:width])
            key, value = F.linear(h, self.qkv.weight[width:], self.qkv.bias[width:]).chunk(2, -1)
        if kept is not None:
            key, value = kept.add(key, value, self.heads)
        mixed = attend(query, key, value, self.heads, linked, self.dropout if self.training else 0.0)
        return self.out(mixed if at is None or linked.segments is not None else mixed.flatten(0, 1)[at.flat])


class CrossAttention(nn.Module):
    def __init__(self, c: config.Transformer):
        super().__init__()
        self.heads, self.dropout = c.heads, c.attention_dropout
        self.q = nn.Linear(c.width, c.width)
        self.kv = nn.Linear(c.width, 2 * c.width)
        self.out = nn.Linear(c.width, c.width)
        self.norm = nn.LayerNorm(c.width, c.norm_eps)

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
        return self.out(attend(self.q(h), key, value, self.heads, linked, self.dropout if self.training else 0.0))


class FeedForward(nn.Module):
    def __init__(self, c: config.Transformer):
        super().__init__()
        self.up = nn.Linear(c.width, c.ffn)
        self.down = nn.Linear(c.ffn, c.width)
        self.norm = nn.LayerNorm(c.width, c.norm_eps)
        self.activation = c.activation

    def forward(
        self, x: Float[Tensor, "*where width"], norm: nn.LayerNorm
    ) -> tuple[Float[Tensor, "*where width"], Float[Tensor, "*where width"]]:
        """norm(x), and the layer of it."""
        return feed_forward(x, norm, self.up, self.down, self.activation)


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
        self.config, self.width = c, c.width
        self.embed = Embedding(c)
        self.blocks = nn.ModuleList(Block(c, cross) for _ in range(c.layers))
        self.norm = nn.LayerNorm(c.width, c.norm_eps) if c.norm == "pre" else None
        self.apply(self._start)
        if c.start == "mimetic":
            mimetic.start(self)

    def _start(self, module: nn.Module) -> None:
        """Normal(0, init) weights, zero biases (BERT's code); pre-norm scales what joins the residual (GPT-2, 2.3)."""
        if isinstance(module, nn.Linear | nn.Embedding):
            nn.init.normal_(module.weight, std=self.config.init)
        if isinstance(module, nn.Linear):
            nn.init.zeros_(module.bias)
        if self.config.norm == "pre" and isinstance(module, Block):
            for last in (module.attention.out, module.ffn.down):
                nn.init.normal_(last.weight, std=self.config.init / math.sqrt(2 * self.config.layers))

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
        dtype = product_dtype(h)
        if cache is not None and cache.length:
            linked, linked_memory = cache.linked, cache.linked_memory
        else:
            linked = links(inputs, causal=self.config.causal, dtype=dtype)
            linked_memory = None if memory_rows is None else links(inputs, memory_rows, dtype=dtype)
        kept = [h] if layers else []
        *first, last = self.blocks
        stored: Sequence[Kept | None] = [None] * len(self.blocks) if cache is None else cache.layers
        for block, its in zip(first, stored[:-1], strict=True):
            h = block(h, linked, None, memory, linked_memory, its)
            if layers:
                kept.append(h)
        if at is not None:
            linked = links(inputs, at=at, causal=self.config.causal, dtype=dtype)
        h = last(h, linked, at, memory, linked_memory, stored[-1])
        if cache is not None:
            cache.read(inputs, linked_memory, dtype)
        if self.norm is not None:
            h = self.norm(h)
        if layers:
            kept.append(h)
        return States(h, tuple(kept), inputs.valid, vocabulary)


def gather(h: Float[Tensor, "row time width"], at: At) -> Float[Tensor, "row most width"]:
    """The states at `at`, row by row."""
    return h.gather(1, at.time[:, :, None].expand(-1, -1, h.shape[-1]))


def read(h: Float[Tensor, "row time width"], at: At) -> Float[Tensor, "read width"]:
    """The states at `at`."""
    return pick(h.flatten(0, 1), at.places(h.shape[1]))
