"""Autoregressive predictive coding (Chung et al. 2019): the frame `ahead` steps on, from those up to now.

x′ is the past, x″ a frame of the future, close is the absolute difference. Several steps on, since neighbouring frames
are so alike that repeating the last one would do.
"""

import logging
from typing import Any

import numpy as np
import torch
from torch import nn

from sesame import config
from sesame.data.batch import At, SpeechBatch
from sesame.data.speech import SpeechSet, SpeechStream, rows_of
from sesame.errors import UserError
from sesame.models.base import Backbone
from sesame.pretext.base import Loss, Pretext, Split, Term
from sesame.pretext.frame_spans import check

log = logging.getLogger(__name__)


class Apc(Pretext):
    """A linear head on a causal Transformer or a GRU over frames."""

    def __init__(self, c: config.Apc, backbone: Any, vocabulary: None = None):
        super().__init__()
        check("APC", backbone, causal=True)
        self.config = c
        self.head = nn.Linear(backbone.width, backbone.config.features)

    def stream(self, data: SpeechSet, seed: int, rank: int = 0, world: int = 1) -> SpeechStream:
        """As of every speech task. Raises UserError where no utterance of training has a frame to predict."""
        stream, ahead = SpeechStream(data, seed, rank, world), self.config.ahead
        sizes = stream.frames[stream.training]
        if not (sizes > ahead).any():
            raise UserError(
                f"{data.config.source}: no training utterance has more than {ahead} frames, and APC predicts the frame "
                f"{ahead} steps on. Give longer ones or rows (--data.length), or look less far ahead (--pretext.ahead)."
            )
        if short := int((sizes <= ahead).sum()):
            told = "%d of %d training utterances have no more than %d frames: nothing of them is predicted"
            log.info(told, short, len(sizes), ahead)
        return stream

    def split(self, batch: SpeechBatch) -> Split:
        """Read every position whose future is real: padding is neither read nor predicted."""
        ahead, (_, time, features) = self.config.ahead, batch.frames.shape
        read = np.arange(time) < batch.frames_in[:, None] - ahead
        row, now = np.nonzero(read)
        future = torch.from_numpy(batch.frames[row, now + ahead])
        return Split(rows_of(batch), {"future": future}, {"apc": len(row) * features}, At.of(read), batch.size)

    def loss(self, backbone: Backbone, split: Split) -> Loss:
        """The absolute difference, summed over the predicted frames and their bands."""
        predicted = self.head(backbone(split.seen, split.where).last)
        return {"apc": Term((predicted - split.target["future"]).abs().sum(), split.count["apc"])}
