"""Sounds to frames of features, as `config.SpeechData` says."""

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from sesame.config import SpeechData
from sesame.data.spectra import Fbank, LogMel, Mfcc, Spectra, Wave, WhisperLogMel
from sesame.errors import UserError


class Features:
    """`Features(data)(sounds)`: the frames of each sound, [frame, data.width], normalised if `data.cmvn`.

    With `features="fbank", deltas=2` they are the 240 numbers of SUPERB's FBANK (Yang et al. 2021).
    """

    def __init__(self, data: SpeechData):
        self.data = data
        self.spectra = _spectra(data)

    @property
    def libraries(self) -> dict[str, str]:
        """The versions of what computes the frames, besides torch: their last bits depend on it."""
        return {} if isinstance(self.spectra, Wave) else self.spectra.level.libraries

    def frames_in(self, samples: int) -> int:
        """How many frames so many samples (at `data.sample_rate`) make."""
        return self.spectra.frames_in(samples) // self.data.stack

    def __call__(self, sounds: Sequence[Float[np.ndarray, "_"]]) -> list[Float[np.ndarray, "_ feature"]]:
        return self.normalised(self.raw(sounds))

    def raw(self, sounds: Sequence[Float[np.ndarray, "_"]]) -> list[Float[np.ndarray, "_ feature"]]:
        """The same, neither normalised nor stacked."""
        return [self._raw(sound) for sound in sounds]

    def normalised(self, raw: Sequence[Float[np.ndarray, "_ feature"]]) -> list[Float[np.ndarray, "_ wider"]]:
        """What `raw` gave, normalised if `data.cmvn`, and so many on end in one as `data.stack` says."""
        return [stacked(normalised(frames) if self.data.cmvn else frames, self.data.stack) for frames in raw]

    def _raw(self, sound: Float[np.ndarray, " sample"]) -> Float[np.ndarray, "frame feature"]:
        frames = self.spectra(np.ascontiguousarray(sound))
        if not self.data.deltas:
            return frames
        parts = [torch.from_numpy(frames)]
        for _ in range(self.data.deltas):
            parts.append(deltas(parts[-1]))
        joined: np.ndarray = torch.cat(parts, 1).numpy()
        return joined


def deltas(frames: Float[Tensor, "frame feature"]) -> Float[Tensor, "frame feature"]:
    """The slope of each feature over five frames, Σ n (x_(t+n) − x_(t−n)) / 10; the ends are repeated.

    The slope of slopes is this applied twice, as torchaudio and SUPERB do; Kaldi's differs in the outermost frames.
    """
    last = len(frames)
    longer = torch.cat([frames[:1], frames[:1], frames, frames[-1:], frames[-1:]])
    return (longer[3 : 3 + last] - longer[1 : 1 + last] + 2.0 * (longer[4:] - longer[:last])) / 10.0


def normalised(frames: Float[np.ndarray, "frame feature"]) -> Float[np.ndarray, "frame feature"]:
    """Every feature of one utterance with mean 0 and variance 1; what never changes stays 0, thanks to the 1e-7."""
    x = torch.from_numpy(frames)
    x = x - x.mean(0)
    x -= x.mean(0)  # what rounding left of it
    scaled: np.ndarray = x.mul_(x.square().mean(0).add_(1e-7).rsqrt_()).numpy()
    return scaled


def stacked(frames: Float[np.ndarray, "frame feature"], count: int) -> Float[np.ndarray, "fewer wider"]:
    """`count` frames on end side by side in one; what is left at the end is dropped."""
    kept = len(frames) // count
    return frames[: kept * count].reshape(kept, -1)


def _spectra(data: SpeechData) -> Spectra | Wave:
    if data.features == "wave":
        return Wave()
    if data.features == "mfcc":
        if data.cepstra > data.bands:
            raise UserError(
                f"{data.cepstra} cepstra cannot be made of {data.bands} mel bands. "
                "Take at most as many (--data.cepstra)."
            )
        return Mfcc(data.sample_rate, data.bands, data.cepstra)
    kind = {"logmel": LogMel, "fbank": Fbank, "whisper": WhisperLogMel}[data.features]
    return kind(data.sample_rate, data.bands)
