"""The frames of one sound: log-mel, Kaldi's fbank and MFCC, Whisper's log-mel; 25 ms windows every 10 ms.

Spectra are computed in double precision and everything after them in single: the quiet bands of a loud frame drown in
single precision (errors of 0.01 in the logarithm), and the transform is a third of the time. Windows go through in
blocks that stay in the processor's cache. A sound is computed by itself, so its frames do not depend, to the last bit,
on what else is in its batch.
"""

from collections.abc import Iterator

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from sesame.data.mel import Scale, mel_filters

BLOCK = 512
"""Frames that are transformed at once."""
BANDS = 27
"""Filters that are applied at once, to no more bins than they reach: most of the matrix of filters is zero."""


class Spectra:
    """What all have in common: frames that lie wholly inside the sound, power spectrum, mel filters."""

    scale: Scale = "htk"
    lowest = 0.0
    """Hz, where the first filter begins."""

    def __init__(self, sample_rate: int, mels: int):
        self.size, self.hop = sample_rate * 25 // 1000, sample_rate // 100
        self.fft_size = self._fft_size()
        self.window = self._window()
        filters = mel_filters(self.fft_size // 2 + 1, mels, sample_rate, self.scale, self.lowest)
        self.mels, self.groups = mels, list(_groups(torch.from_numpy(filters).float()))

    def frames_in(self, samples: int) -> int:
        """How many frames so many samples make."""
        return self._windows_in(samples)

    def __call__(self, sound: Float[Tensor, " sample"]) -> Float[Tensor, "frame feature"]:
        """The frames of one sound with samples in [-1, 1]; at least one window long."""
        return self.logarithm(self.mel(sound.double()))

    def logarithm(self, mel: Float[Tensor, "frame mel"]) -> Float[Tensor, "frame feature"]:
        """Natural; below a power of 1e-10 everything is silence."""
        return mel.clamp_min_(1e-10).log_()

    def mel(self, sound: Float[Tensor, " sample"]) -> Float[Tensor, "frame mel"]:
        """Power in every band, of each window that fits."""
        frames = self._windows_in(len(sound))
        mel = torch.empty(frames, self.mels)
        most = min(frames, BLOCK)
        windows = torch.zeros(most, self.fft_size, dtype=sound.dtype)  # zeros stay behind each window
        power = torch.empty(most, self.fft_size // 2 + 1, 2)
        for start in range(0, frames, BLOCK):
            count = min(BLOCK, frames - start)
            first = start * self.hop
            self.cut(sound[first : first + self.size + (count - 1) * self.hop], windows[:count, : self.size])
            power[:count].copy_(torch.view_as_real(torch.fft.rfft(windows[:count]))).square_()
            flat = power[:count].flatten(1)
            for low, high, band, filters in self.groups:
                torch.mm(flat[:, low:high], filters, out=mel[start : start + count, band : band + filters.shape[1]])
        return mel

    def cut(self, sound: Float[Tensor, " sample"], windows: Float[Tensor, "frame size"]) -> None:
        """Put the windows of `sound` where they are wanted."""
        torch.mul(sound.unfold(0, self.size, self.hop), self.window, out=windows)

    def _windows_in(self, samples: int) -> int:
        return 0 if samples < self.size else 1 + (samples - self.size) // self.hop

    def _fft_size(self) -> int:
        return 1 << (self.size - 1).bit_length()

    def _window(self) -> Float[Tensor, " size"]:
        return torch.hann_window(self.size, dtype=torch.float64)


class LogMel(Spectra):
    """Hann windows, HTK's triangles, natural logarithm."""


class Fbank(Spectra):
    """Kaldi's `compute-fbank-feats` without dither: int16 scale, each frame without its mean and pre-emphasised."""

    scale: Scale = "kaldi"
    lowest = 20.0
    EMPHASIS = 0.97

    def logarithm(self, mel: Float[Tensor, "frame mel"]) -> Float[Tensor, "frame feature"]:
        return mel.clamp_min_(torch.finfo(torch.float32).eps).log_()

    def cut(self, sound: Float[Tensor, " sample"], windows: Float[Tensor, "frame size"]) -> None:
        """w (y_i − .97 y_(i−1)) with y the frame without its mean, so w (x_i − .97 x_(i−1) − .03 mean).

        The first sample would come before itself (y_0 − .97 y_0); the window is 0 there.
        """
        mean = sound.unfold(0, self.size, self.hop).mean(1, keepdim=True)
        emphasised = sound.clone()
        emphasised[1:].sub_(sound[:-1], alpha=self.EMPHASIS)
        super().cut(emphasised, windows)
        windows.addcmul_(mean, self.window, value=self.EMPHASIS - 1.0)

    def _window(self) -> Float[Tensor, " size"]:
        """Povey's, Hann to the power of 0.85, symmetric; and to int16's scale."""
        return torch.hann_window(self.size, periodic=False, dtype=torch.float64).pow_(0.85).mul_(32768.0)


class Mfcc(Fbank):
    """Kaldi's `compute-mfcc-feats --use-energy=false`: a cosine transform of the fbank, liftered."""

    LIFTER = 22.0

    def __init__(self, sample_rate: int, mels: int, cepstra: int):
        super().__init__(sample_rate, mels)
        k, n = np.arange(cepstra), np.arange(mels)[:, None]
        cosine = np.cos(np.pi / mels * (n + 0.5) * k) * np.sqrt(np.where(k == 0, 1.0, 2.0) / mels)
        lifter = 1.0 + self.LIFTER / 2 * np.sin(np.pi * k / self.LIFTER)
        self.transform = torch.from_numpy(cosine * lifter)

    def logarithm(self, mel: Float[Tensor, "frame mel"]) -> Float[Tensor, "frame feature"]:
        return (super().logarithm(mel).double() @ self.transform).float()


class WhisperLogMel(Spectra):
    """Whisper's (Radford et al. 2022): frames centred, the sound mirrored at its ends, 80 dB below the loudest band.

    The loudest band is that of the whole utterance, which is never padded to 30 seconds.
    """

    scale: Scale = "slaney"

    def frames_in(self, samples: int) -> int:
        half = self.size // 2
        return 0 if samples <= half else self._windows_in(samples + 2 * half - self.hop)

    def __call__(self, sound: Float[Tensor, " sample"]) -> Float[Tensor, "frame feature"]:
        half = self.size // 2
        mirrored = torch.nn.functional.pad(sound.double()[None], (half, half), mode="reflect")[0]
        return self.logarithm(self.mel(mirrored[: -self.hop]))  # its last frame is left out

    def logarithm(self, mel: Float[Tensor, "frame mel"]) -> Float[Tensor, "frame feature"]:
        level = mel.clamp_min_(1e-10).log10_()
        return level.clamp_min_(level.max() - 8.0).add_(4.0).mul_(0.25)

    def _fft_size(self) -> int:
        return self.size


class Wave:
    """The samples themselves, a frame each."""

    def frames_in(self, samples: int) -> int:
        return samples

    def __call__(self, sound: Float[Tensor, " sample"]) -> Float[Tensor, "frame 1"]:
        return sound[:, None]


def _groups(filters: Float[Tensor, "bin mel"]) -> Iterator[tuple[int, int, int, Tensor]]:
    """Neighbouring filters, with the first number that they reach, the one after the last, and their place."""
    both = filters.repeat_interleave(2, 0)  # real and imaginary part side by side
    for band in range(0, filters.shape[1], BANDS):
        group = both[:, band : band + BANDS]
        reached = group.any(1).nonzero()
        low, high = int(reached[0]), int(reached[-1]) + 1
        yield low, high, band, group[low:high].contiguous()
