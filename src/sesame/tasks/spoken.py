"""What tasks on speech share: utterances out of a source, who is kept apart from whom, frames as sequences."""

import logging
from abc import abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, ClassVar, Literal, TypeVar

import numpy as np
import torch
from jaxtyping import Float, Float32, Int
from torch import Tensor, nn

from sesame import config
from sesame.data.sources import Skips
from sesame.data.utterance import Utterance
from sesame.data.utterances import utterances
from sesame.errors import UserError
from sesame.tasks.base import Head, Notes, Task, keyed_order
from sesame.tasks.classification import segment_mean
from sesame.tasks.hearing import Ear, Pooling
from sesame.tasks.sequences import Sequences, TaskBatch

log = logging.getLogger(__name__)

DEV, TEST = 0.15, 0.25
"""Share of the speakers, or of the utterances, that is held out for each."""
FEWEST = 3
"""Speakers below which they cannot be kept apart."""
STILL = 1e-8
"""Beside the variance, so that the deviation of what never changes has a slope."""
C = TypeVar("C", bound=config.Speech)
P = TypeVar("P")


@dataclass(frozen=True)
class Spoken:
    """An utterance as an example. `label` is its class, of tasks that have one; None where it is not known."""

    key: str
    where: str
    utterance: Utterance
    label: str | None = None


class LinearHead(Head):
    """A linear layer on every read state."""

    def __init__(self, width: int, out: int, dropout: float):
        super().__init__()
        self.dropout, self.out = nn.Dropout(dropout), nn.Linear(width, out)
        nn.init.normal_(self.out.weight, std=0.02)
        nn.init.zeros_(self.out.bias)

    def forward(self, h: Float[Tensor, "read width"], batch: TaskBatch) -> Float[Tensor, "_ out"]:
        return self.scores(h)

    def scores(self, pooled: Float[Tensor, "_ wider"]) -> Float[Tensor, "_ out"]:
        return self.out(self.dropout(pooled))


class PooledHead(LinearHead):
    """A linear layer on what is pooled of each sequence: the mean over time, or that and the standard deviation.

    SUPERB's Linear(256) – mean – Linear is the first where there are at most 256 classes. The second is the statistics
    pooling of x-vectors (Snyder et al. 2018, section 2.2), which SUPERB has for speakers (ASV).
    """

    pools = True

    def __init__(self, width: int, out: int, dropout: float, pooling: Pooling):
        super().__init__(width * (2 if pooling == "statistics" else 1), out, dropout)
        self.pooling = pooling

    def forward(self, h: Float[Tensor, "read width"], batch: TaskBatch) -> Float[Tensor, "sequence out"]:
        return self.scores(self.pool(h, batch))

    def pool(self, h: Float[Tensor, "read width"], batch: TaskBatch) -> Float[Tensor, "sequence wider"]:
        mean = segment_mean(h, batch.sequence, batch.count)
        if self.pooling == "mean":
            return mean.to(self.out.weight.dtype)
        variance = segment_mean((h - mean[batch.sequence]).square(), batch.sequence, batch.count)
        return torch.cat([mean, (variance + STILL).sqrt()], -1).to(self.out.weight.dtype)


class SpeechTask(Task[Spoken, P]):
    """Utterances, read as frames."""

    reads = "speech"
    arms: ClassVar[tuple[str, ...]] = ("raw", "random", "frozen", "scratch", "pretrained")

    @property
    def pooling(self) -> Pooling | None:
        """What the head reads of an utterance; None where it reads single frames."""
        return None

    @classmethod
    def read(cls, config: Any, path: Path, notes: Notes, labelled: bool = True) -> list[Spoken]:
        skips = Skips()
        found = utterances(cls.source(config, path, notes.skip, labelled), skips)
        for reason, skip in skips.report().items():
            notes.counts[f"skipped: {reason}"] += skip.count
        examples = [cls.example(config, u, notes, labelled) for u in found]
        kept = [example for example in examples if example is not None]
        if not kept:
            raise UserError(f"{path}: the source has no usable utterances.")
        return numbered(kept)

    @classmethod
    def source(cls, c: Any, path: Path, skip: bool, labelled: bool) -> config.SpeechData:
        """How the utterances of `path` are listed. What is to be predicted need not say what it is."""
        told = {"pattern": c.pattern, "label": getattr(c, "label", "label")} if labelled else {}
        return config.SpeechData(source=str(path), espeak=c.espeak, skip_bad=skip, **told)

    @classmethod
    @abstractmethod
    def example(cls, c: Any, utterance: Utterance, notes: Notes, labelled: bool) -> Spoken | None:
        """An utterance with what is to be told about it; None where that is a fault that was counted."""

    def encode(self, examples: Sequence[Spoken], vocabulary: Ear, length: int, notes: Notes) -> Sequences:
        """An utterance is a sequence of frames; of a longer one than `length`, the beginning."""
        frames, cut = [], 0
        heard = vocabulary.frames([e.utterance for e in examples], self.pooling)
        for example, whole in zip(examples, heard, strict=True):
            if not len(whole):
                raise UserError(f"{example.where}: the utterance is shorter than a frame. Leave it out.")
            cut += len(whole) > length
            frames.append(whole[: int(min(length, len(whole)))])
        if cut:
            notes.counts[f"cut to {length} frames"] += cut
        return self.sequences(examples, frames, vocabulary, notes)

    @abstractmethod
    def sequences(
        self, examples: Sequence[Spoken], frames: list[Float32[np.ndarray, "_ feature"]], ear: Ear, notes: Notes
    ) -> Sequences:
        """The frames on end, with what the head reads of them and the targets."""

    def head(self, width: int, dropout: float) -> LinearHead:
        pooled = self.pooling
        return PooledHead(width, self.outputs, dropout, pooled) if pooled else LinearHead(width, self.outputs, dropout)

    @property
    def outputs(self) -> int:
        """Scores for each thing that is read."""
        return len(self.labels)

    def raw(self, vocabulary: Ear) -> tuple[Ear, int]:
        ear = vocabulary.bare()
        return ear, ear.width


def on_end(
    frames: Sequence[Float32[np.ndarray, "_ feature"]],
    target: np.ndarray | None,
    target_of: Literal["sequence", "read"],
    read: Sequence[Int[np.ndarray, " _"]] | None = None,
) -> Sequences:
    """Frames on end; `read` are the positions of each that are read, None for all."""
    size = np.array([len(f) for f in frames], np.int64)
    offsets = np.concatenate([[0], np.cumsum(size)])
    read = [np.arange(n) for n in size.tolist()] if read is None else read
    return Sequences(
        ids=np.concatenate(frames),
        kind=np.zeros(offsets[-1], np.int64),
        offsets=offsets,
        owner=np.arange(len(size)),
        read=np.concatenate(read),
        read_offsets=np.concatenate([[0], np.cumsum([len(r) for r in read])]).astype(np.int64),
        target=target,
        target_of=target_of,
    )


def numbered(examples: Iterable[Spoken]) -> list[Spoken]:
    """Examples with keys of their own: where the same sound comes again, its number is added."""
    seen: dict[str, int] = {}
    found = []
    for example in examples:
        number = seen[example.key] = seen.get(example.key, 0) + 1
        found.append(example if number == 1 else replace(example, key=f"{example.key}-{number}"))
    return found


# ------------------------------------------------------------------------------------------ train, dev, test
def divided(
    name: str, c: config.Speech, examples: list[Spoken], notes: Notes, test: bool
) -> tuple[list[Spoken], list[Spoken], list[Spoken]]:
    """(train, dev, test) out of one source, as `c.apart` says. Without `test`, which is then empty, nothing is held out
    for it.
    """
    label_is_speaker = getattr(c, "label", "") == "speaker"
    speakers = {e.utterance.speaker for e in examples}
    apart = c.apart
    if apart == "auto":
        known = "" not in speakers and len(speakers) >= FEWEST and not label_is_speaker
        own = test and any(e.utterance.split == "test" for e in examples)
        if own and (not known or not _shared(examples)):
            apart = "source"
        else:
            apart = "speakers" if known else "utterances"
    if apart == "speakers" and ("" in speakers or len(speakers) < FEWEST):
        raise UserError(
            f"{name}: {len(speakers - {''})} speakers are known, and {FEWEST} are needed to keep them apart. Name the "
            "column, or the part of the pattern, that is the speaker; or choose apart utterances."
        )
    if apart == "source":
        parts = {part: [e for e in examples if e.utterance.split == part] for part in ("train", "dev", "test")}
        if not parts["train"] or (test and not parts["test"]):
            raise UserError(f"{name}: the source does not say what is train and what test. Choose apart speakers.")
        train, dev = parts["train"], parts["dev"]
        if not dev:  # a keyed part of train, by speakers where these are apart
            train, dev, _ = _held_out(train, by_speaker=not label_is_speaker and not _shared(examples), test=False)
        told, found = "divided as the source is", (train, dev, parts["test"])
    else:
        told = "divided by speakers" if apart == "speakers" else "divided by utterances"
        found = _held_out(examples, by_speaker=apart == "speakers", test=test)
    if not all(found[: 2 + test]):
        raise UserError(
            f"{name}: {len(examples)} utterances are too few to hold any out. Give more, or files for each."
        )
    notes.counts[f"utterances {told}"] = len(examples)
    log.info("%s: %s: %d to learn from, %d for dev, %d for test", name, told, *map(len, found))
    return found


def _shared(examples: Sequence[Spoken]) -> bool:
    """Whether a speaker is on two sides of the source's own division."""
    sides: dict[str, set[str]] = {}
    for example in examples:
        sides.setdefault(example.utterance.speaker, set()).add(example.utterance.split)
    return any(len(side) > 1 for side in sides.values())


def _held_out(examples: list[Spoken], by_speaker: bool, test: bool) -> tuple[list[Spoken], list[Spoken], list[Spoken]]:
    """A keyed choice of speakers, or of utterances, for test and for dev; at least one each."""
    if by_speaker and len({e.utterance.speaker for e in examples}) >= FEWEST:
        things = [Spoken(name, "", examples[0].utterance) for name in sorted({e.utterance.speaker for e in examples})]
        named = [e.utterance.speaker for e in examples]
    else:
        things, named = examples, [e.key for e in examples]
    order = [things[i].key for i in keyed_order(things, "speech apart")]
    for_test = max(1, round(TEST * len(order))) if test else 0
    for_dev = max(1, round(DEV * len(order)))
    away = dict.fromkeys(order[:for_test], 2) | dict.fromkeys(order[for_test : for_test + for_dev], 1)
    parts: tuple[list[Spoken], list[Spoken], list[Spoken]] = ([], [], [])
    for example, key in zip(examples, named, strict=True):
        parts[away.get(key, 0)].append(example)
    return parts


def mean_and_spread(examples: Sequence[Spoken]) -> Float[np.ndarray, "example feature"]:
    """Of 80 mel bands and their slopes, before anything is normalised: what a classifier without a network hears.

    At the rate of each file: nothing is resampled.
    """
    found = [_mean_and_spread(e.utterance.path, e.utterance.start, e.utterance.end) for e in examples]
    if len({len(x) for x in found}) > 1:
        raise UserError("the files have several sampling rates, some below 16 kHz. Resample them to one.")
    return np.stack(found)


@lru_cache(maxsize=100_000)  # every seed's choice of examples asks again
def _mean_and_spread(path: Path, start: float, end: float | None) -> Float[np.ndarray, " feature"]:
    import soundfile

    rate = soundfile.info(path).samplerate
    data = config.SpeechData(features="logmel", mels=80 if rate >= 16000 else 40, cmvn=False, sample_rate=rate)
    frames = next(Ear(data).frames([Utterance(path, start, end)]))
    slope = np.diff(frames, axis=0) if len(frames) > 1 else np.zeros_like(frames)
    return np.concatenate([part for x in (frames, slope) for part in (x.mean(0), x.std(0))]).astype(np.float64)
