"""Held-out examples of any kind, and their states in every layer: what geometry is measured on."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from sesame import config
from sesame.data import chance
from sesame.data.batch import ImageBatch, Pixels, Rows, SpeechBatch, TextBatch
from sesame.data.cutting import Pieces
from sesame.data.encode import Encoder
from sesame.data.packing import pack
from sesame.data.sources import Skips, SourceOptions, documents
from sesame.data.speech import SpeechStream
from sesame.data.speech import rows_of as frames_of
from sesame.data.text import TextSet, assemble
from sesame.data.text import rows_of as tokens_of
from sesame.engine.build import Model
from sesame.errors import UserError
from sesame.models.base import Backbone
from sesame.models.encoder_decoder import EncoderDecoder
from sesame.models.transformer import Transformer
from sesame.probes.base import Ask
from sesame.probes.states import held_out_batches
from sesame.tasks.classification import segment_mean
from sesame.tasks.reading import TEXT

POSITIONS = 1 << 13
"""Positions that are read at once: what all layers' states of one forward pass may take."""


@dataclass(frozen=True)
class Part:
    """Some examples as a backbone reads them, and which of their positions are measured."""

    inputs: Rows | Pixels
    at: Int64[Tensor, " read"]
    """Positions that are text or sound, in the flattened rows; of images, which images."""
    example: Int64[np.ndarray, " read"]
    """The example that each belongs to, counted over all parts."""
    token: Int64[np.ndarray, " read"]
    """The token that stands there, where it is a whole word; -1 elsewhere."""
    special: Bool[Tensor, "row time"] | None = None
    """[CLS], [SEP] and padding, of text."""

    def __len__(self) -> int:
        """Things measured."""
        return len(self.token)


def held_out(model: Model, ask: Ask, most: int) -> list[Part]:
    """At most `most` positions (tokens without [CLS] and [SEP], frames, images) that training never sees.

    They are the same at every step. Of text, `ask.source` may be a file, a folder or pydocs instead: its first tokens.
    Raises UserError where there is nothing to read.
    """
    parts = ask.once(("held out", ask.source, most), lambda: list(_first(_parts(model, ask, most), most)))
    if not parts:
        raise UserError("The data hold nothing out to measure on. Add data, or prepare text with a larger --held-out.")
    return parts


def reader(model: Model) -> Backbone:
    """The backbone whose layers are measured: of an encoder-decoder, the encoder."""
    backbone = model.objective.backbone
    return backbone.encoder if isinstance(backbone, EncoderDecoder) else backbone


def layer_states(model: Model, part: Part) -> list[Float[Tensor, "read _"]]:
    """The states of every layer, from the embeddings (0) on, at the positions that are measured.

    Of a conv net, whose widths differ, the means of its feature maps over all places; of a ViT the class token's.
    """
    backbone = reader(model)
    inputs = on_device(part.inputs, backbone)
    with torch.no_grad():
        layers = backbone(inputs, layers=True).layers
    at = part.at.to(layers[0].device)
    if isinstance(inputs, Pixels):
        return [(h.mean((2, 3)) if h.dim() == 4 else h[:, 0])[at] for h in layers]
    return [h.flatten(0, 1)[at] for h in layers]


def example_means(part: Part, z: Float[Tensor, "read width"]) -> Float[Tensor, "example width"]:
    """The mean state of each example of a part, which has all positions of it."""
    examples, number = np.unique(part.example, return_inverse=True)
    return segment_mean(z, torch.from_numpy(number).to(z.device), len(examples))


def on_device(inputs: Any, backbone: Backbone) -> Any:
    """The inputs where the weights are, real numbers in their type."""
    weight = next(backbone.parameters())
    if inputs.x.is_floating_point():
        inputs = replace(inputs, x=inputs.x.to(weight.dtype))
    return inputs.to(weight.device)


# --------------------------------------------------------------------------------------------- what is read
def _first(parts: Iterator[Part], most: int) -> Iterator[Part]:
    """Parts until they have `most` things, the last one without what is too much."""
    for part in parts:
        kept = min(len(part), most)
        most -= kept
        if kept:
            yield replace(part, at=part.at[:kept], example=part.example[:kept], token=part.token[:kept])
        if not most:
            return


def _parts(model: Model, ask: Ask, most: int) -> Iterator[Part]:
    before = 0
    for batch in _batches(model, ask, most):
        whole = part_of(batch)
        size = 1 if isinstance(whole.inputs, Pixels) else whole.inputs.x.shape[1]
        rows = max(1, min(POSITIONS, most) // size)
        for start in range(0, len(whole.inputs.x), rows):
            yield _cut(whole, start, start + rows, size, before)
        before += len(batch.key)


def _batches(model: Model, ask: Ask, most: int) -> Iterator[Any]:
    if isinstance(reader(model), TEXT) and model.vocabulary is not None and ask.source:
        return _from_file(model, ask.source, most)
    if ask.source:
        raise UserError(f"{ask.source}: this probe measures held-out images and sound. Leave the file out.")
    if ask.data is None:
        raise UserError("The data of this model are not known here. Give text to measure on: --probe NAME=FILE.")
    if isinstance(ask.data, TextSet):
        return iter(held_out_batches(ask.data, 1 + 2 * most // ask.data.config.length))
    stream = ask.once(("held out", "stream"), lambda: model.objective.pretext.stream(ask.data, 0))
    return stream.held_out(stream.with_frames(most) if isinstance(stream, SpeechStream) else most)


def part_of(batch: TextBatch | SpeechBatch | ImageBatch) -> Part:
    """All of a batch."""
    if isinstance(batch, ImageBatch):
        every = np.arange(batch.size)
        pixels = Pixels(torch.from_numpy(batch.pixels).float() / 255.0)  # as the views of BYOL count them
        return Part(pixels, torch.from_numpy(every), every, np.full(batch.size, -1))
    if isinstance(batch, SpeechBatch):
        rows = frames_of(batch)
        there = rows.valid.numpy()
        example = rows.example.numpy()[there]
        return Part(rows, torch.from_numpy(np.flatnonzero(there)), example, np.full(len(example), -1))
    text = ~batch.special
    ends = np.ones(text.shape, bool)  # whether the word, if it began here, ends here
    ends[:, :-1] = batch.word[:, 1:] | batch.special[:, 1:]
    token = np.where(batch.word & ends, batch.ids, -1)[text]
    at = torch.from_numpy(np.flatnonzero(text))
    return Part(tokens_of(batch), at, batch.example[text], token, torch.from_numpy(batch.special))


def _cut(whole: Part, start: int, stop: int, size: int, before: int) -> Part:
    """Some rows of a part; its examples are numbered after `before` others."""
    here = (whole.at >= start * size) & (whole.at < stop * size)
    inputs: Rows | Pixels
    if isinstance(whole.inputs, Pixels):
        inputs = Pixels(whole.inputs.x[start:stop])
    else:
        names = ("x", "position", "kind", "example")
        inputs = replace(whole.inputs, **{name: getattr(whole.inputs, name)[start:stop] for name in names})
    special = None if whole.special is None else whole.special[start:stop]
    kept = here.numpy()
    return Part(inputs, whole.at[here] - start * size, whole.example[kept] + before, whole.token[kept], special)


def _from_file(model: Model, source: str, most: int) -> Iterator[TextBatch]:
    """The first documents of some text that together have `most` tokens, cut where the model reads no further."""
    backbone, vocabulary = reader(model), model.vocabulary
    assert vocabulary is not None
    data = model.data
    if isinstance(data, config.TextData):
        length = data.length
    else:
        assert isinstance(backbone, Transformer)
        length = backbone.config.positions
    encoder = Encoder(vocabulary)
    ids, flags, starts, sizes = [], [], [], []
    total = 0
    for document in documents([source], SourceOptions(), Skips()):
        encoded = encoder([document.text])
        ids.append(encoded.ids)
        flags.append(encoded.flags)
        for start in range(0, len(encoded.ids), length - 2):
            starts.append(total + start)
            sizes.append(min(length - 2, len(encoded.ids) - start))
        total += len(encoded.ids)
        if total >= most:
            break
    if not total:
        raise UserError(f"{Path(source)}: no text to measure on.")
    key = chance.bits("probe text", np.arange(len(starts)))
    pieces = Pieces.singles(np.array(starts, np.int64), np.array(sizes, np.int64), key)
    rows, together = pack(pieces.sizes, length), max(1, min(POSITIONS, most) // length)
    for first in range(0, len(rows), together):
        chosen = rows[first : first + together]
        yield assemble(chosen, pieces, np.concatenate(ids), np.concatenate(flags), vocabulary, length)
