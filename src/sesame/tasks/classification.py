"""A class, or a number, for a text or a pair of texts (Devlin et al. 2019, section 4.1).

A text is read as `[CLS] a [SEP]`, a pair as `[CLS] a [SEP] b [SEP]` with kind 1 from b on. The head is BERT's: one
vector for the sequence, a dense layer with tanh, dropout, and a linear layer.
"""

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import Literal, TypeVar

import msgspec
import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Float32, Int
from torch import Tensor, nn

from sesame import config
from sesame.data.tokenizer import Vocabulary
from sesame.errors import UserError
from sesame.pretext.base import Term
from sesame.tasks import lexical, metrics, tables
from sesame.tasks.base import Head, Notes, Task
from sesame.tasks.classes import OF_LABELS, Choice, Classes, columns_of, file_of, label_of
from sesame.tasks.sequences import Sequences, TaskBatch
from sesame.tasks.tables import TextExample


@dataclass(frozen=True)
class Value:
    """A predicted number, in the units of the labels."""

    value: float


P = TypeVar("P", bound=Choice | Value)


# ---------------------------------------------------------------------------------------------- head
ALONE = ("first", "last")
"""Poolings that read one position of a sequence."""


class PooledHead(Head):
    """BERT's classifier over one vector a sequence: the first or last position's state, or the mean of all."""

    def __init__(self, width: int, out: int, pooling: Literal["auto", "mean", "first", "last"], dropout: float):
        super().__init__()
        self.pooling = pooling
        self.dense = nn.Linear(width, width)
        self.dropout = nn.Dropout(dropout)
        self.out = nn.Linear(width, out)
        for linear in (self.dense, self.out):
            nn.init.normal_(linear.weight, std=0.02)
            nn.init.zeros_(linear.bias)

    def forward(self, h: Float[Tensor, "read width"], batch: TaskBatch) -> Float[Tensor, "sequence out"]:
        pooled = h if self.pooling in ALONE else segment_mean(h, batch.sequence, batch.count)
        return self.out(self.dropout(torch.tanh(self.dense(pooled))))


def segment_mean(
    h: Float[Tensor, "read width"], segment: Int[Tensor, " read"], count: int
) -> Float[Tensor, "segment width"]:
    """The mean of the rows of each segment, summed in float32 or more; every one of the `count` segments has rows."""
    wide = torch.promote_types(h.dtype, torch.float32)
    total = torch.zeros(count, h.shape[-1], dtype=wide, device=h.device).index_add(0, segment, h.to(wide))
    return total / torch.bincount(segment, minlength=count)[:, None]


# --------------------------------------------------------------------------------------------- tasks
class TextTask(Task[TextExample, P]):
    """What classes and numbers share: the reader, the sequences, the head."""

    @property
    def metric(self) -> str:
        return self.config.metric

    def suited(self, causal: bool) -> "TextTask[P]":
        if self.config.pooling != "auto":
            return self
        pooling = "last" if causal else "mean"
        return type(self)(msgspec.structs.replace(self.config, pooling=pooling), self.labels)

    @classmethod
    def read(cls, config: config.Table, path: Path, notes: Notes, labelled: bool = True) -> list[TextExample]:
        return tables.read(config, path, notes, labelled)

    def content(self, example: TextExample) -> tuple[str, str | None]:
        return example.text, example.pair

    def encode(self, examples: Sequence[TextExample], vocabulary: Vocabulary, length: int, notes: Notes) -> Sequences:
        """One sequence an example. Of a longer text the end is cut; of a pair's texts, the longer one's first.

        Raises UserError for a `length` that leaves no room for a token of each text.
        """
        paired = bool(self.config.pair)
        room = length - 2 - paired
        if room < 1 + paired:
            raise UserError(
                f"{length} tokens are too few for {'a pair of texts' if paired else 'a text'} and its special tokens. "
                f"Give a length of {5 if paired else 3} or more."
            )
        first = vocabulary.encode_batch([example.text for example in examples])
        second: list[list[int]] = [[]] * len(first)
        if paired:
            second = vocabulary.encode_batch([example.pair or "" for example in examples])
        sequences: list[list[int]] = []
        kinds: list[list[int]] = []
        start, end, cut = vocabulary.cls, vocabulary.sep, 0
        for a, b in zip(first, second, strict=True):
            keep_a, keep_b = fitting(len(a), len(b), room)
            ids = [start, *a[:keep_a], end]
            kind = [0] * len(ids)
            if paired:
                ids += [*b[:keep_b], end]
                kind += [1] * (keep_b + 1)
            sequences.append(ids)
            kinds.append(kind)
            cut += len(a) + len(b) > room
        if cut:
            notes.counts[f"cut to {length} tokens"] += cut
        size = np.array([len(ids) for ids in sequences], np.int64)
        offsets = np.concatenate([[0], np.cumsum(size)]).astype(np.int64)
        alone = self.config.pooling in ALONE
        one = size - 1 if self.config.pooling == "last" else np.zeros(len(size), np.int64)
        return Sequences(
            ids=np.fromiter(chain.from_iterable(sequences), np.int64, int(offsets[-1])),
            kind=np.fromiter(chain.from_iterable(kinds), np.int64, int(offsets[-1])),
            offsets=offsets,
            owner=np.arange(len(size)),
            read=one if alone else np.arange(offsets[-1]) - np.repeat(offsets[:-1], size),
            read_offsets=np.arange(len(size) + 1) if alone else offsets,
            target=self._target(examples),
        )

    @abstractmethod
    def _target(self, examples: Sequence[TextExample]) -> np.ndarray | None:
        """A target for each example, or None where not every one has a label that is known."""

    def write(self, examples: Sequence[TextExample], predictions: Sequence[P], path: Path) -> None:
        tables.write(self.config, examples, [self._row(prediction) for prediction in predictions], path)

    @staticmethod
    @abstractmethod
    def _row(prediction: P) -> Mapping[str, str | float]:
        """The columns of a prediction."""


class Classification(Classes[TextExample], TextTask[Choice]):
    """One of the labels of the training examples, for a text or a pair of texts."""

    kind = "classification"

    def head(self, width: int, dropout: float) -> PooledHead:
        return PooledHead(width, len(self.labels), self.config.pooling, dropout)

    def lexical(self, train: Sequence[TextExample], test: Sequence[TextExample]) -> list[Choice]:
        labels = [label_of(example) for example in train]
        found = lexical.classify(train, labels, test, OF_LABELS[self.metric])
        return [Choice(label, probability) for label, probability in found]

    @staticmethod
    def _row(prediction: Choice) -> Mapping[str, str | float]:
        return columns_of(prediction)


class Regression(TextTask[Value]):
    """A number. `labels` are the mean and the standard deviation of the training examples' numbers, as `repr` writes
    them: the network learns numbers of mean 0 and deviation 1, and `decode` gives them back in their own units."""

    kind = "regression"

    @classmethod
    def read(cls, config: config.Table, path: Path, notes: Notes, labelled: bool = True) -> list[TextExample]:
        examples = []
        for example in tables.read(config, path, notes, labelled):
            if example.label is None or _is_number(example.label):
                examples.append(example)
            elif not labelled:  # such as the ? of a row that is to be predicted
                examples.append(replace(example, label=None))
            else:
                notes.fault(
                    example.where,
                    "label is no number",
                    f"the label {example.label!r} is no finite number. Write it as 2 or 2.5.",
                )
        if not examples:
            raise UserError(f"{path}: the column {config.label!r} has no number in any row. Is it the right one?")
        return examples

    @classmethod
    def labels_of(cls, config: config.Regression, train: Sequence[TextExample]) -> tuple[str, ...]:
        values = _values(train)
        if np.ptp(values) == 0:
            raise UserError(
                f"{file_of(train[0])}: all {len(train)} training examples have the label {train[0].label!r}, so there "
                "is nothing to tell apart. Give examples of different numbers."
            )
        return repr(float(values.mean())), repr(float(values.std()))

    @property
    def scale(self) -> tuple[float, float]:
        """Mean and standard deviation of the training examples' numbers."""
        mean, deviation = self.labels
        return float(mean), float(deviation)

    def _target(self, examples: Sequence[TextExample]) -> Float32[np.ndarray, " example"] | None:
        if any(example.label is None for example in examples):
            return None
        mean, deviation = self.scale
        return ((_values(examples) - mean) / deviation).astype(np.float32)

    def head(self, width: int, dropout: float) -> PooledHead:
        return PooledHead(width, 1, self.config.pooling, dropout)

    def loss(self, scores: Float[Tensor, "sequence 1"], batch: TaskBatch) -> Term:
        """Squared error, in squared standard deviations: predicting the mean costs 1 an example."""
        assert batch.target is not None, "only labelled sequences have a loss"
        return Term(F.mse_loss(scores[:, 0].float(), batch.target, reduction="sum"), batch.count)

    def decode(
        self, examples: Sequence[TextExample], sequences: Sequences, scores: Float[np.ndarray, "sequence 1"]
    ) -> list[Value]:
        mean, deviation = self.scale
        return [Value(float(score) * deviation + mean) for score in scores[:, 0]]

    def metrics(self, examples: Sequence[TextExample], predictions: Sequence[Value]) -> dict[str, float]:
        gold = _values(examples).tolist()
        predicted = [prediction.value for prediction in predictions]
        return {name: score(gold, predicted) for name, score in _OF_NUMBERS.items()}

    @staticmethod
    def _row(prediction: Value) -> Mapping[str, str | float]:
        return {"prediction": prediction.value}

    def majority(self, train: Sequence[TextExample], test: Sequence[TextExample]) -> list[Value]:
        """The mean of the training examples, for every example."""
        return [Value(float(_values(train).mean()))] * len(test)

    def lexical(self, train: Sequence[TextExample], test: Sequence[TextExample]) -> list[Value]:
        """Ridge regression on TF-IDF features."""
        found = lexical.regress(train, _values(train).tolist(), test, _OF_NUMBERS[self.metric])
        return [Value(value) for value in found]


_OF_NUMBERS = {"pearson": metrics.pearson, "spearman": metrics.spearman}


# ------------------------------------------------------------------------------------------- details
def fitting(a: int, b: int, room: int) -> tuple[int, int]:
    """How much is kept of two texts of `a` and `b` tokens that share `room`: tokens go from the longer one first.

    BERT's rule, with the odd token of two long texts given as `transformers` does: to the longer one, or the second.
    """
    if a + b <= room:
        return a, b
    short = min(a, b, room // 2)
    return (room - short, short) if a > b else (short, room - short)


def _values(examples: Sequence[TextExample]) -> Float[np.ndarray, " example"]:
    return np.array([float(label_of(example)) for example in examples], np.float64)


def _is_number(label: str) -> bool:
    try:
        return bool(np.isfinite(float(label)))
    except ValueError:
        return False
