"""Small speech batches and backbones for the tests of speech tasks."""

from typing import Any

import numpy as np
import torch

from sesame import config, models, pretext
from sesame.data.batch import SpeechBatch
from sesame.pretext.base import Objective

FEATURES = 20
BOTH_SIDES = config.Transformer(
    input="frames", features=FEATURES, layers=2, width=32, heads=2, ffn=64, positions=256, kinds=0
)
FROM_LEFT = config.Gru(features=FEATURES, layers=2, width=32)


def objective(task: Any, backbone: Any = BOTH_SIDES) -> Objective:
    torch.manual_seed(0)
    built = models.build(backbone)
    return Objective(built, pretext.build(task, built, None)).eval()


def batch(lengths: tuple[int, ...] = (90, 47, 4), epoch: int = 0, first: int = 0) -> SpeechBatch:
    """Utterances of these lengths, with keys from `first` on; what an utterance holds follows from its key."""
    frames = np.zeros((len(lengths), max(lengths), FEATURES), np.float32)
    for row, size in enumerate(lengths):
        frames[row, :size] = np.random.default_rng(first + row).standard_normal((size, FEATURES))
    keys = np.arange(first, first + len(lengths), dtype=np.uint64)
    return SpeechBatch(frames=frames, frames_in=np.array(lengths), key=keys, seed=0, epoch=epoch)
