"""A text for a text: summaries, translations, answers in free words (Lewis et al. 2020, section 3.3).

The encoder reads `[CLS] source [SEP]`; the decoder is given `[SEP] [CLS]` and writes `target [SEP]`, which is how BART
was pretrained. No head is added: the decoder is one.
"""

from collections.abc import Sequence
from itertools import accumulate, chain
from pathlib import Path
from typing import ClassVar, NoReturn

import numpy as np
from jaxtyping import Int
from torch import Tensor

from sesame import config
from sesame.config import Seq2Seq as Config
from sesame.data.tokenizer import Vocabulary
from sesame.errors import UserError
from sesame.pretext.base import Term
from sesame.pretext.cross_entropy import linear_cross_entropy
from sesame.tasks import lexical, tables
from sesame.tasks.base import Notes, Task
from sesame.tasks.greedy import start
from sesame.tasks.tables import TextExample
from sesame.tasks.text_metrics import bleu, exact, rouge
from sesame.tasks.writer import PairBatch, Pairs


class Seq2Seq(Task[TextExample, str]):
    """`TextExample.text` is the source, `label` the target."""

    kind: ClassVar[str] = "seq2seq"
    writes: ClassVar[bool] = True
    config: Config

    @property
    def metric(self) -> str:
        return self.config.metric

    @classmethod
    def read(cls, config: Config, path: Path, notes: Notes, labelled: bool = True) -> list[TextExample]:
        return tables.read(_columns(config), path, notes, labelled)

    @classmethod
    def labels_of(cls, config: Config, train: Sequence[TextExample]) -> tuple[str, ...]:
        """None: what is written is no choice among labels."""
        return ()

    def content(self, example: TextExample) -> str:
        return example.text

    # --------------------------------------------------------------------------------------- to sequences
    def encode(self, examples: Sequence[TextExample], vocabulary: Vocabulary, length: int, notes: Notes) -> Pairs:
        """One pair an example. Of a longer source the end is cut, and of a target after `longest` tokens.

        Raises UserError for a `length` that leaves no room for a token.
        """
        if length < 3:
            raise UserError(f"{length} tokens are too few for a text and its special tokens. Give 3 or more.")
        most = min(self.config.longest, length - 2)
        texts = vocabulary.encode_batch([example.text for example in examples])
        sources = [[*vocabulary.begin, *ids[: length - 2], vocabulary.sep] for ids in texts]
        if cut := sum(len(ids) > length - 2 for ids in texts):
            notes.counts[f"cut to {length} tokens"] += cut
        given, written = self._decoder(examples, vocabulary, most, notes)
        return Pairs(
            ids=_on_end(sources),
            kind=np.zeros(sum(map(len, sources)), np.int64),
            offsets=_edges(sources),
            owner=np.arange(len(sources)),
            read=np.zeros(len(sources), np.int64),
            read_offsets=np.arange(len(sources) + 1),
            given=_on_end(given),
            written=_on_end(written),
            written_offsets=_edges(given),
            vocabulary=vocabulary,
            most=most,
        )

    def _decoder(
        self, examples: Sequence[TextExample], vocabulary: Vocabulary, most: int, notes: Notes
    ) -> tuple[list[list[int]], list[list[int]]]:
        """What a decoder reads and what it writes next, for every example; nothing where not all targets are known."""
        if any(example.label is None for example in examples):
            return [[] for _ in examples], [[] for _ in examples]
        targets = vocabulary.encode_batch([_target(example) for example in examples])
        if cut := sum(len(ids) > most for ids in targets):
            notes.counts[f"targets cut to {most} tokens in training"] += cut
        prompt = start(vocabulary)
        unasked = [-1] * (len(prompt) - 1)
        given = [[*prompt, *ids[:most]] for ids in targets]
        # Where a target is cut, nothing says that it ends there.
        written = [[*unasked, *ids[:most], vocabulary.sep if len(ids) <= most else -1] for ids in targets]
        return given, written

    # ------------------------------------------------------------------------------------------- learning
    def head(self, width: int, dropout: float) -> NoReturn:
        raise ValueError("the decoder writes: there is no head")

    def loss(self, scores: tuple[Tensor, Tensor], batch: PairBatch) -> Term:
        """Cross-entropy of every token of the targets, in nats."""
        hidden, vocabulary = scores
        total, hits = linear_cross_entropy(hidden, vocabulary, None, batch.target)
        return Term(total, batch.count, hits=hits)

    def decode(
        self, examples: Sequence[TextExample], sequences: Pairs, scores: Int[np.ndarray, "sequence most"]
    ) -> list[str]:
        """The text of what was written for each example."""
        return [sequences.vocabulary.decode(ids[ids >= 0], skip_special=True).strip() for ids in scores]

    def metrics(self, examples: Sequence[TextExample], predictions: Sequence[str]) -> dict[str, float]:
        gold = [_target(example) for example in examples]
        cased = self.config.cased
        return {
            **rouge(gold, predictions),
            "bleu": bleu(gold, predictions, cased),
            "exact": exact(gold, predictions, cased),
        }

    def write(self, examples: Sequence[TextExample], predictions: Sequence[str], path: Path) -> None:
        tables.write(_columns(self.config), examples, [{"prediction": text} for text in predictions], path)

    # --------------------------------------------------------------------------------- without a backbone
    def majority(self, train: Sequence[TextExample], test: Sequence[TextExample]) -> list[str]:
        """The most frequent target of the training examples, for every example."""
        return [lexical.most_frequent([_target(example) for example in train])[0]] * len(test)

    def lexical(self, train: Sequence[TextExample], test: Sequence[TextExample]) -> list[str]:
        """The target of the training example whose source is nearest by TF-IDF; the first of several."""
        features = lexical.Features([TextExample(e.key, e.where, e.text) for e in train])
        near = features(test) @ features(train).T
        return [_target(train[int(row.argmax())]) for row in near]

    def baselines(self, train: Sequence[TextExample], test: Sequence[TextExample]) -> dict[str, list[str]]:
        return {"copied": [example.text for example in test], **super().baselines(train, test)}


def _columns(c: Config) -> config.Table:
    return config.Classification(text=c.source, label=c.target, key=c.key)


def _target(example: TextExample) -> str:
    assert example.label is not None, "targets are read where they are needed"
    return example.label


def _on_end(lists: list[list[int]]) -> Int[np.ndarray, " token"]:
    return np.fromiter(chain.from_iterable(lists), np.int64)


def _edges(lists: list[list[int]]) -> Int[np.ndarray, " edge"]:
    return np.array([0, *accumulate(map(len, lists))])
