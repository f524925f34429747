"""Speech: a folder of audio files as batches of log-mel frames, one utterance a row."""

import logging
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Int, UInt64

from sesame.config import SpeechData
from sesame.data import chance
from sesame.data.batch import Cursor, Rows, SpeechBatch, Step
from sesame.data.features import Features
from sesame.data.order import HELD_OUT_SEED, Order, hash_of, held_out, sampled
from sesame.data.sound import read_sound, resampled_size
from sesame.data.sources import AWAY, Skips, words_in
from sesame.data.utterance import Utterance
from sesame.data.utterances import utterances
from sesame.errors import UserError

log = logging.getLogger(__name__)

SHOWN = 9
"""Utterances of the picture."""


@dataclass(frozen=True)
class SpeechSet:
    """A source of speech, opened when it is first asked for, and how it is heard."""

    config: SpeechData
    skips: Skips = field(default_factory=Skips, init=False, repr=False, compare=False)
    """What was left out, once it is open."""

    @cached_property
    def utterances(self) -> list[Utterance]:
        found = utterances(self.config, self.skips)
        for reason, skip in self.skips.report().items():
            log.warning("%s: %d left out: %s (%s)", self.config.source, skip.count, reason, "; ".join(skip.examples))
        return found

    @cached_property
    def key(self) -> UInt64[np.ndarray, " utterance"]:
        return np.array([u.key for u in self.utterances], np.uint64)

    @cached_property
    def to_learn(self) -> Bool[np.ndarray, " utterance"]:
        """Which utterances pretraining has to do with: none that the source calls dev or test, unless all are."""
        away = np.array([bool(words_in(u.split) & AWAY) for u in self.utterances])
        if away.any() and not away.all():
            told = "%s: %d of %d utterances are its dev or test part, neither trained on nor held out"
            log.info(told, self.config.source, away.sum(), len(away))
            return ~away
        return np.ones(len(away), bool)

    @property
    def hash(self) -> str:
        """Of what is heard, in its order. Where the files lie and what is said of them are no part of it."""
        return hash_of(self.key[self.to_learn])

    @property
    def altered(self) -> str:
        return f"{self.config.source} holds other sounds than it did, as where files were added, removed or edited"

    @property
    def facts(self) -> dict[str, int]:
        return {"features": self.config.width}

    @cached_property
    def to_frames(self) -> Features:
        return Features(self.config)

    @property
    def libraries(self) -> dict[str, str]:
        """What the frames are computed with, besides torch."""
        return self.to_frames.libraries

    def features(self, utterance: Utterance) -> Float[np.ndarray, "frame feature"]:
        """All frames of an utterance."""
        return self.to_frames([self.sound(utterance)])[0]

    def sound(self, utterance: Utterance) -> Float[np.ndarray, " sample"]:
        """What is heard, at the rate of the recipe."""
        rate = self.config.sample_rate
        sound = read_sound(utterance.path, rate, utterance.start, utterance.end)
        if len(sound) != (promised := resampled_size(utterance.samples, utterance.rate, rate)):
            raise UserError(
                f"{utterance.where}: {promised / rate:.2f} s of sound were there at first, now it is "
                f"{len(sound) / rate:.2f}. The file was changed meanwhile. Start again."
            )
        return sound


class SpeechStream:
    """Utterances in keyed order; a tenth, by hash of content, is held out. The source's own dev and test are neither.

    Each utterance is normalised as a whole; one longer than a row is cut at a place that changes with the epoch.
    """

    def __init__(self, data: SpeechSet, seed: int, rank: int = 0, world: int = 1):
        c = data.config
        self.data, self.seed, self.rows, self.width = data, seed, c.rows, c.width
        self.key = data.key
        self.frames = np.minimum([u.frames for u in data.utterances], c.longest)
        away = held_out(self.key)
        ours = data.to_learn
        self.training, self.away = np.flatnonzero(ours & ~away), sampled(np.flatnonzero(ours & away), self.key)
        sizes_of = self.frames[self.training]
        self.order = Order(len(self.training), c.rows, seed, rank, world, sizes_of, c.bucket)

    def train(self, cursor: Cursor, step: int, steps: int, parts: int) -> Iterator[Step]:
        """Step after step from `cursor`, endlessly; `step` and `steps` mean nothing to speech."""
        for turn in self.order.turns(cursor, parts):
            batches = tuple(self.batch(self.training[part], self.seed, turn.epoch) for part in turn.mine)
            yield Step(batches, turn.cursor, int(self.frames[self.training[turn.whole]].sum()))

    def held_out(self, rows: int) -> Iterator[SpeechBatch]:
        """At most `rows` utterances that training never hears, a fair sample, the same for every run and process.

        They come sorted by length, so a part of them is none.
        """
        chosen = self.away[:rows]
        chosen = chosen[np.argsort(self.frames[chosen], kind="stable")]  # little padding
        for start in range(0, len(chosen), self.rows):
            yield self.batch(chosen[start : start + self.rows], HELD_OUT_SEED, epoch=0)

    def with_frames(self, most: int) -> int:
        """How many of the held-out utterances together have so many frames, at least."""
        return 1 + int(np.searchsorted(np.cumsum(self.frames[self.away]), most))

    def batch(self, utterance: Int[np.ndarray, " row"], seed: int, epoch: int) -> SpeechBatch:
        """The utterances of these numbers, as wide as the longest of them."""
        frames_in, key = self.frames[utterance], self.key[utterance]
        frames = np.zeros((len(utterance), int(frames_in.max()), self.width), np.float32)
        chosen = [self.data.utterances[number] for number in utterance.tolist()]
        for row, whole in enumerate(self.data.to_frames([self.data.sound(one) for one in chosen])):
            size = int(frames_in[row])
            start = cut_at(len(whole), size, seed, epoch, chosen[row].key)
            frames[row, :size] = whole[start : start + size]
        repeats = self.data.config.repeats
        return SpeechBatch(frames=frames, frames_in=frames_in, key=key, seed=seed, epoch=epoch, repeats=repeats)

    def picture(self) -> Any:
        """Spectrograms of some utterances."""
        from sesame.data.spectrograms import spectrograms

        return spectrograms(self.data.utterances, self.data.config, SHOWN)


def cut_at(whole: int, size: int, seed: int, epoch: int, key: int) -> int:
    """Where `size` frames of an utterance's `whole` begin: somewhere else each epoch."""
    return int(chance.integers(whole - size + 1, "cut", seed, epoch, key))


def rows_of(batch: SpeechBatch) -> Rows:
    """The batch as a backbone reads it: every utterance is one example, alone in its row."""
    rows, time = batch.frames.shape[:2]
    there = np.arange(time) < batch.frames_in[:, None]
    nothing = torch.zeros((rows, time), dtype=torch.int64)
    return Rows(
        x=torch.from_numpy(batch.frames),
        position=torch.arange(time).expand(rows, time) * torch.from_numpy(there),
        kind=nothing,
        example=torch.from_numpy(np.where(there, np.arange(rows)[:, None], -1)),
        alone=bool(there.all()),
    )
