"""Causal language modelling (Radford et al. 2018): every token from those before it in its example.

x′ is a prefix and x″ the token after it, for all prefixes at once. An example begins with the vocabulary's start token
and ends with its end token, so the first token of a text and the end of one are predicted too.
"""

import numpy as np
import torch

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
        return TextStream(data.store, data.config, frozenset(), seed, rank, world)

    def split(self, batch: TextBatch) -> Split:
        """Every position predicts the next one of its example; the last of an example predicts nothing."""
        followed = (batch.example[:, 1:] == batch.example[:, :-1]) & (batch.example[:, 1:] >= 0)
        row, now = np.nonzero(followed)
        target = {
            "at": torch.from_numpy(row * batch.ids.shape[1] + now),
            "next": torch.from_numpy(batch.ids[row, now + 1]),
        }
        return Split(rows_of(batch), target, {"causal_lm": len(row)}, size=batch.size)

    def loss(self, backbone: Transformer, split: Split) -> Loss:
        # Nearly all positions are read, so the last layer computes all of them: choosing would cost more than it saves.
        states = backbone(split.seen)
        h = states.last.flatten(0, 1)[split.target["at"]]
        total, hits = linear_cross_entropy(h, states.vocabulary, None, split.target["next"])
        return {"causal_lm": Term(total, split.count["causal_lm"], hits=hits)}
