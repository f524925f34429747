"""Mel filters: triangles over the bins of a spectrum, evenly spaced to the ear, in the three ways that are in use."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import numpy as np
from jaxtyping import Float

from sesame.errors import UserError

Scale = Literal["htk", "kaldi", "slaney"]


@dataclass(frozen=True)
class Bands:
    """What power in mel bands is made with."""

    window: Float[np.ndarray, " size"]
    fft_size: int
    hop: int
    filters: Float[np.ndarray, "bin mel"]
    then: Callable[[np.ndarray], None]
    """Done to the bands of some frames, in place."""


def frames_in(samples: int, size: int, hop: int) -> int:
    """Windows of `size` samples, one every `hop`, that lie wholly inside."""
    return 0 if samples < size else 1 + (samples - size) // hop


@lru_cache
def mel_filters(
    bins: int, mels: int, sample_rate: int, scale: Scale, lowest: float = 0.0
) -> Float[np.ndarray, "bin mel"]:
    """From `lowest` Hz to half the sample rate.

    htk: 2595 log10(1 + f/700), straight sides over Hz, height 1. kaldi: 1127 ln(1 + f/700), sides straight over mel.
    slaney (Auditory Toolbox; librosa and Whisper): linear up to 1000 Hz, straight sides over Hz, area 1.
    """
    hertz = np.linspace(0.0, sample_rate / 2, bins)
    corner = np.linspace(_mel(np.array(lowest), scale), _mel(np.array(sample_rate / 2), scale), mels + 2)
    if scale == "kaldi":
        place = _mel(hertz, scale)
    else:
        place, corner = hertz, _hertz(corner, scale)
    left, middle, right = corner[:-2], corner[1:-1], corner[2:]
    rising = (place[:, None] - left) / (middle - left)
    falling = (right - place[:, None]) / (right - middle)
    filters = np.maximum(0.0, np.minimum(rising, falling))
    if (empty := int((filters.max(0) == 0.0).sum())) > 0:
        raise UserError(
            f"{mels} mel bands are too many at {sample_rate} Hz: {empty} of them are narrower than the spectrum's "
            "resolution and would hold nothing. Take fewer (--data.mels)."
        )
    return filters * (2.0 / (right - left)) if scale == "slaney" else filters


_KNEE, _STEP, _RATIO = 15.0, 200.0 / 3.0, np.log(6.4) / 27.0  # slaney: 1000 Hz are 15 mel, 6400 Hz are 27 more


def _mel(hertz: np.ndarray, scale: Scale) -> np.ndarray:
    if scale == "htk":
        return np.asarray(2595.0 * np.log10(1.0 + hertz / 700.0))
    if scale == "kaldi":
        return np.asarray(1127.0 * np.log1p(hertz / 700.0))
    above = _KNEE + np.log(np.maximum(hertz, 1000.0) / 1000.0) / _RATIO
    return np.where(hertz < 1000.0, hertz / _STEP, above)


def _hertz(mel: np.ndarray, scale: Scale) -> np.ndarray:
    if scale == "htk":
        return np.asarray(700.0 * (10.0 ** (mel / 2595.0) - 1.0))
    return np.where(mel < _KNEE, mel * _STEP, 1000.0 * np.exp((np.maximum(mel, _KNEE) - _KNEE) * _RATIO))
