"""Next-sentence and sentence-order prediction: were these two segments neighbours, and in this order?

Both read the pooled state of an example's first position. Next-sentence prediction (Devlin et al. 2019, 3.1) tells a
true continuation from a run of another document; sentence order (Lan et al. 2020, 3.1) tells it from the same two
segments swapped.
Class 0 is the true pair in both, as in BERT's published checkpoints.
"""

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from sesame import config
from sesame.data.cutting import ELSEWHERE, IN_ORDER, NEIGHBOURS, SWAPPED

WRONG = {"next_sentence": ELSEWHERE, "sentence_order": SWAPPED}
"""What each task has to tell from a pair in order."""
NEEDS = {"next_sentence": "next", "sentence_order": "order"}
"""The relation that `cut_pairs` must build for it."""


class Pooler(nn.Module):
    """tanh(W h + b) of an example's first state."""

    def __init__(self, width: int):
        super().__init__()
        self.dense = nn.Linear(width, width)

    def forward(self, h: Float[Tensor, "example width"]) -> Float[Tensor, "example width"]:
        return torch.tanh(self.dense(h))


def relations(c: config.Pretext) -> frozenset[str]:
    """Those that `cut_pairs` must build for a task; none where its examples are single segments."""
    found = frozenset(need for task, need in NEEDS.items() if getattr(c, task, 0.0) > 0)
    return found or frozenset({NEIGHBOURS} if getattr(c, "pairs", False) else ())


def labels(pair: Int[np.ndarray, " example"], task: str) -> Int[np.ndarray, " example"]:
    """0 in order, 1 wrong in the way of `task`, -1 where the task has nothing to say."""
    return np.where(pair == IN_ORDER, 0, np.where(pair == WRONG[task], 1, -1))
