"""Text infilling (Lewis et al. 2020, BART, 2.2): spans of the text become one [MASK] each, the decoder writes it all.

x′ is the damaged text in the encoder and the prefix of the original in the decoder; x″ is the next token of the
original. How many tokens a [MASK] stands for, none included, is for the model to find out.
"""

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int, UInt64
from torch import Tensor

from sesame import config
from sesame.data import chance
from sesame.data.batch import Rows, TextBatch
from sesame.data.text import TextSet, TextStream, rows_of
from sesame.data.tokenizer import Vocabulary
from sesame.models.encoder_decoder import EncoderDecoder
from sesame.pretext.base import Loss, Pretext, Split, Term
from sesame.pretext.cross_entropy import linear_cross_entropy


@dataclass(frozen=True)
class Damage:
    """What becomes of the tokens of several examples, written one after the other."""

    source: Int[np.ndarray, " seen"]
    """For each place of the damaged texts the token (index into all tokens) that stands there, or -1 for a [MASK]."""
    owner: Int[np.ndarray, " seen"]
    """The example of each place."""
    hidden: Int[np.ndarray, " seen"]
    """How many tokens each [MASK] stands for; 0 where a token stands, and for an inserted [MASK]."""


def damage(
    tokens: Int[np.ndarray, " example"],
    key: UInt64[np.ndarray, " example"],
    seed: int,
    epoch: Int[np.ndarray, " example"],
    rate: float,
    span: float,
) -> Damage:
    """Hide spans of Poisson(`span`) tokens until the nearest whole number to `rate` of each example's is hidden.

    At least one token is. The last span is what is left of that number. There are never more spans than hidden tokens
    (the last allowed one takes the rest), so a damaged text is never longer than the original. Kept tokens and spans
    come in a uniformly random arrangement, so spans never overlap.
    """
    budget = np.where(tokens > 0, np.maximum(1, np.rint(rate * tokens)), 0).astype(np.int64) if rate else 0 * tokens
    number = np.arange(max(int(budget.max(initial=0)), 1))
    draw = chance.uniform("infilling span", seed, epoch[:, None], key[:, None], number[None])
    ends = np.minimum(np.cumsum(poisson(draw, span), 1), budget[:, None])
    ends = np.where(number >= budget[:, None] - 1, budget[:, None], ends)
    length = np.diff(ends, axis=1, prepend=0)
    spans = np.where(budget > 0, (ends < budget[:, None]).sum(1) + 1, 0)

    places = tokens - budget + spans
    owner = np.repeat(np.arange(len(tokens)), places)
    place = np.arange(len(owner)) - (np.cumsum(places) - places)[owner]
    order = np.lexsort((chance.uniform("infilling place", seed, epoch[owner], key[owner], place), owner))
    masked = np.zeros(len(owner), bool)
    masked[order] = place < spans[owner]  # `order` keeps each example together, so `place` counts its draws too
    hidden = np.zeros(len(owner), np.int64)
    hidden[masked] = length[number < spans[:, None]]
    taken = np.where(masked, hidden, 1)
    source = np.where(masked, -1, np.cumsum(taken) - taken)
    return Damage(source, owner, hidden)


def poisson(draw: Float[np.ndarray, "*shape"], mean: float) -> Int[np.ndarray, "*shape"]:
    """Poisson numbers from uniform ones, by inversion; what lies beyond 20 standard deviations counts as there."""
    k = np.arange(1, int(mean + 20 * np.sqrt(mean)) + 20)
    log_share = np.concatenate([[0.0], np.cumsum(np.log(mean / k))]) - mean
    return np.minimum(np.searchsorted(np.cumsum(np.exp(log_share)), draw, "right"), len(k))


class Infilling(Pretext):
    """No head of its own: the output projection is the shared embedding matrix."""

    def __init__(self, c: config.Infilling, backbone: EncoderDecoder, vocabulary: Vocabulary):
        super().__init__()
        self.config, self.vocabulary = c, vocabulary

    def stream(self, data: TextSet, seed: int, rank: int = 0, world: int = 1) -> TextStream:
        return TextStream(data.store, data.config, frozenset(), seed, rank, world)

    def split(self, batch: TextBatch) -> Split:
        """The damaged examples, the originals one step late behind an end token (as BART starts), and the originals."""
        there = batch.example >= 0
        late = np.where(batch.position == 0, self.vocabulary.sep, np.roll(batch.ids, 1, axis=1))
        decoder = rows_of(batch, np.where(there, late, self.vocabulary.pad))
        target = {
            "at": torch.from_numpy(np.flatnonzero(there)),
            "original": torch.from_numpy(batch.ids[there]),
        }
        return Split((self.damaged(batch), decoder), target, {"infilling": int(there.sum())}, size=batch.size)

    def damaged(self, batch: TextBatch) -> Rows:
        """The encoder's layout: each example, damaged, in the row of its original and under the same number."""
        inside = ~batch.special
        ids, examples = batch.ids[inside], len(batch.key)
        tokens = np.bincount(batch.example[inside], minlength=examples)
        done = damage(tokens, batch.key, batch.seed, batch.epoch, self.config.rate, self.config.span)
        text = np.where(done.source < 0, self.vocabulary.mask, ids[np.maximum(done.source, 0)] if len(ids) else 0)

        size = np.bincount(done.owner, minlength=examples) + 2  # [CLS], [SEP]
        owner = np.repeat(np.arange(examples), size)
        position = np.arange(len(owner)) - (np.cumsum(size) - size)[owner]
        written = np.full(len(owner), self.vocabulary.cls)
        written[position == size[owner] - 1] = self.vocabulary.sep
        written[(position > 0) & (position < size[owner] - 1)] = text

        first = np.argwhere((batch.position == 0) & (batch.example >= 0))[:, 0]  # the row of each example
        filled = np.bincount(first, size, minlength=len(batch.ids)).astype(np.int64)
        row = first[owner]
        time = np.arange(len(owner)) - (np.cumsum(filled) - filled)[row]
        shape = (len(batch.ids), max(int(filled.max(initial=0)), 1))

        def laid_out(values: np.ndarray, empty: int) -> torch.Tensor:
            table = np.full(shape, empty, np.int64)
            table[row, time] = values
            return torch.from_numpy(table)

        return Rows(
            x=laid_out(written, self.vocabulary.pad),
            position=laid_out(position, 0),
            kind=laid_out(np.zeros_like(owner), 0),
            example=laid_out(owner, -1),
        )

    def logits(self, backbone: EncoderDecoder, h: Float[Tensor, "*where width"]) -> Float[Tensor, "*where vocab"]:
        return F.linear(h, backbone.encoder.embed.token.weight)

    def loss(self, backbone: EncoderDecoder, split: Split) -> Loss:
        states = backbone(split.seen)
        h = states.last.flatten(0, 1)[split.target["at"]]
        total, hits = linear_cross_entropy(h, states.vocabulary, None, split.target["original"])
        return {"infilling": Term(total, split.count["infilling"], hits=hits)}
