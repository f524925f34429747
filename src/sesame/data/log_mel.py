"""Sound to log-mel frames: 25 ms windows every 10 ms, Hann, power spectrum, HTK mel triangles, natural logarithm.

Frames lie wholly inside the sound, so a frame depends on its own samples and on nothing around them.
"""

from functools import lru_cache

import numpy as np
from jaxtyping import Float

from sesame.errors import UserError

FLOOR = 1e-10
"""Power below which everything is silence."""


class LogMel:
    """The frames of sound at one sample rate."""

    def __init__(self, sample_rate: int, mels: int):
        self.window_size, self.hop = sample_rate * 25 // 1000, sample_rate // 100
        self.fft_size = 1 << (self.window_size - 1).bit_length()
        turn = 2.0 * np.pi * np.arange(self.window_size) / self.window_size  # periodic, as for spectra
        self.window = 0.5 - 0.5 * np.cos(turn)
        self.filters = mel_filters(self.fft_size // 2 + 1, mels, sample_rate)

    def frames_in(self, samples: int) -> int:
        """How many frames so many samples make."""
        return 0 if samples < self.window_size else 1 + (samples - self.window_size) // self.hop

    def __call__(self, sound: Float[np.ndarray, " sample"]) -> Float[np.ndarray, "frame mel"]:
        """The frames of one sound with samples in [-1, 1]; at least one window long."""
        windows = np.lib.stride_tricks.sliding_window_view(sound.astype(np.float64), self.window_size)[:: self.hop]
        power = np.abs(np.fft.rfft(windows * self.window, self.fft_size)) ** 2
        return np.log(np.maximum(power @ self.filters, FLOOR)).astype(np.float32)


@lru_cache
def mel_filters(bins: int, mels: int, sample_rate: int) -> Float[np.ndarray, "bin mel"]:
    """Triangles of height 1, even on HTK's scale 2595 log10(1 + f/700), from 0 Hz to half the sample rate."""
    top = 2595.0 * np.log10(1.0 + sample_rate / 2 / 700.0)
    corner = 700.0 * (10.0 ** (np.linspace(0.0, top, mels + 2) / 2595.0) - 1.0)
    hertz = np.linspace(0.0, sample_rate / 2, bins)[:, None]
    rising = (hertz - corner[:-2]) / (corner[1:-1] - corner[:-2])
    falling = (corner[2:] - hertz) / (corner[2:] - corner[1:-1])
    filters = np.maximum(0.0, np.minimum(rising, falling))
    if (empty := int((filters.max(0) == 0.0).sum())) > 0:
        raise UserError(
            f"{mels} mel bands are too many at {sample_rate} Hz: {empty} of them are narrower than the spectrum's "
            "resolution and would hold nothing. Take fewer (--data.mels)."
        )
    return filters


def normalised(frames: Float[np.ndarray, "frame mel"]) -> Float[np.ndarray, "frame mel"]:
    """Every band of one utterance with mean 0 and variance 1, which takes out the loudness and the channel."""
    spread = frames.std(0)
    return (frames - frames.mean(0)) / np.where(spread > 1e-5, spread, 1.0)
