"""Sounds to frames of features, as `config.SpeechData` says."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from sesame.config import SpeechData
from sesame.data.log_mel import LogMel, normalised


class Features:
    """`Features(data)(sounds)`: the frames of each sound, [frame, data.width], normalised if `data.cmvn`."""

    def __init__(self, data: SpeechData):
        self.data = data
        self.log_mel = LogMel(data.sample_rate, data.bands)

    def frames_in(self, samples: int) -> int:
        """How many frames so many samples (at `data.sample_rate`) make."""
        return self.log_mel.frames_in(samples) // self.data.stack

    def __call__(self, sounds: Sequence[Float[np.ndarray, "_"]]) -> list[Float[np.ndarray, "_ feature"]]:
        return self.normalised(self.raw(sounds))

    def normalised(self, raw: Sequence[Float[np.ndarray, "_ feature"]]) -> list[Float[np.ndarray, "_ wider"]]:
        """What `raw` gave, normalised if `data.cmvn`, and so many on end in one as `data.stack` says."""
        return [stacked(normalised(frames) if self.data.cmvn else frames, self.data.stack) for frames in raw]

    def raw(self, sounds: Sequence[Float[np.ndarray, "_"]]) -> list[Float[np.ndarray, "_ feature"]]:
        """The same, neither normalised nor stacked."""
        return [self.log_mel(sound) for sound in sounds]


def stacked(frames: Float[np.ndarray, "frame feature"], count: int) -> Float[np.ndarray, "fewer wider"]:
    """`count` frames on end side by side in one; what is left at the end is dropped."""
    kept = len(frames) // count
    return frames[: kept * count].reshape(kept, -1)
