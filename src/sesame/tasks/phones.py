"""Phones: which one sounds in each frame, and which ones were said in order (SUPERB's PR; Yang et al. 2021).

The first needs the times of phones, which the built-in source espeak knows; the second learns without them, by CTC
(Graves et al. 2006): a blank, or one phone, for every frame, and the loss is −log of the summed probability of all ways
to read the phones from these.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Float32, Int
from torch import Tensor

from sesame.data.utterance import Utterance
from sesame.errors import UserError
from sesame.pretext.base import Term
from sesame.tasks import files
from sesame.tasks.base import Notes
from sesame.tasks.hearing import HOP, Ear, sounding
from sesame.tasks.sequences import Sequences, TaskBatch
from sesame.tasks.spoken import P, SpeechTask, Spoken, on_end
from sesame.tasks.spoken_class import place

BLANK = 0
"""Of CTC; phone k has the score k + 1."""


class PhoneTask(SpeechTask[P]):
    """Utterances whose phones are known; `labels` are the phones of the training utterances."""

    @classmethod
    def example(cls, c: Any, utterance: Utterance, notes: Notes, labelled: bool) -> Spoken | None:
        if labelled and not utterance.phones:
            notes.fault(utterance.where, "no phones", "the source does not know the phones of this utterance and when "
                        "they sound. The built-in source espeak does.")  # fmt: skip
            return None
        return Spoken(f"{utterance.key:016x}", utterance.where, utterance)

    @classmethod
    def labels_of(cls, config: Any, train: Sequence[Spoken]) -> tuple[str, ...]:
        labels = tuple(sorted({phone for example in train for phone in phones(example)}))
        if len(labels) < 2:
            raise UserError(
                f"the training utterances have {len(labels)} different phones: nothing is to be told apart."
            )
        return labels

    def numbers(self, example: Spoken) -> Int[np.ndarray, " phone"]:
        """The phones of an utterance, as places in `labels`; -1 for one that training never has, which is an error
        whatever is said."""
        number = {label: k for k, label in enumerate(self.labels)}
        return np.array([number.get(phone, -1) for phone in phones(example)], np.int64)


def phones(example: Spoken) -> list[str]:
    return [phone.name for phone in example.utterance.phones]


# ------------------------------------------------------------------------------------------ frame by frame
@dataclass(frozen=True)
class Framewise:
    """The phone that is heard in each frame that has one, and the one that sounds; as places in the labels."""

    said: Int[np.ndarray, " frame"]
    true: Int[np.ndarray, " frame"] | None


class PhoneFrames(PhoneTask[Framewise]):
    """The phone of every frame in whose middle one sounds."""

    kind = "phone-frames"
    solved: ClassVar[Literal["", "sequence", "read"]] = "read"

    @property
    def metric(self) -> str:
        return "accuracy"

    def sequences(
        self, examples: Sequence[Spoken], frames: list[Float32[np.ndarray, "_ feature"]], ear: Ear, notes: Notes
    ) -> Sequences:
        if not all(example.utterance.phones for example in examples):  # to be predicted: every frame
            return on_end(frames, None, "read")
        targets, reads = [], []
        for example, its in zip(examples, frames, strict=True):
            which = sounding(example.utterance.phones, ear.seconds(len(its)))
            reads.append(np.flatnonzero(which >= 0))
            targets.append(self.numbers(example)[which[which >= 0]])
        return on_end(frames, np.concatenate(targets), "read", reads)

    def loss(self, scores: Float[Tensor, "read phone"], batch: TaskBatch) -> Term:
        """Cross-entropy, in nats."""
        assert batch.target is not None, "only labelled sequences have a loss"
        hits = (scores.argmax(-1) == batch.target).sum()
        return Term(F.cross_entropy(scores.float(), batch.target, reduction="sum"), len(batch.target), hits=hits)

    def decode(
        self, examples: Sequence[Spoken], sequences: Sequences, scores: Float[np.ndarray, "read phone"]
    ) -> list[Framewise]:
        edges, best = sequences.read_offsets[1:-1], scores.argmax(-1)
        true = [None] * len(sequences) if sequences.target is None else np.split(sequences.target, edges)
        return [Framewise(said, its) for said, its in zip(np.split(best, edges), true, strict=True)]

    def metrics(self, examples: Sequence[Spoken], predictions: Sequence[Framewise]) -> dict[str, float]:
        """Accuracy over all frames that have a phone, and the mean over phones of the share of their frames."""
        said = np.concatenate([p.said for p in predictions])
        true = np.concatenate([p.true for p in predictions if p.true is not None])
        right = said == true
        shares = [right[true == phone].mean() for phone in np.unique(true)]
        return {"accuracy": float(right.mean()), "mean_recall": float(np.mean(shares))}

    def majority(self, train: Sequence[Spoken], test: Sequence[Spoken]) -> list[Framewise]:
        """The phone that sounds longest in training, for every 10 ms."""
        total: dict[str, float] = {}
        for example in train:
            for phone in example.utterance.phones:
                total[phone.name] = total.get(phone.name, 0.0) + phone.end - phone.start
        commonest = self.labels.index(max(sorted(total), key=lambda name: total[name]))
        found = []
        for example in test:
            moments = np.arange(0.0, example.utterance.phones[-1].end, HOP)
            which = sounding(example.utterance.phones, moments)
            true = self.numbers(example)[which[which >= 0]]
            found.append(Framewise(np.full(len(true), commonest), true))
        return found

    def write(self, examples: Sequence[Spoken], predictions: Sequence[Framewise], path: Path) -> None:
        rows = [
            (place(e.utterance), " ".join(self.labels[k] for k in p.said.tolist()))
            for e, p in zip(examples, predictions, strict=True)
        ]
        files.write_rows(path, ("path", "prediction"), rows)


# -------------------------------------------------------------------------------------------------- in order
class PhoneCtc(PhoneTask[tuple[str, ...]]):
    """The phones of an utterance in order. Predictions are the likeliest phone or blank of each frame, repeats taken
    together and blanks left out (greedy decoding)."""

    kind = "phone-ctc"

    @property
    def metric(self) -> str:
        return "phone_accuracy"

    @property
    def outputs(self) -> int:
        return 1 + len(self.labels)

    def sequences(
        self, examples: Sequence[Spoken], frames: list[Float32[np.ndarray, "_ feature"]], ear: Ear, notes: Notes
    ) -> Sequences:
        if not all(example.utterance.phones for example in examples):
            return on_end(frames, None, "sequence")
        said = [self.numbers(example) for example in examples]
        target = np.full((len(said), max(map(len, said))), -1, np.int64)
        for row, numbers in enumerate(said):
            # What training never has cannot be a target; only dev and test have such, and they are not learned from.
            kept = numbers[numbers >= 0] + 1
            target[row, : len(kept)] = kept
        if short := sum(len(f) < needed(n) for f, n in zip(frames, said, strict=True)):
            notes.counts["utterances with fewer frames than phones, which are not learned from"] += short
        return on_end(frames, target, "sequence")

    def loss(self, scores: Float[Tensor, "read out"], batch: TaskBatch) -> Term:
        """−log probability of the phones, in nats, over the number of phones."""
        assert batch.target is not None, "only labelled sequences have a loss"
        count = torch.bincount(batch.sequence, minlength=batch.count)
        place = torch.arange(len(scores), device=scores.device) - (count.cumsum(0) - count)[batch.sequence]
        padded = scores.new_zeros(int(count.max()), batch.count, scores.shape[-1])
        padded[place, batch.sequence] = scores
        size = (batch.target >= 0).sum(1)
        logs = F.log_softmax(padded.float(), -1)
        total = F.ctc_loss(logs, batch.target.clamp(min=0), count, size, BLANK, "sum", zero_infinity=True)
        return Term(total, int(size.sum()))

    def decode(
        self, examples: Sequence[Spoken], sequences: Sequences, scores: Float[np.ndarray, "read out"]
    ) -> list[tuple[str, ...]]:
        each = np.split(scores.argmax(-1), sequences.read_offsets[1:-1])
        return [tuple(self.labels[k - 1] for k in read_off(best).tolist()) for best in each]

    def metrics(self, examples: Sequence[Spoken], predictions: Sequence[tuple[str, ...]]) -> dict[str, float]:
        """The phone error rate: edits over the phones that were said; and 1 minus it, by which models are chosen."""
        edits = sum(distance(phones(e), p) for e, p in zip(examples, predictions, strict=True))
        rate = edits / sum(len(e.utterance.phones) for e in examples)
        return {"phone_accuracy": 1.0 - rate, "phone_error_rate": rate}

    def majority(self, train: Sequence[Spoken], test: Sequence[Spoken]) -> list[tuple[str, ...]]:
        """The commonest phone, once."""
        total = Counter(phone for example in train for phone in phones(example))
        return [(max(sorted(total), key=lambda name: total[name]),)] * len(test)

    def write(self, examples: Sequence[Spoken], predictions: Sequence[tuple[str, ...]], path: Path) -> None:
        rows = [(place(e.utterance), " ".join(p)) for e, p in zip(examples, predictions, strict=True)]
        files.write_rows(path, ("path", "prediction"), rows)


def needed(numbers: Int[np.ndarray, " phone"]) -> int:
    """Frames that CTC needs at least: one for each phone, and a blank between two that are the same."""
    return len(numbers) + int((numbers[1:] == numbers[:-1]).sum())


def read_off(best: Int[np.ndarray, " frame"]) -> Int[np.ndarray, " phone"]:
    """What frames say: repeats taken together, blanks left out."""
    first = np.ones(len(best), bool)
    first[1:] = best[1:] != best[:-1]
    return best[first & (best != BLANK)]


def distance(said: Sequence[str], heard: Sequence[str]) -> int:
    """The fewest phones to insert, to leave out and to change that make one from the other (Levenshtein 1966)."""
    row = np.arange(len(heard) + 1)
    number = np.arange(len(heard) + 1)
    other = np.array(heard, dtype=object)
    for count, phone in enumerate(said, start=1):
        changed = row[:-1] + (other != phone)
        best = np.concatenate([[count], np.minimum(row[1:] + 1, changed)])
        row = np.minimum.accumulate(best - number) + number  # what is inserted, one after the other
    return int(row[-1])
