"""One of several labels for a thing, whatever the thing is: what texts and images share."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

import numpy as np
import torch.nn.functional as F
from jaxtyping import Float, Int64
from torch import Tensor

from sesame.errors import UserError, nearest
from sesame.pretext.base import Term
from sesame.tasks import lexical, metrics
from sesame.tasks.base import Labelled, Notes, Task


class WithLabel(Labelled, Protocol):
    """An example that may have a label."""

    @property
    def label(self) -> str | None: ...


L = TypeVar("L", bound=WithLabel)


@dataclass(frozen=True)
class Choice:
    """A predicted label."""

    label: str
    probability: float
    """Of this label, as the model has it."""


class Classes(Task[L, Choice]):
    """One of the labels of the training examples."""

    @property
    def metric(self) -> str:
        return str(self.config.metric)

    @classmethod
    def labels_of(cls, config: Any, train: Sequence[L]) -> tuple[str, ...]:
        labels = tuple(sorted({label_of(example) for example in train}))
        if len(labels) == 1:
            raise UserError(
                f"{file_of(train[0])}: all {len(train)} training examples have the label {labels[0]!r}, so there is "
                "nothing to tell apart. Give examples of two labels or more."
            )
        return labels

    def check(self, examples: Sequence[L], notes: Notes) -> list[L]:
        known = []
        for example in examples:
            if example.label in self.labels:
                known.append(example)
            else:
                notes.fault(
                    example.where,
                    "label never seen in training",
                    f"no training example has the label {example.label!r}.{nearest(label_of(example), self.labels)}",
                )
        if not known:
            raise UserError("no example is left that has a label seen in training. Check the label columns.")
        return known

    def _target(self, examples: Sequence[L]) -> Int64[np.ndarray, " example"] | None:
        number = {label: k for k, label in enumerate(self.labels)}
        if any(example.label not in number for example in examples):
            return None
        return np.array([number[label_of(example)] for example in examples], np.int64)

    def loss(self, scores: Float[Tensor, "thing label"], batch: Any) -> Term:
        """Cross-entropy, in nats."""
        assert batch.target is not None, "only labelled things have a loss"
        hits = (scores.argmax(-1) == batch.target).sum()
        return Term(F.cross_entropy(scores.float(), batch.target, reduction="sum"), batch.count, hits=hits)

    def decode(self, examples: Sequence[L], sequences: Any, scores: Float[np.ndarray, "thing label"]) -> list[Choice]:
        scores = scores.astype(np.float64)
        best = scores.argmax(-1)
        # The best label's share of the softmax: 1 / sum over labels of e^(score - best score).
        probability = 1 / np.exp(scores - scores.max(-1, keepdims=True)).sum(-1)
        return [Choice(self.labels[k], float(p)) for k, p in zip(best, probability, strict=True)]

    def metrics(self, examples: Sequence[L], predictions: Sequence[Choice]) -> dict[str, float]:
        gold = [label_of(example) for example in examples]
        predicted = [prediction.label for prediction in predictions]
        return {name: score(gold, predicted) for name, score in OF_LABELS.items()}

    def majority(self, train: Sequence[L], test: Sequence[L]) -> list[Choice]:
        """The most frequent label of the training examples, for every example; its share is the probability."""
        label, share = lexical.most_frequent([label_of(example) for example in train])
        return [Choice(label, share)] * len(test)


OF_LABELS = {"accuracy": metrics.accuracy, "macro_f1": metrics.macro_f1, "matthews": metrics.matthews}


def columns_of(prediction: Choice) -> Mapping[str, str | float]:
    """A prediction as columns of a table."""
    return {"prediction": prediction.label, "probability": prediction.probability}


def label_of(example: WithLabel) -> str:
    assert example.label is not None, "labels are read where they are needed"
    return example.label


def file_of(example: Labelled) -> str:
    """Where the example comes from, without its line."""
    return example.where.rpartition(":")[0]
