"""A class for an utterance: keyword, speaker, emotion (SUPERB's KS, SID and ER; Yang et al. 2021).

The head is linear in the mean of the states over time, or in that and their standard deviation, so that on a backbone
that is not trained these are all that must be kept of each layer, exactly.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import torch.nn.functional as F
from jaxtyping import Float, Float32
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]
from torch import Tensor

from sesame import config
from sesame.data.utterance import Utterance
from sesame.errors import UserError, nearest
from sesame.pretext.base import Term
from sesame.tasks import files, lexical, metrics
from sesame.tasks.base import Notes
from sesame.tasks.classification import Choice
from sesame.tasks.hearing import Ear, Pooling
from sesame.tasks.sequences import Sequences, TaskBatch
from sesame.tasks.spoken import SpeechTask, Spoken, mean_and_spread, on_end

_METRICS = {"accuracy": metrics.accuracy, "macro_f1": metrics.macro_f1}


class SpokenClass(SpeechTask[Choice]):
    """One of the labels of the training utterances."""

    kind = "spoken-class"
    solved: ClassVar[Literal["", "sequence", "read"]] = "sequence"

    @property
    def pooling(self) -> Pooling:
        return self.config.pooling

    @property
    def metric(self) -> str:
        return self.config.metric

    @classmethod
    def example(cls, c: config.SpokenClass, utterance: Utterance, notes: Notes, labelled: bool) -> Spoken | None:
        label = utterance.speaker if c.label == "speaker" else utterance.label or utterance.fields.get(c.label, "")
        if not label and labelled:
            has = sorted(name for name, value in utterance.fields.items() if value)
            told = f"It says: {', '.join(has)}." if has else "It says nothing of it: give a manifest, or a --pattern."
            notes.fault(utterance.where, "no label", f"the source does not say the {c.label} of this utterance. {told}")
            return None
        return Spoken(f"{utterance.key:016x}", utterance.where, utterance, label or None)

    @classmethod
    def labels_of(cls, config: config.SpokenClass, train: Sequence[Spoken]) -> tuple[str, ...]:
        labels = tuple(sorted({str(example.label) for example in train}))
        if len(labels) == 1:
            raise UserError(
                f"all {len(train)} training utterances have the {config.label} {labels[0]!r}, so there is nothing to "
                "tell apart."
            )
        return labels

    def check(self, examples: Sequence[Spoken], notes: Notes) -> list[Spoken]:
        known = []
        for example in examples:
            if example.label in self.labels:
                known.append(example)
            else:
                near = nearest(str(example.label), self.labels)
                notes.fault(example.where, "label never seen in training",
                            f"no training utterance has the {self.config.label} {example.label!r}.{near}")  # fmt: skip
        if not known:
            raise UserError("no utterance is left that has a label seen in training. Check the labels.")
        return known

    def sequences(
        self, examples: Sequence[Spoken], frames: list[Float32[np.ndarray, "_ feature"]], ear: Ear, notes: Notes
    ) -> Sequences:
        number = {label: k for k, label in enumerate(self.labels)}
        known = all(example.label in number for example in examples)
        target = np.array([number[str(e.label)] for e in examples], np.int64) if known else None
        return on_end(frames, target, "sequence")

    def loss(self, scores: Float[Tensor, "sequence label"], batch: TaskBatch) -> Term:
        """Cross-entropy, in nats."""
        assert batch.target is not None, "only labelled sequences have a loss"
        hits = (scores.argmax(-1) == batch.target).sum()
        return Term(F.cross_entropy(scores.float(), batch.target, reduction="sum"), batch.count, hits=hits)

    def decode(
        self, examples: Sequence[Spoken], sequences: Sequences, scores: Float[np.ndarray, "sequence label"]
    ) -> list[Choice]:
        scores = scores.astype(np.float64)
        probability = 1 / np.exp(scores - scores.max(-1, keepdims=True)).sum(-1)
        return [Choice(self.labels[k], float(p)) for k, p in zip(scores.argmax(-1), probability, strict=True)]

    def metrics(self, examples: Sequence[Spoken], predictions: Sequence[Choice]) -> dict[str, float]:
        gold, said = [str(e.label) for e in examples], [p.label for p in predictions]
        return {name: score(gold, said) for name, score in _METRICS.items()}

    def write(self, examples: Sequence[Spoken], predictions: Sequence[Choice], path: Path) -> None:
        rows = [(place(e.utterance), p.label, f"{p.probability:.6f}")
                for e, p in zip(examples, predictions, strict=True)]  # fmt: skip
        files.write_rows(path, ("path", "prediction", "probability"), rows)

    def majority(self, train: Sequence[Spoken], test: Sequence[Spoken]) -> list[Choice]:
        return [Choice(*lexical.most_frequent([str(e.label) for e in train]))] * len(test)

    def lexical(self, train: Sequence[Spoken], test: Sequence[Spoken]) -> list[Choice]:
        """Logistic regression on the mean and the spread over time of the log-mel bands and their slopes."""
        if len({example.label for example in train}) == 1:
            return self.majority(train, test)
        model = make_pipeline(StandardScaler(), LogisticRegression(C=1.0, max_iter=1000))
        with threadpool_limits(1):
            model.fit(mean_and_spread(train), [str(e.label) for e in train])
            probability = model.predict_proba(mean_and_spread(test))
        best = probability.argmax(1)
        return [Choice(str(model.classes_[k]), float(p[k])) for k, p in zip(best, probability, strict=True)]

    def baselines(self, train: Sequence[Spoken], test: Sequence[Spoken]) -> dict[str, list[Any]]:
        return {"majority": self.majority(train, test), "spread": self.lexical(train, test)}


def place(utterance: Utterance) -> str:
    return str(utterance.path) if utterance.end is None else f"{utterance.path} {utterance.start}-{utterance.end}"
