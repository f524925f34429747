"""BEST-RQ (Chiu et al. 2022): predict the codes that a random projection gives to hidden frames.

x′ is an utterance with noise in place of spans of frames, x″ the codes of these frames, close is cross-entropy. A frame
x is normalised over its utterance, dimension by dimension, and has the code argmax_i cos(c_i, A x), where A (Xavier)
and the codebook c (normal) are drawn once and never learned (equation 1). Nothing here can collapse: the codes do not
follow the model.
"""

from dataclasses import replace
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from sesame import config
from sesame.data import chance
from sesame.data.batch import At, SpeechBatch
from sesame.data.speech import SpeechSet, SpeechStream, rows_of
from sesame.models.base import Backbone
from sesame.pretext.base import Loss, Pretext, Split
from sesame.pretext.codes import code_counts, code_terms
from sesame.pretext.frame_spans import check, hidden_frames


class BestRq(Pretext):
    """A linear layer from the states of hidden frames to the codes."""

    projection: Tensor
    codebook: Tensor

    def __init__(self, c: config.BestRq, backbone: Any, vocabulary: None = None):
        super().__init__()
        check("BEST-RQ", backbone, causal=False)
        self.config = c
        self.head = nn.Linear(backbone.width, c.codes)
        self.register_buffer("projection", nn.init.xavier_uniform_(torch.empty(backbone.config.features, c.code_width)))
        self.register_buffer("codebook", F.normalize(torch.randn(c.codes, c.code_width), dim=-1))

    def stream(self, data: SpeechSet, seed: int, rank: int = 0, world: int = 1) -> SpeechStream:
        return SpeechStream(data, seed, rank, world)

    def split(self, batch: SpeechBatch) -> Split:
        """Noise in place of the hidden frames, which alone are read."""
        hidden, frames = hidden_frames(batch, self.config), batch.frames.copy()
        row, time = np.nonzero(hidden)
        feature = np.arange(frames.shape[2])
        noise = chance.normal("noise", batch.seed, batch.epoch, batch.key[row, None], time[:, None], feature[None])
        frames[hidden] = (self.config.noise * noise).astype(frames.dtype)
        target = {"frames": torch.from_numpy(normalised(batch)[hidden])}
        counts = code_counts("best_rq", len(row))
        return Split(rows_of(replace(batch, frames=frames)), target, counts, At.of(hidden), batch.size)

    def loss(self, backbone: Backbone, split: Split) -> Loss:
        """Cross-entropy of the codes, summed over the hidden frames; beside it how the codes are used."""
        codes, scores = self.codes(split.target["frames"]), self.head(backbone(split.seen, split.where).last)
        return code_terms("best_rq", scores, codes)

    @torch.no_grad()
    def codes(self, frames: Float[Tensor, "frame feature"]) -> Int[Tensor, " frame"]:
        """The nearest code of each frame, by cosine: the codes have length 1, and the frame's own changes nothing.

        In single precision under autocast, too: in bfloat16 many of the nearest codes are as near as each other.
        """
        with torch.autocast(frames.device.type, enabled=False):
            return (frames.float() @ self.projection.float() @ self.codebook.float().T).argmax(-1)


def normalised(batch: SpeechBatch) -> Float[np.ndarray, "row time feature"]:
    """Every dimension of every utterance with mean 0 and variance 1 over its own frames; padding has no part in it."""
    there = (np.arange(batch.frames.shape[1]) < batch.frames_in[:, None])[:, :, None]
    count = batch.frames_in[:, None, None]
    mean = (batch.frames * there).sum(1, keepdims=True) / count
    away = (batch.frames - mean) * there
    spread = np.sqrt((away**2).sum(1, keepdims=True) / count)
    return (away / np.where(spread > 1e-5, spread, 1.0)).astype(batch.frames.dtype)
