"""A stack of GRUs over frames (Cho et al. 2014), with residual connections between the layers (Chung et al. 2019).

It reads from left to right. Rows are taken apart for it: every example begins with an empty state.
"""

import torch.nn.functional as F
from torch import nn

from sesame import config
from sesame.data.batch import At, Rows
from sesame.models.base import Backbone, States
from sesame.models.segments import apart, in_rows


class Gru(Backbone):
    """h_1 = GRU(x); h_l = GRU(h_{l-1}) + h_{l-1}. There are no embeddings: the first layer reads the frames."""

    def __init__(self, c: config.Gru):
        super().__init__()
        self.config, self.width = c, c.width
        self.blocks = nn.ModuleList(
            nn.GRU(c.width if number else c.features, c.width, batch_first=True) for number in range(c.layers)
        )

    @property
    def depth(self) -> int:
        """The layers alone: frames have another width."""
        return self.config.layers

    def forward(self, inputs: Rows, at: At | None = None, layers: bool = False) -> States:
        """States of every position, or of those in `at`."""
        places, _, there, _ = apart(inputs.example)
        h, kept = inputs.x.flatten(0, 1)[places], []
        for number, block in enumerate(self.blocks):
            out, _ = block(F.dropout(h, self.config.dropout, self.training))  # what is after an example is not read
            h = out + h if number else out
            if layers or number == self.config.layers - 1:
                kept.append(in_rows(h, places, there, inputs.example.shape))
        last = kept[-1] if at is None else kept[-1].flatten(0, 1)[at.places(inputs.x.shape[1])]
        return States(last, tuple(kept) if layers else (), inputs.valid)
