"""Mockingjay (Liu et al. 2020): recover hidden spans of frames from both sides.

x′ is an utterance with spans of frames hidden, x″ these frames, close is the absolute difference. An utterance's spans
are all hidden in one way: mostly behind zeros, sometimes behind other frames of the utterance, sometimes not at all,
so that what is not hidden must be good as well (section 2.2).
"""

from dataclasses import replace
from typing import Any, ClassVar

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import nn

from sesame import config
from sesame.data import chance
from sesame.data.batch import At, SpeechBatch
from sesame.data.speech import SpeechSet, SpeechStream, rows_of
from sesame.models.base import Backbone
from sesame.pretext.base import Loss, Pretext, Split, Term
from sesame.pretext.frame_spans import check, covered, span_starts


class Mockingjay(Pretext):
    """The published head: a dense layer with GELU and a norm, then a linear one to the frame."""

    name: ClassVar[str] = "mockingjay"

    def __init__(self, c: config.Mockingjay, backbone: Any, vocabulary: None = None):
        super().__init__()
        check(type(self).__name__, backbone, causal=False)
        self.config = c
        width = backbone.width
        self.head = nn.Sequential(
            nn.Linear(width, width), nn.GELU(), nn.LayerNorm(width), nn.Linear(width, backbone.config.features)
        )

    def stream(self, data: SpeechSet, seed: int, rank: int = 0, world: int = 1) -> SpeechStream:
        return SpeechStream(data, seed, rank, world)

    def split(self, batch: SpeechBatch) -> Split:
        """Read the frames of which anything is hidden."""
        frames, hidden = self.hide(batch)
        read: np.ndarray = np.asarray(hidden.any(-1))
        target = {"frames": torch.from_numpy(batch.frames[read]), "hidden": torch.from_numpy(hidden[read])}
        rows = rows_of(replace(batch, frames=frames))
        return Split(rows, target, {self.name: int(hidden.sum())}, At.of(read), batch.size)

    def hide(
        self, batch: SpeechBatch
    ) -> tuple[Float[np.ndarray, "row time feature"], Bool[np.ndarray, "row time feature"]]:
        """x′, and which numbers of it are to be recovered."""
        c, frames = self.config, batch.frames.copy()
        hidden = np.zeros(frames.shape, bool)
        way = chance.uniform("hide how", batch.seed, batch.epoch, batch.key)
        for row, size in enumerate(batch.frames_in.tolist()):
            at = covered(span_starts(batch, row, c), c.span, size)
            hidden[row, at] = True
            if way[row] < c.mask:
                frames[row, at] = 0.0
            elif way[row] < c.mask + c.random:
                other = covered(span_starts(batch, row, c, "other spans"), c.span, size)
                frames[row, at] = batch.frames[row, other]
        return frames, hidden

    def loss(self, backbone: Backbone, split: Split) -> Loss:
        """The absolute difference, summed over what is hidden."""
        difference = self.head(backbone(split.seen, split.where).last) - split.target["frames"]
        return {self.name: Term((difference.abs() * split.target["hidden"]).sum(), split.count[self.name])}
