"""Bidirectional language modelling (Peters et al. 2018, 3.1): the next word from those before it, and the word before
from those after.

x′ is a prefix and a suffix of each example, x″ the word between, for all of them at once. The two directions share the
words' vectors and the softmax, and nothing else.
"""

import numpy as np
import torch
from torch import nn

from sesame import config
from sesame.data.batch import TextBatch
from sesame.data.text import TextSet, TextStream, rows_of
from sesame.data.tokenizer import Vocabulary
from sesame.errors import UserError
from sesame.models.base import Backbone
from sesame.models.elmo import Elmo, spelling
from sesame.pretext.base import Loss, Pretext, Split, Term
from sesame.pretext.cross_entropy import linear_cross_entropy


class BidirectionalLM(Pretext):
    """Its softmax is thrown away after pretraining; the published count of parameters leaves it out."""

    def __init__(self, c: config.BidirectionalLM, backbone: Backbone, vocabulary: Vocabulary):
        super().__init__()
        if not isinstance(backbone, Elmo):
            raise UserError(
                "A bidirectional LM needs two directions that do not see each other: an ELMo, "
                f"not a {type(backbone).__name__}."
            )
        self.config = c
        self.softmax = nn.Linear(backbone.config.width, backbone.config.vocab)
        nn.init.normal_(self.softmax.weight, std=backbone.config.width**-0.5)
        nn.init.zeros_(self.softmax.bias)
        table = torch.from_numpy(spelling(vocabulary, backbone.config.longest))
        backbone.characters[: len(table)] = table.to(backbone.characters.dtype)

    def stream(self, data: TextSet, seed: int, rank: int = 0, world: int = 1) -> TextStream:
        return TextStream(data.store, data.config, frozenset(), seed, rank, world)

    def split(self, batch: TextBatch) -> Split:
        """Each two neighbours of an example: the first predicts the second, the second the first."""
        together = (batch.example[:, 1:] == batch.example[:, :-1]) & (batch.example[:, 1:] >= 0)
        row, first = np.nonzero(together)
        target = {
            "first_at": torch.from_numpy(row * batch.ids.shape[1] + first),
            "first": torch.from_numpy(batch.ids[row, first]),
            "second": torch.from_numpy(batch.ids[row, first + 1]),
        }
        return Split(rows_of(batch), target, {"forwards": len(row), "backwards": len(row)}, size=batch.size)

    def loss(self, backbone: Elmo, split: Split) -> Loss:
        forwards, backwards = backbone(split.seen).last.flatten(0, 1).chunk(2, -1)
        at, loss = split.target["first_at"], {}
        for name, h, said in (("forwards", forwards[at], "second"), ("backwards", backwards[at + 1], "first")):
            total, hits = linear_cross_entropy(h, self.softmax.weight, self.softmax.bias, split.target[said])
            loss[name] = Term(total, split.count[name], hits=hits)
        return loss

    def prepare(self, data: TextSet) -> dict[str, np.ndarray]:
        """How often each token occurs in the text that is trained on."""
        return {"counts": data.store.trained_counts(len(self.softmax.bias))}

    def start(self, backbone: Elmo, artifact: dict[str, np.ndarray]) -> None:
        """The bias begins at the log unigram frequencies (plus one), which the network then need not learn."""
        counts = artifact["counts"] + 1.0
        with torch.no_grad():
            self.softmax.bias.copy_(torch.from_numpy(np.log(counts / counts.mean())))
