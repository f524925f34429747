"""What a model on speech reads with: utterances as frames, and when each frame sounds."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar, Literal

import msgspec
import numpy as np
from jaxtyping import Float, Float32, Int

from sesame import config
from sesame.data.features import Features
from sesame.data.sound import read_sound
from sesame.data.utterance import Span, Utterance
from sesame.models.upstream import Upstream

Pooling = Literal["mean", "statistics"]
"""What a head reads of an utterance, of `config.SpokenClass.pooling`."""
WINDOW, HOP = 0.025, 0.01
"""Of a frame, in seconds."""


@dataclass(frozen=True)
class Ear:
    """Hears as a recipe's data say. Where it stands for a tokenizer, silence fills what is empty."""

    data: config.SpeechData
    pad: ClassVar[int] = 0

    @cached_property
    def features(self) -> Features:
        return Features(self.data)

    @property
    def width(self) -> int:
        """Numbers in a frame."""
        return self.data.width

    def frames(
        self, utterances: Sequence[Utterance], pooling: Pooling | None = None
    ) -> Iterator[Float32[np.ndarray, "_ feature"]]:
        """The frames of each; none of one that is shorter than a frame.

        `pooling`: no more will be read than this, so one that makes no other use of them may give frames that have it.
        """
        rate = self.data.sample_rate
        for u in utterances:
            yield self.heard(read_sound(u.path, rate, u.start, u.end), pooling)

    def heard(
        self, sound: Float32[np.ndarray, " sample"], pooling: Pooling | None
    ) -> Float32[np.ndarray, "frame feature"]:
        """The frames of a sound."""
        if self.features.frames_in(len(sound)) < 1:
            return np.zeros((0, self.width), np.float32)
        return self.features([sound])[0].astype(np.float32, copy=False)

    def seconds(self, count: int) -> Float[np.ndarray, " frame"]:
        """The middle of each of the first `count` frames, counted from the beginning of the utterance."""
        number = np.arange(count)
        if self.data.features == "wave":
            return (number + 0.5) * self.data.stack / self.data.sample_rate
        middle = 0.0 if self.data.features == "whisper" else WINDOW / 2  # Whisper's frames are centred on their hop
        return (number * self.data.stack + (self.data.stack - 1) / 2) * HOP + middle

    def bare(self) -> "Ear":
        """The features of the field that no network made: 80 mel bands as Kaldi computes them, their slopes and the
        slopes of these, normalised per utterance (SUPERB's FBANK; Yang et al. 2021, section 3)."""
        rate = self.data.sample_rate
        bands = 80 if rate >= 16000 else min(self.data.bands, 40)  # what a lower rate's spectrum can fill
        plain = config.SpeechData(features="fbank", mels=bands, deltas=2, sample_rate=rate)
        return Ear(msgspec.structs.replace(plain, length=self.data.length))


@dataclass(frozen=True)
class Listener(Ear):
    """Hears through a network that is not trained: frames are the states of all its layers. Where their mean and
    deviation are all that is read it keeps no more, for the states are 70 times the corpus: one frame, or two that are
    as far from the mean as the deviation, to both sides."""

    network: Upstream

    def heard(
        self, sound: Float32[np.ndarray, " sample"], pooling: Pooling | None
    ) -> Float32[np.ndarray, "frame feature"]:
        states = self.network.hear(sound)
        if pooling is None or not len(states):
            return states
        mean = states.mean(0, keepdims=True)
        if pooling == "mean":
            return mean
        deviation = states.std(0, keepdims=True)
        return np.concatenate([mean - deviation, mean + deviation])

    def seconds(self, count: int) -> Float[np.ndarray, " frame"]:
        return (np.arange(count) * self.network.hop + self.network.window / 2) / self.data.sample_rate


def sounding(spans: Sequence[Span], seconds: Float[np.ndarray, " frame"]) -> Int[np.ndarray, " frame"]:
    """Which of the spans (in order of time) sounds at each moment; -1 for none."""
    starts, ends = np.array([s.start for s in spans]), np.array([s.end for s in spans])
    if not len(spans):
        return np.full(len(seconds), -1)
    found = np.searchsorted(starts, seconds, side="right") - 1
    return np.where((found >= 0) & (seconds < ends[found]), found, -1)
