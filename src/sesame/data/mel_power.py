"""Power in mel bands of the windows of a sound, in double precision up to the spectrum and in single after it.

The quiet bands of a loud frame drown in single precision (errors of 0.01 in the logarithm).
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from sesame.data.mel import Bands, frames_in

if TYPE_CHECKING:
    from sesame.data.mel_compiled import CompiledMelPower

BLOCK = 512
"""Windows that are transformed at once; so many stay in the processor's cache."""
BANDS = 27
"""Filters that are applied at once, to no more bins than they reach: most of the matrix of filters is zero."""


def mel_power(bands: Bands) -> "MelPower | CompiledMelPower":
    """`MelPower(bands)`, or the compiled one where numba is installed and can transform windows of this size."""
    try:
        from sesame.data import mel_compiled
    except (ImportError, RuntimeError):  # RuntimeError: no folder can be written to, to keep what is compiled
        return MelPower(bands)
    fitting = mel_compiled.fits(len(bands.window), bands.fft_size)
    return mel_compiled.CompiledMelPower(bands) if fitting else MelPower(bands)


class MelPower:
    """Power in every band, of each window of `sound` that fits; `shift` is taken from all samples of its window."""

    libraries: ClassVar[dict[str, str]] = {}

    def __init__(self, bands: Bands):
        self.window, self.fft_size, self.hop = torch.from_numpy(bands.window), bands.fft_size, bands.hop
        self.then, self.mels = bands.then, bands.filters.shape[1]
        self.groups = list(_groups(torch.from_numpy(bands.filters).float()))

    def __call__(
        self, sound: Float[np.ndarray, " sample"], shift: Float[np.ndarray, " frame"] | None = None
    ) -> Float[np.ndarray, "frame mel"]:
        size = len(self.window)
        frames = frames_in(len(sound), size, self.hop)
        mel, samples = torch.empty(frames, self.mels), torch.from_numpy(sound).double()
        most = min(frames, BLOCK)
        windows = torch.zeros(most, self.fft_size, dtype=torch.float64)  # zeros stay behind each window
        power = torch.empty(most, self.fft_size // 2 + 1, 2)
        for start in range(0, frames, BLOCK):
            count = min(BLOCK, frames - start)
            some = samples[start * self.hop : (start + count - 1) * self.hop + size]
            cut = torch.mul(some.unfold(0, size, self.hop), self.window, out=windows[:count, :size])
            if shift is not None:
                minus = torch.from_numpy(shift[start : start + count, None])
                cut.addcmul_(minus, self.window, value=-1.0)
            power[:count].copy_(torch.view_as_real(torch.fft.rfft(windows[:count]))).square_()
            flat = power[:count].flatten(1)
            for low, high, band, filters in self.groups:
                torch.mm(flat[:, low:high], filters, out=mel[start : start + count, band : band + filters.shape[1]])
        made: np.ndarray = mel.numpy()
        self.then(made)
        return made


def _groups(filters: Float[Tensor, "bin mel"]) -> Iterator[tuple[int, int, int, Tensor]]:
    """Neighbouring filters, with the first number that they reach, the one after the last, and their place."""
    both = filters.repeat_interleave(2, 0)  # real and imaginary part side by side
    for band in range(0, filters.shape[1], BANDS):
        group = both[:, band : band + BANDS]
        reached = group.any(1).nonzero()
        low, high = int(reached[0]), int(reached[-1]) + 1
        yield low, high, band, group[low:high].contiguous()
