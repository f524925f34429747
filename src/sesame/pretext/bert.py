"""BERT: masked LM with any weighted mixture of next-sentence and sentence-order prediction (Devlin et al. 2019).

x′ is text with holes (and a second segment that may be the wrong one), x″ what was in the holes (and whether it was).
"""

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from sesame import config
from sesame.data.batch import At, TextBatch
from sesame.data.text import TextSet, TextStream, rows_of
from sesame.data.tokenizer import Vocabulary
from sesame.models.base import Backbone
from sesame.models.feed_forward import ACTIVATIONS
from sesame.models.transformer import Transformer, norm_of
from sesame.pretext.base import Loss, Pretext, Split, Term
from sesame.pretext.cross_entropy import linear_cross_entropy
from sesame.pretext.masked_lm import choose, ordinary_ids, see
from sesame.pretext.sentence_pairs import NEEDS, Pooler, labels, relations
from sesame.pretext.word_vectors import word_vectors


class MaskedLMHead(nn.Module):
    """Dense (to the embeddings' width), activation, norm; then the embedding matrix itself as output projection, with a
    bias of its own."""

    def __init__(self, backbone: config.Transformer):
        super().__init__()
        width = backbone.embedding or backbone.width
        self.dense = nn.Linear(backbone.width, width)
        self.activation = ACTIVATIONS[backbone.activation]
        self.norm = norm_of(backbone, width)
        self.bias = nn.Parameter(torch.zeros(backbone.vocab))

    def forward(self, h: Float[Tensor, "read width"]) -> Float[Tensor, "read embedding"]:
        return self.norm(self.activation(self.dense(h)))


class Bert(Pretext):
    def __init__(self, c: config.Bert, backbone: Transformer, vocabulary: Vocabulary):
        super().__init__()
        self.config, self.vocabulary, self.width = c, vocabulary, backbone.config.embedding or backbone.width
        self.pair_weights = {task: weight for task in NEEDS if (weight := getattr(c, task)) > 0}
        if c.masked_lm > 0:
            self.mask, self.ordinary = vocabulary.mask, ordinary_ids(vocabulary)
            self.masked_lm = MaskedLMHead(backbone.config)
        if self.pair_weights:
            self.pooler = Pooler(backbone.width)
        for task in self.pair_weights:
            self.add_module(task, nn.Linear(backbone.width, 2))
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.normal_(module.weight, std=backbone.config.init)
                nn.init.zeros_(module.bias)

    def stream(self, data: TextSet, seed: int, rank: int = 0, world: int = 1) -> TextStream:
        return TextStream(data.store, data.config, relations(self.config), seed, rank, world)

    # -------------------------------------------------------------------------------- x -> x′, x″
    def split(self, batch: TextBatch) -> Split:
        target: dict[str, Tensor] = {}
        count: dict[str, int] = {}
        read = np.zeros(batch.ids.shape, bool)
        seen = batch.ids
        if self.config.masked_lm > 0:
            hidden = choose(batch, self.config)
            seen, read = see(batch, hidden, self.config, self.mask, self.ordinary), hidden.copy()
            target["masked_lm"] = torch.from_numpy(batch.ids[hidden])
            count["masked_lm"] = int(hidden.sum())
        first = (batch.position == 0) & (batch.example >= 0)
        if self.pair_weights:
            read |= first
        order = np.cumsum(read.ravel()).reshape(read.shape) - 1  # where each read position stands in States.last
        if self.config.masked_lm > 0:
            target["masked_lm_at"] = torch.from_numpy(order[hidden])
        if self.pair_weights:
            target["first_at"] = torch.from_numpy(order[first])
        for task in self.pair_weights:
            label = labels(batch.pair, task)
            target[task] = torch.from_numpy(label)
            count[task] = int((label >= 0).sum())
        return Split(rows_of(batch, seen), target, count, At.of(read), batch.size)

    # ------------------------------------------------------------------------------------ closeness
    def loss(self, backbone: Transformer, split: Split) -> Loss:
        states = backbone(split.seen, split.where)
        h = states.last
        loss: Loss = {}
        if self.config.masked_lm > 0:
            # With no pair task exactly the masked positions are read, in order: nothing to pick.
            at = self.masked_lm(h[split.target["masked_lm_at"]] if self.pair_weights else h)
            total, hits = linear_cross_entropy(at, states.vocabulary, self.masked_lm.bias, split.target["masked_lm"])
            loss["masked_lm"] = Term(total, split.count["masked_lm"], self.config.masked_lm, hits)
        if self.pair_weights:
            pooled = self.pooler(h[split.target["first_at"]])
        for task, weight in self.pair_weights.items():
            logits, label = self.get_submodule(task)(pooled), split.target[task]
            total = F.cross_entropy(logits, label, ignore_index=-1, reduction="sum")
            loss[task] = Term(total, split.count[task], weight, (logits.argmax(-1) == label).sum())
        return loss

    def logits(self, backbone: Transformer, h: Float[Tensor, "read width"]) -> Float[Tensor, "read vocab"]:
        """Scores of every token at the states given, for filling in."""
        return F.linear(self.masked_lm(h), backbone.vocabulary, self.masked_lm.bias)

    # -------------------------------------------------------------------------------------- start
    def prepare(self, data: TextSet) -> dict[str, np.ndarray]:
        """How often each token occurs in the text that is trained on; first embeddings, where they are asked for."""
        store, size = data.store, self.vocabulary.size
        counts = store.trained_counts(size)
        if self.config.embeddings == "normal":
            return {"counts": counts}
        return {"counts": counts, "vectors": word_vectors(store, size, self.width)}

    def start(self, backbone: Backbone, artifact: dict[str, np.ndarray]) -> None:
        """The output bias begins at the log unigram frequencies (plus one), which the network then need not learn.

        Embeddings from counts bring more: the product of two is about their mutual information, so the sum of the
        neighbours' embeddings already ranks what fits between them (naive Bayes). The head starts near the identity
        to let it through, and a mimetic start of the backbone gathers it.
        """
        vectors = artifact.get("vectors")
        with torch.no_grad():
            if self.config.masked_lm > 0:
                counts = np.ones(len(self.masked_lm.bias))  # an embedding may have more rows than the text has tokens
                counts[: len(artifact["counts"])] += artifact["counts"]
                self.masked_lm.bias.copy_(torch.from_numpy(np.log(counts / counts.mean())))
                if vectors is not None:
                    self.masked_lm.dense.weight.diagonal().add_(1.0)
            if vectors is not None:
                assert isinstance(backbone, Transformer)
                backbone.embed.token.weight[: len(vectors)] = torch.from_numpy(vectors)
