"""Denoising: an encoder reads damaged text, a decoder writes the text, or what is missing from it (BART, MASS, T5).

x′ is the damaged text in the encoder and, in the decoder, what was to be written so far; x″ is its next token.

    original   [SEP] [CLS] a b c d       → [CLS] a b c d [SEP]           (BART: Lewis et al. 2020)
    missing    [SEP] <0> b c <1>         → <0> b c <1> [SEP]             (T5: Raffel et al. 2020, 3.1.4)
    fragment   a b, where they stand     → b c                           (MASS: Song et al. 2019)

A vocabulary without a start token (T5's own) has no [CLS] around its texts, and [PAD] before the decoder's first token.
"""

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from sesame import config
from sesame.data.batch import TextBatch
from sesame.data.layout import Layout, within
from sesame.data.text import TextSet, TextStream
from sesame.data.tokenizer import Vocabulary
from sesame.errors import UserError
from sesame.models.base import Backbone
from sesame.models.encoder_decoder import EncoderDecoder
from sesame.pretext.base import Loss, Pretext, Split, Term
from sesame.pretext.corruptions import HIDE_NOTHING, Marks, Texts, corrupt, most_spans
from sesame.pretext.cross_entropy import linear_cross_entropy


class Denoising(Pretext):
    """No head of its own: the output projection is the shared embedding matrix."""

    def __init__(self, c: config.Denoising, backbone: Backbone, vocabulary: Vocabulary):
        super().__init__()
        _check(c, backbone, vocabulary)
        self.config, self.vocabulary = c, vocabulary
        self.marks = Marks.of(vocabulary, c.corruptions)
        self.in_place = _in_place(c)

    def stream(self, data: TextSet, seed: int, rank: int = 0, world: int = 1) -> TextStream:
        place = None if self.vocabulary.begin else self.vocabulary.pad  # of a start token: `split` frames texts anew
        stream = TextStream(data.store, data.config, frozenset(), seed, rank, world, begin=place)
        longest = data.config.longest - 2
        for c in self.config.corruptions:
            have = len(self.marks.sentinels)
            if isinstance(c, config.SpanCorruption) and (need := most_spans(c, longest)) > have:
                raise UserError(
                    f"rows of {longest + 2} may need {need} sentinels, one for each hidden span and one at the end, "
                    f"and the vocabulary has {have}. Pass --data.sentinels {need}, shorter rows, or longer spans."
                )
        return stream

    # -------------------------------------------------------------------------------- x -> x′, x″
    def split(self, batch: TextBatch) -> Split:
        inside = ~batch.special
        text = Texts.of(
            batch.ids[inside], batch.example[inside], batch.sentence[inside], batch.key, batch.epoch, batch.seed
        )
        seen, missing, given = corrupt(text, self.config.corruptions, self.marks)
        first, sep = next(iter(self.vocabulary.begin), None), self.vocabulary.sep
        if self.config.target == "original":
            written, size = framed(text, sep, first)
        else:
            assert missing is not None, "checked when the task was made"
            written, size = (missing.ids, missing.sizes) if self.in_place else framed(missing, sep)
        position = within(size)
        late = np.where(position == 0, self.vocabulary.decoder_begin, np.roll(written, 1))
        if self.in_place and missing is not None:
            late, position = tokens_before(missing, given, self.vocabulary.cls), missing.origin
        layout = Layout.of(batch, self.vocabulary.pad)
        read, length = framed(seen, sep, first)
        encoder, _ = layout.write(read, within(length), length)
        decoder, at = layout.write(late, position, size)
        target = {"at": torch.from_numpy(at), "written": torch.from_numpy(written)}
        return Split((encoder, decoder), target, {"denoising": len(written)}, size=batch.size)

    def logits(self, backbone: EncoderDecoder, h: Float[Tensor, "*where width"]) -> Float[Tensor, "*where vocab"]:
        return F.linear(h, backbone.decoder.vocabulary)

    def loss(self, backbone: EncoderDecoder, split: Split) -> Loss:
        states = backbone(split.seen)
        h = states.last.flatten(0, 1)[split.target["at"]]
        total, hits = linear_cross_entropy(h, states.vocabulary, None, split.target["written"])
        return {"denoising": Term(total, split.count["denoising"], hits=hits)}


def _in_place(c: config.Denoising) -> bool:
    """Whether the fragment is written where it stands (MASS)."""
    return c.target == "missing" and isinstance(c.corruptions[-1], config.FragmentMasking)


def _check(c: config.Denoising, backbone: Backbone, vocabulary: Vocabulary) -> None:
    """Raise UserError for a model, a target or a vocabulary that the task cannot be done with."""
    if not isinstance(backbone, EncoderDecoder):
        raise UserError("Denoising reads one text and writes another, so its backbone must be an encoder-decoder.")
    if not c.corruptions:
        raise UserError("pretext.corruptions is empty: there is nothing to mend. Name one corruption or more.")
    if c.target == "missing" and isinstance(c.corruptions[-1], HIDE_NOTHING):
        raise UserError(
            f"--pretext.target missing: nothing is missing after {type(c.corruptions[-1]).__struct_config__.tag}, the "
            "last corruption. Choose --pretext.target original."
        )
    if _in_place(c) and not vocabulary.begin:
        raise UserError(
            "Fragment masking (MASS) gives the decoder the token before a fragment, and this vocabulary has no start "
            "token to stand before a text's first. Choose span corruption, or a vocabulary that has one."
        )
    if any(isinstance(k, config.SpanCorruption) for k in c.corruptions) and not len(vocabulary.sentinels):
        raise UserError(
            "Span corruption puts sentinel tokens (<extra_id_0> …) in the place of text, and the vocabulary has none. "
            "Pass --data.sentinels 100, which adds them."
        )


# ----------------------------------------------------------------------------------------------- tokens
def framed(
    x: Texts, last: int, first: int | None = None
) -> tuple[Int[np.ndarray, " token"], Int[np.ndarray, " example"]]:
    """The ids of each example with `last` after them, and `first` before them where it is given; and their numbers."""
    lead = int(first is not None)
    size = x.sizes + lead + 1
    place, end = within(size), np.repeat(size, size) - 1
    ids = np.where(place == end, last, -1 if first is None else first)
    ids[(place >= lead) & (place < end)] = x.ids
    return ids, size


def tokens_before(missing: Texts, given: Texts, cls: int) -> Int[np.ndarray, " token"]:
    """The token that stands before each missing one in the text that it is missing from; [CLS] before the first.

    The paper masks what the encoder can see in the decoder; like the authors' code, this keeps the one token before the
    fragment, which is the decoder's first.
    """
    begin = np.cumsum(given.sizes) - given.sizes
    before = begin[missing.owner] + missing.origin - 1
    return np.where(missing.origin > 0, given.ids[np.maximum(before, 0)], cls) if len(before) else missing.ids
