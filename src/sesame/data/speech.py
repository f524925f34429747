"""Speech: a folder of audio files as batches of log-mel frames, one utterance a row."""

import logging
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int

from sesame.config import SpeechData
from sesame.data import chance
from sesame.data.batch import Cursor, Rows, SpeechBatch, Step
from sesame.data.features import Features
from sesame.data.order import HELD_OUT_SEED, Order, held_out
from sesame.data.sound import read_sound, resampled_size
from sesame.data.sources import Skips
from sesame.data.utterance import Utterance
from sesame.data.utterances import utterances
from sesame.errors import UserError

log = logging.getLogger(__name__)

SHOWN = 9
"""Utterances of the picture."""


class SpeechStream:
    """Utterances in keyed order; a tenth, by hash of content, is held out.

    Each utterance is normalised as a whole; one longer than a row is cut at a place that changes with the epoch.
    """

    def __init__(self, data: SpeechData, seed: int, rank: int = 0, world: int = 1):
        self.data, self.seed, self.skips = data, seed, Skips()
        self.to_frames = Features(data)
        self.utterances = utterances(data, self.skips)
        for reason, skip in self.skips.report().items():
            log.warning("%s: %d left out: %s (%s)", data.source, skip.count, reason, "; ".join(skip.examples))
        self.key = np.array([u.key for u in self.utterances], np.uint64)
        self.frames = np.minimum([u.frames for u in self.utterances], data.longest)
        away = held_out(self.key)
        self.training, self.away = np.flatnonzero(~away), np.flatnonzero(away)
        sizes_of = self.frames[self.training]
        self.order = Order(len(self.training), data.rows, seed, rank, world, sizes_of, data.bucket)

    def train(self, cursor: Cursor, step: int, steps: int, parts: int) -> Iterator[Step]:
        """Step after step from `cursor`, endlessly; `step` and `steps` mean nothing to speech."""
        for turn in self.order.turns(cursor, parts):
            batches = tuple(self.batch(self.training[part], self.seed, turn.epoch) for part in turn.mine)
            yield Step(batches, turn.cursor, int(self.frames[self.training[turn.whole]].sum()))

    def held_out(self, rows: int) -> Iterator[SpeechBatch]:
        """At most `rows` utterances that training never hears, the same for every run and process."""
        chosen = self.away[:rows]
        chosen = chosen[np.argsort(self.frames[chosen], kind="stable")]  # little padding
        for start in range(0, len(chosen), self.data.rows):
            yield self.batch(chosen[start : start + self.data.rows], HELD_OUT_SEED, epoch=0)

    def batch(self, utterance: Int[np.ndarray, " row"], seed: int, epoch: int) -> SpeechBatch:
        """The utterances of these numbers, as wide as the longest of them."""
        frames_in, key = self.frames[utterance], self.key[utterance]
        frames = np.zeros((len(utterance), int(frames_in.max()), self.data.width), np.float32)
        chosen = [self.utterances[number] for number in utterance.tolist()]
        for row, whole in enumerate(self.to_frames([self.sound(one) for one in chosen])):
            size = int(frames_in[row])
            start = cut_at(len(whole), size, seed, epoch, chosen[row].key)
            frames[row, :size] = whole[start : start + size]
        return SpeechBatch(frames=frames, frames_in=frames_in, key=key, seed=seed, epoch=epoch)

    def picture(self) -> Any:
        """Spectrograms of some utterances."""
        from sesame.data.spectrograms import spectrograms

        return spectrograms(self.utterances, self.data, SHOWN)

    def features(self, utterance: Utterance) -> Float[np.ndarray, "frame feature"]:
        """All frames of an utterance."""
        return self.to_frames([self.sound(utterance)])[0]

    def sound(self, utterance: Utterance) -> Float[np.ndarray, " sample"]:
        """What is heard, at the rate of the recipe."""
        rate = self.data.sample_rate
        sound = read_sound(utterance.path, rate, utterance.start, utterance.end)
        if len(sound) != (promised := resampled_size(utterance.samples, utterance.rate, rate)):
            raise UserError(
                f"{utterance.where}: {promised / rate:.2f} s of sound were there at first, now it is "
                f"{len(sound) / rate:.2f}. The file was changed meanwhile. Start again."
            )
        return sound


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
