"""TERA (Liu et al. 2021): Mockingjay that hides in time and in frequency.

Beside the spans of frames, a block of neighbouring bands is zero throughout the utterance: its width is uniform from 0
to a fifth of the bands, its place uniform (section III-C, frequency alteration). Of stacked frames and of slopes it is
the same, or what is hidden would stand beside itself. Magnitude alteration, the third and optional one, is not here.
"""

from typing import ClassVar

import numpy as np
from jaxtyping import Bool, Float

from sesame import config
from sesame.data import chance
from sesame.data.batch import SpeechBatch
from sesame.pretext.mockingjay import Mockingjay


class Tera(Mockingjay):
    """Both alterations are undone by the same head."""

    name: ClassVar[str] = "tera"
    config: config.Tera

    def hide(
        self, batch: SpeechBatch
    ) -> tuple[Float[np.ndarray, "row time feature"], Bool[np.ndarray, "row time feature"]]:
        """x′, and which numbers of it are to be recovered: frames of spans, and bands."""
        frames, hidden = super().hide(batch)
        bands, words = frames.shape[2] // batch.repeats, (batch.seed, batch.epoch, batch.key)
        width = chance.integers(int(bands * self.config.bands) + 1, "bands", *words)
        start = chance.integers(bands - width + 1, "first band", *words)
        band = np.arange(bands)
        for row, size in enumerate(batch.frames_in.tolist()):
            block = np.tile((start[row] <= band) & (band < start[row] + width[row]), batch.repeats)
            frames[row, :size, block] = 0.0
            hidden[row, :size, block] = True
        return frames, hidden
