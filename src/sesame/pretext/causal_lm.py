"""Causal language modelling (Radford et al. 2018): every token from those before it in its example.

x′ is a prefix and x″ the token after it, for all prefixes at once. A document stands between the vocabulary's start and
end tokens (GPT-2's <|endoftext|> is both), so its first token and its end are predicted too. One that is longer than a
row is read in windows: each goes on from the last token of the one before and shows the first of the next, so every
token is predicted once and no document seems to begin or end where it was cut.

Positions count from 0 in every window. Carried on from the window before, they would reach rows of the position table
beyond the row's length, with nothing to attend to before them: what is learned there no use of the model would meet,
since a prompt is read from position 0.
"""

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from sesame import config
from sesame.data.batch import TextBatch
from sesame.data.text import TextSet, TextStream, rows_of
from sesame.data.tokenizer import Vocabulary
from sesame.errors import UserError
from sesame.models.transformer import Transformer
from sesame.pretext.base import Loss, Pretext, Split, Term
from sesame.pretext.cross_entropy import linear_cross_entropy


class CausalLM(Pretext):
    """No head of its own: the output projection is the embedding matrix, without a bias (GPT-2)."""

    def __init__(self, c: config.CausalLM, backbone: Transformer, vocabulary: Vocabulary):
        super().__init__()
        if not backbone.config.causal or backbone.config.input != "tokens":
            raise UserError(
                "A causal LM predicts tokens from those before, so it needs --backbone.input tokens --backbone.causal; "
                f"found input {backbone.config.input!r}, causal {backbone.config.causal}."
            )
        self.config = c

    def stream(self, data: TextSet, seed: int, rank: int = 0, world: int = 1) -> TextStream:
        return TextStream(data.store, data.config, frozenset(), seed, rank, world, windows=True)

    def split(self, batch: TextBatch) -> Split:
        """Every position predicts the next one of its example; the last of an example predicts nothing, nor does the
        first of a window that goes on: what follows it was predicted in the window before, from more."""
        followed = (batch.example[:, 1:] == batch.example[:, :-1]) & (batch.example[:, 1:] >= 0)
        followed &= batch.special[:, :-1] | (batch.position[:, :-1] > 0)
        row, now = np.nonzero(followed)
        target = {
            "at": torch.from_numpy(row * batch.ids.shape[1] + now),
            "next": torch.from_numpy(batch.ids[row, now + 1]),
        }
        return Split(rows_of(batch), target, {"causal_lm": len(row)}, size=batch.size)

    def logits(self, backbone: Transformer, h: Float[Tensor, "*where width"]) -> Float[Tensor, "*where vocab"]:
        return F.linear(h, backbone.vocabulary)

    def loss(self, backbone: Transformer, split: Split) -> Loss:
        # Nearly all positions are read, so the last layer computes all of them: choosing would cost more than it saves.
        states = backbone(split.seen)
        h = states.last.flatten(0, 1)[split.target["at"]]
        total, hits = linear_cross_entropy(h, states.vocabulary, None, split.target["next"])
        return {"causal_lm": Term(total, split.count["causal_lm"], hits=hits)}
