"""An encoder-decoder that learns to write texts for texts: how it reads both, and what it writes."""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from sesame.data.batch import Movable, Rows
from sesame.data.layout import Layout, within
from sesame.data.packing import pack
from sesame.data.tokenizer import Vocabulary
from sesame.models.encoder_decoder import EncoderDecoder
from sesame.tasks.greedy import greedy
from sesame.tasks.network import Network, groups_of
from sesame.tasks.sequences import Sequences


@dataclass(frozen=True, kw_only=True)
class Pairs(Sequences):
    """Sequences for an encoder, with what a decoder reads and writes beside each."""

    given: Int[np.ndarray, " written"]
    """What the decoder reads: what was written so far. All pairs on end."""
    written: Int[np.ndarray, " written"]
    """What it is to write next; -1 where it is not asked."""
    written_offsets: Int[np.ndarray, " edge"]
    """Pair i has the tokens written_offsets[i] to written_offsets[i + 1]; none where the target is not known."""
    vocabulary: Vocabulary
    most: int
    """Tokens that are written at most."""


@dataclass(frozen=True)
class PairBatch(Movable):
    """Some pairs in two layouts."""

    rows: tuple[Rows, Rows]
    at: Int[Tensor, " written"]
    """Where, counted through the decoder's rows, the next token is asked for."""
    target: Int[Tensor, " written"]
    count: int
    """Tokens that are to be written."""


class Writer(Network):
    """The backbone alone: what it writes with, its shared embedding, it has already."""

    backbone: EncoderDecoder

    def __init__(self, backbone: EncoderDecoder):
        nn.Module.__init__(self)
        self.backbone = backbone

    def forward(self, batch: PairBatch) -> tuple[Float[Tensor, "written width"], Float[Tensor, "vocab width"] | None]:
        """The decoder's states where a token is to be written, and the embeddings that turn them into scores."""
        states = self.backbone(batch.rows)
        return states.last.flatten(0, 1)[batch.at], states.vocabulary

    def batch(self, sequences: Pairs, chosen: Int[np.ndarray, " chosen"], pad: int) -> PairBatch:
        """The `chosen` pairs, several in a row where they fit the longest source."""
        size, length = sequences.lengths[chosen], np.diff(sequences.written_offsets)[chosen]
        row = np.empty(len(chosen), np.int64)
        rows = pack(size, int(size.max()))
        for number, members in enumerate(rows):
            row[members] = number
        layout = Layout(row, len(rows), pad)
        source = np.repeat(sequences.offsets[chosen], size) + within(size)
        target = np.repeat(sequences.written_offsets[chosen], length) + within(length)
        encoder, _ = layout.write(sequences.ids[source], within(size), size)
        decoder, at = layout.write(sequences.given[target], within(length), length)
        asked = sequences.written[target] >= 0
        written = torch.from_numpy(sequences.written[target][asked])
        return PairBatch((encoder, decoder), torch.from_numpy(at[asked]), written, len(written)).to(self.device)

    def scores(self, sequences: Pairs, pad: int) -> Int[np.ndarray, "sequence most"]:
        """The ids that are written for every source, as many columns as the longest has; -1 after the end of each."""
        self.eval()
        texts: list[list[int]] = [[]] * len(sequences)
        for chosen in groups_of(sequences.lengths):
            sources = [sequences.ids[sequences.offsets[i] : sequences.offsets[i + 1]] for i in chosen]
            found = greedy(self.backbone, sequences.vocabulary, sources, sequences.most)
            for number, text in zip(chosen, found, strict=True):
                texts[number] = text
        table = np.full((len(texts), max(map(len, texts), default=0)), -1, np.int64)
        for number, text in enumerate(texts):
            table[number, : len(text)] = text
        return table
