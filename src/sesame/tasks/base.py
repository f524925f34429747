"""The contract of a downstream task: labelled examples, what of them a backbone reads, a head, a loss, a metric.

One file a kind: classification (sentences and pairs, classes or numbers), tagging, span question answering. The
fine-tuning loop knows this file and none of the kinds.
"""

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar, Generic, Literal, Protocol, TypeVar, runtime_checkable

import numpy as np
from jaxtyping import Float, Int
from torch import Tensor, nn

from sesame.data.chance import bits, purpose_key
from sesame.errors import UserError
from sesame.models.base import Backbone
from sesame.pretext.base import Term
from sesame.tasks.sequences import TaskBatch


@runtime_checkable
class Labelled(Protocol):
    """An example of any kind."""

    @property
    def key(self) -> str:
        """Its identity in the data: an id column, or the line number. Unique within a file."""

    @property
    def where(self) -> str:
        """`file:line`, for messages."""


@runtime_checkable
class Encodings(Protocol):
    """Examples as a network reads them: `Sequences` of tokens, or images."""

    @property
    def owner(self) -> Int[np.ndarray, " thing"]:
        """The example that each thing that is read belongs to."""

    @property
    def target(self) -> np.ndarray | None:
        """What is to be predicted; None where there are no labels."""

    @property
    def lengths(self) -> Int[np.ndarray, " thing"]:
        """What each takes to read, beside the others."""

    def __len__(self) -> int: ...


E = TypeVar("E", bound=Labelled)
P = TypeVar("P")


@dataclass
class Notes:
    """What was not taken as it stands: examples skipped at the user's wish, texts cut or windowed. Reported, always."""

    skip: bool = False
    """Leave a faulty example out and count it, instead of refusing the file."""
    counts: Counter[str] = field(default_factory=Counter)

    def fault(self, where: str, reason: str, message: str) -> None:
        """A faulty example: a UserError, or a counted skip under the short name `reason`."""
        if not self.skip:
            raise UserError(f"{where}: {message}")
        self.counts[f"skipped: {reason}"] += 1


class Head(nn.Module):
    """A small fresh network on the states that are read."""

    pools: ClassVar[bool] = False
    """Sequences are pooled layer by layer, before a mix of the layers is made: `pool`, and then `scores`."""

    def forward(self, h: Float[Tensor, "read width"], batch: TaskBatch) -> Float[Tensor, "*what out"]:
        """Scores of each read position, or of each sequence: the task knows which."""
        raise NotImplementedError("abstract")

    def pool(self, h: Float[Tensor, "read width"], batch: TaskBatch) -> Float[Tensor, "_ wider"]:
        """What is read of one layer's states, of each sequence."""
        raise NotImplementedError("abstract")

    def scores(self, pooled: Float[Tensor, "_ wider"]) -> Float[Tensor, "_ out"]:
        """The scores, linear in what was pooled."""
        raise NotImplementedError("abstract")


class Task(ABC, Generic[E, P]):
    """One kind of labelled data. `labels` are those of the training examples, in a fixed order."""

    kind: ClassVar[str]
    reads: ClassVar[Literal["text", "images", "speech"]] = "text"
    """What its examples are, and so which models can learn it."""
    balanced: ClassVar[bool] = False
    """Where few training examples are taken, they are of each label in turn, however many are asked for."""
    unchanged: ClassVar[bool] = False
    """What is read off features that are not trained is measured too (frozen.py); the kind has labels."""
    arms: ClassVar[tuple[str, ...]] = ("embeddings", "scratch", "pretrained")
    """From what it is learned, of `arms.ARMS`."""
    solved: ClassVar[Literal["", "sequence", "read"]] = ""
    """The head is linear in what it pools of a sequence's states, or in each read state, and the loss is cross-entropy:
    on a backbone that is not trained, the best head is worked out (solving.py)."""
    writes: ClassVar[bool] = False
    """A decoder writes the answers, a token at a time: the model is an encoder-decoder, and there is no head."""

    def __init__(self, config: Any, labels: tuple[str, ...] = ()):
        self.config, self.labels = config, labels

    @property
    @abstractmethod
    def metric(self) -> str:
        """The key of `metrics` that models are chosen by; greater is better."""

    def suited(self, causal: bool) -> "Task[E, P]":
        """The task with what is left to the model chosen: for one that reads from left to right, or one that sees all.
        The default leaves nothing to it."""
        return self

    @classmethod
    @abstractmethod
    def read(cls, config: Any, path: Path, notes: Notes, labelled: bool = True) -> list[E]:
        """The examples of one file. `labelled=False`: answers may be missing, for prediction."""

    @classmethod
    @abstractmethod
    def labels_of(cls, config: Any, train: Sequence[E]) -> tuple[str, ...]:
        """The labels of the training examples, sorted; raises UserError where there is but one class."""

    def check_train(self, train: Sequence[E], which: str, mend: str) -> None:
        """Raise UserError where there is nothing to learn from `which`, these examples; `mend` says what to do."""
        try:
            self.labels_of(self.config, train)
        except UserError as error:
            raise UserError(f"{which}: {error} {mend}") from None

    def check(self, examples: Sequence[E], notes: Notes) -> list[E]:
        """The examples that can be scored: a label never seen in training is a fault. The default has no labels."""
        return list(examples)

    def content(self, example: E) -> Any:
        """What `example` is about, to be compared: of two examples about the same, neither is held out without the
        other. By default each is about something of its own."""
        return example.where

    @abstractmethod
    def encode(self, examples: Sequence[E], vocabulary: Any, length: int, notes: Notes) -> Encodings:
        """The examples as sequences of at most `length` tokens (frames), with targets where the examples have labels.

        `vocabulary` is what the model reads with: a Vocabulary, or of speech an Ear. Images have neither it nor a
        `length`: they are encoded as their kind of network reads.
        """

    @abstractmethod
    def head(self, width: int, dropout: float) -> Head:
        """A fresh head."""

    @abstractmethod
    def loss(self, scores: Tensor, batch: TaskBatch) -> Term:
        """How far the head's scores are from the batch's targets."""

    @abstractmethod
    def decode(self, examples: Sequence[E], sequences: Any, scores: Float[np.ndarray, "*what out"]) -> list[P]:
        """One prediction an example, from the scores of all its sequences (in order)."""

    @abstractmethod
    def metrics(self, examples: Sequence[E], predictions: Sequence[P]) -> dict[str, float]:
        """Scores against the labels, in 0..1 (correlations: -1..1)."""

    def tuned(self, dev: Sequence[E], predictions: Sequence[P]) -> "tuple[Task[E, P], list[P]]":
        """The task with what is chosen on dev for a network, such as a threshold, and the predictions as they are with
        it. The default chooses nothing."""
        return self, list(predictions)

    @abstractmethod
    def write(self, examples: Sequence[E], predictions: Sequence[P], path: Path) -> None:
        """The predictions in the format the examples came in."""

    def check_model(self, backbone: Backbone, examples: Sequence[E]) -> None:
        """Raise UserError where the model cannot read these examples; what kind it is, is checked already."""

    def order(self, train: Sequence[E], seed: int, balanced: bool = False) -> Int[np.ndarray, " example"]:
        """In which order training examples are taken, where few are: a matter of each example's key and the seed.

        `balanced`: one of each label in turn, as long as there are some.
        """
        order = keyed_order(train, "labels", seed)
        if not (balanced or self.balanced):
            return order
        turn = rank_within([label_of(train[i]) for i in order])
        return order[np.argsort(turn, kind="stable")]

    # ------------------------------------------------------------------------ what is read off unchanged features
    def numbers(self, encoded: Any) -> Float[Tensor, "example number"]:
        """Each example as it is, in numbers; only asked of a kind that has `unchanged`."""
        raise NotImplementedError("abstract")

    def features(self, backbone: Backbone, encoded: Any) -> Float[Tensor, "example width"]:
        """What a backbone makes of each example; only asked of a kind that has `unchanged`."""
        raise NotImplementedError("abstract")

    # ---------------------------------------------------------------------------------- what needs no backbone
    @abstractmethod
    def majority(self, train: Sequence[E], test: Sequence[E]) -> list[P]:
        """Predictions that look at no text."""

    def lexical(self, train: Sequence[E], test: Sequence[E]) -> list[P] | None:
        """Predictions of TF-IDF and logistic regression, or of their nearest equivalent for the kind; None where there
        are no words, which is the default."""
        return None

    def raw(self, vocabulary: Any) -> tuple[Any, int]:
        """What reads the examples without any network (features of the field), in place of a model's `vocabulary`, and
        how many numbers it makes of a position. Of kinds that have the arm `raw`."""
        raise NotImplementedError("abstract")

    def baselines(self, train: Sequence[E], test: Sequence[E]) -> dict[str, list[P]]:
        """All that the kind has of these, by the names of `comparison.Point`'s fields."""
        found = {"majority": self.majority(train, test)}
        told = self.lexical(train, test)
        return found if told is None else {**found, "tfidf": told}


@dataclass(frozen=True)
class TaskData(Generic[E, P]):
    """A task with its examples. `test` is what is reported; where there is none, dev is, and it is said."""

    name: str
    task: Task[E, P]
    train: list[E]
    dev: list[E]
    test: list[E]
    notes: Notes

    def learned_from(self, count: int) -> "TaskData[E, P]":
        """The same with at most `count` training examples, by a keyed choice; the others are counted in the notes.

        Raises UserError where so few cannot be learned from.
        """
        if count < 1:
            raise UserError(f"{self.name}: {count} training examples were asked for. Give a number above 0.")
        if count >= len(self.train):
            return self
        chosen = np.sort(keyed_order(self.train, "train on")[:count])
        train = [self.train[i] for i in chosen]
        self.task.check_train(train, f"{self.name}, {count} training examples", "Ask for more examples.")
        self.notes.counts["training examples left unused"] = len(self.train) - count
        return replace(self, train=train)


def keyed_order(examples: Sequence[Labelled], purpose: str, *words: int) -> Int[np.ndarray, " example"]:
    """The numbers of the examples in an order that chance sets by their keys: without one, the others keep theirs."""
    keys = np.array([purpose_key(example.key) for example in examples], np.uint64)
    return np.argsort(bits(purpose, *words, keys), kind="stable")


def label_of(example: Any) -> str:
    """What an example is to be balanced by; a UserError for a kind of task whose examples have no one label."""
    label = getattr(example, "label", None)
    if label is None:
        raise UserError("--per-class: the examples of this task have no one label each. Use --labels or --percent.")
    return str(label)


def rank_within(labels: Sequence[str]) -> Int[np.ndarray, " example"]:
    """Of every example how many of its label come before it."""
    seen: dict[str, int] = {}
    ranks = []
    for label in labels:
        ranks.append(seen.get(label, 0))
        seen[label] = ranks[-1] + 1
    return np.array(ranks)
