"""Contrastive predictive coding (van den Oord et al. 2018): tell a frame ahead from others of the same utterance.

x′ is the past, x″ which of a few frames stands k steps on, close is InfoNCE (equation 4): with z the encoding of a
frame and c_t the state of the past, −log exp(z_{t+k}ᵀ W_k c_t) / Σ_j exp(z_jᵀ W_k c_t), over the true frame and
`negatives` others. Others come from the same utterance, so that the speaker does not give the answer away.
"""

from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from sesame import config
from sesame.data import chance
from sesame.data.batch import SpeechBatch
from sesame.data.speech import SpeechSet, SpeechStream, rows_of
from sesame.models.base import Backbone
from sesame.pretext.base import Loss, Pretext, Split, Term
from sesame.pretext.frame_spans import check


class Cpc(Pretext):
    """A linear encoder of frames, and a linear prediction of it for each step ahead."""

    def __init__(self, c: config.Cpc, backbone: Any, vocabulary: None = None):
        super().__init__()
        check("CPC", backbone, causal=True)
        self.config = c
        self.encoder = nn.Linear(backbone.config.features, c.width)
        self.predict = nn.ModuleList(nn.Linear(backbone.width, c.width, bias=False) for _ in range(c.ahead))

    def stream(self, data: SpeechSet, seed: int, rank: int = 0, world: int = 1) -> SpeechStream:
        return SpeechStream(data, seed, rank, world)

    def split(self, batch: SpeechBatch) -> Split:
        """Of every frame, which others of its utterance it stands among: any but itself, with equal chance."""
        rows, time = batch.frames.shape[:2]
        at, size = np.arange(time)[None, :, None], batch.frames_in[:, None, None]
        number = np.arange(self.config.negatives)
        drawn = chance.integers(
            np.maximum(size - 1, 1), "negatives", batch.seed, batch.epoch, batch.key[:, None, None], at, number
        )
        other = np.where(drawn >= at, np.minimum(drawn + 1, size - 1), drawn) + time * np.arange(rows)[:, None, None]
        count = int(sum(np.maximum(batch.frames_in - k, 0).sum() for k in range(1, self.config.ahead + 1)))
        frames_in = torch.from_numpy(batch.frames_in)
        target = {"other": torch.from_numpy(other), "frames_in": frames_in}
        return Split(rows_of(batch), target, {"cpc": count}, size=batch.size)

    def loss(self, backbone: Backbone, split: Split) -> Loss:
        """InfoNCE, summed over frames and steps ahead."""
        time = split.seen.example.shape[1]
        states, encoded = backbone(split.seen).last, self.encoder(split.seen.x)
        among = torch.cat([encoded[:, :, None], encoded.flatten(0, 1)[split.target["other"]]], 2)
        now = torch.arange(time, device=states.device)
        total, hits = states.new_zeros(()), torch.zeros((), dtype=torch.int64, device=states.device)
        for k, predict in enumerate(self.predict, start=1):
            there = now[: max(time - k, 0)] < split.target["frames_in"][:, None] - k
            predicted = predict(states[:, : max(time - k, 0)][there])
            scores = torch.einsum("fw,fnw->fn", predicted, among[:, k:][there]).float()
            true = torch.zeros(len(scores), dtype=torch.int64, device=scores.device)
            total = total + F.cross_entropy(scores, true, reduction="sum")
            hits = hits + (scores.argmax(-1) == 0).sum()
        return {"cpc": Term(total, split.count["cpc"], hits=hits)}
