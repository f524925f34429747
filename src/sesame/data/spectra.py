"""The frames of one sound: log-mel, Kaldi's fbank and MFCC, Whisper's log-mel; 25 ms windows every 10 ms.

A sound is computed by itself, so its frames do not depend, to the last bit, on what else is in its batch. numpy does
what comes before and after the spectrum: threads of torch wait at work for a while and hold up those of `mel_compiled`.
"""

from math import gcd

import numpy as np
from jaxtyping import Float

from sesame.data.mel import Bands, Scale, frames_in, mel_filters
from sesame.data.mel_power import mel_power


class Spectra:
    """What all have in common: frames that lie wholly inside the sound, power spectrum, mel filters, a logarithm."""

    scale: Scale = "htk"
    lowest = 0.0
    """Hz, where the first filter begins."""
    silence = 1e-10
    """The power below which everything is silence."""

    def __init__(self, sample_rate: int, mels: int):
        self.size, self.hop = sample_rate * 25 // 1000, sample_rate // 100
        fft_size = self._fft_size()
        filters = mel_filters(fft_size // 2 + 1, mels, sample_rate, self.scale, self.lowest)
        self.level = mel_power(Bands(self._window(), fft_size, self.hop, filters, self.logarithm))

    def frames_in(self, samples: int) -> int:
        """How many frames so many samples make."""
        return frames_in(samples, self.size, self.hop)

    def __call__(self, sound: Float[np.ndarray, " sample"]) -> Float[np.ndarray, "frame feature"]:
        """The frames of one sound with samples in [-1, 1]; at least one window long."""
        return self.finished(self.level(*self.prepared(sound)))

    def prepared(
        self, sound: Float[np.ndarray, " sample"]
    ) -> tuple[Float[np.ndarray, " _"], Float[np.ndarray, " frame"] | None]:
        """The sound that windows are cut from, and what is taken from all samples of each."""
        return sound, None

    def logarithm(self, mel: Float[np.ndarray, "some mel"]) -> None:
        """Natural, in place; of a few frames at a time."""
        np.maximum(mel, np.float32(self.silence), out=mel)
        np.log(mel, out=mel)

    def finished(self, level: Float[np.ndarray, "frame mel"]) -> Float[np.ndarray, "frame feature"]:
        """What is made of the logarithms of the whole sound."""
        return level

    def _fft_size(self) -> int:
        return 1 << (self.size - 1).bit_length()

    def _window(self) -> Float[np.ndarray, " size"]:
        return _hann(self.size + 1)[:-1]


class LogMel(Spectra):
    """Hann windows, HTK's triangles, natural logarithm."""


class Fbank(Spectra):
    """Kaldi's `compute-fbank-feats` without dither: int16 scale, each frame without its mean and pre-emphasised."""

    scale: Scale = "kaldi"
    lowest = 20.0
    silence = float(np.finfo(np.float32).eps)
    EMPHASIS = 0.97

    def prepared(
        self, sound: Float[np.ndarray, " sample"]
    ) -> tuple[Float[np.ndarray, " sample"], Float[np.ndarray, " frame"]]:
        """y_i − .97 y_(i−1) with y the frame without its mean is x_i − .97 x_(i−1) − .03 mean.

        The first sample would come before itself (y_0 − .97 y_0); the window is 0 there.
        """
        emphasised = np.empty(len(sound))
        emphasised[:1] = sound[:1]
        np.multiply(sound[:-1], -self.EMPHASIS, out=emphasised[1:], dtype=np.float64)
        emphasised[1:] += sound[1:]
        part = gcd(self.size, self.hop)  # windows share sums of so many samples
        sums = sound[: len(sound) // part * part].reshape(-1, part).sum(1, dtype=np.float64)
        total = np.lib.stride_tricks.sliding_window_view(sums, self.size // part)[:: self.hop // part].sum(1)
        return emphasised, (1.0 - self.EMPHASIS) / self.size * total

    def _window(self) -> Float[np.ndarray, " size"]:
        """Povey's, Hann to the power of 0.85, symmetric; and to int16's scale."""
        return 32768.0 * _hann(self.size) ** 0.85


class Mfcc(Fbank):
    """Kaldi's `compute-mfcc-feats --use-energy=false`: a cosine transform of the fbank, liftered."""

    LIFTER = 22.0

    def __init__(self, sample_rate: int, mels: int, cepstra: int):
        super().__init__(sample_rate, mels)
        k, n = np.arange(cepstra), np.arange(mels)[:, None]
        cosine = np.cos(np.pi / mels * (n + 0.5) * k) * np.sqrt(np.where(k == 0, 1.0, 2.0) / mels)
        lifter = 1.0 + self.LIFTER / 2 * np.sin(np.pi * k / self.LIFTER)
        self.transform = cosine * lifter

    def finished(self, level: Float[np.ndarray, "frame mel"]) -> Float[np.ndarray, "frame feature"]:
        return (level.astype(np.float64) @ self.transform).astype(np.float32)


class WhisperLogMel(Spectra):
    """Whisper's (Radford et al. 2022): frames centred, the sound mirrored at its ends, 80 dB below the loudest band.

    The loudest band is that of the whole utterance, which is never padded to 30 seconds.
    """

    scale: Scale = "slaney"

    def frames_in(self, samples: int) -> int:
        half = self.size // 2
        return 0 if samples <= half else super().frames_in(samples + 2 * half - self.hop)

    def prepared(self, sound: Float[np.ndarray, " sample"]) -> tuple[Float[np.ndarray, " longer"], None]:
        half = self.size // 2
        mirrored = np.concatenate([sound[half:0:-1], sound, sound[-2 : -half - 2 : -1]])
        return mirrored[: -self.hop], None  # its last frame is left out

    def logarithm(self, mel: Float[np.ndarray, "some mel"]) -> None:
        """To base 10, and (x + 4) / 4."""
        super().logarithm(mel)
        mel *= np.float32(0.25 / np.log(10.0))
        mel += np.float32(1.0)

    def finished(self, level: Float[np.ndarray, "frame mel"]) -> Float[np.ndarray, "frame feature"]:
        return np.maximum(level, level.max() - np.float32(2.0), out=level)

    def _fft_size(self) -> int:
        return self.size


class Wave:
    """The samples themselves, a frame each."""

    def frames_in(self, samples: int) -> int:
        return samples

    def __call__(self, sound: Float[np.ndarray, " sample"]) -> Float[np.ndarray, "frame 1"]:
        return sound[:, None]


def _hann(size: int) -> Float[np.ndarray, " {size}"]:
    """Symmetric."""
    return 0.5 - 0.5 * np.cos(2.0 * np.pi / (size - 1) * np.arange(size))
