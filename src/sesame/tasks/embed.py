"""Texts to vectors: the mean of a layer's states, or the states themselves."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float32, Int64
from torch import Tensor

from sesame.data.text import examples_of, rows_of
from sesame.engine.build import Model
from sesame.errors import UserError
from sesame.tasks.reading import name, reach, text_model

ROWS = 32
"""Rows that are read at once."""
NARROWEST = 128
"""Rows are no narrower than this (nor wider than the model reads), so that short texts share them."""

POOLING = "mean over all positions, [CLS] and [SEP] included"


@dataclass(frozen=True)
class TokenVectors:
    """A vector for every token of every text, without [CLS] and [SEP]."""

    vectors: Float32[np.ndarray, "token width"]
    ids: Int64[np.ndarray, " token"]
    offsets: Int64[np.ndarray, " edge"]
    """Text i has the tokens offsets[i] to offsets[i + 1]."""


@dataclass(frozen=True)
class Piece:
    """What one row holds of a text: all of it, unless it is longer than the model reads."""

    text: int
    start: int
    ids: Int64[np.ndarray, " token"]


def embed(model: Model, texts: Sequence[str], layer: int = -1) -> Float32[np.ndarray, "text width"]:
    """One vector a text: the mean over its positions, [CLS] and [SEP] included, of the states of `layer`.

    `layer` counts from the embeddings (0) or back from the last layer (-1). A text that is longer than the model
    reads is read in consecutive pieces, and the mean is over all of them: nothing is cut off.
    Raises UserError for an empty text and a layer that is not there.
    """
    pieces, _ = cut(model, texts)
    total = np.zeros((len(texts), text_model(model)[0].width), np.float32)
    count = np.zeros(len(texts), np.int64)
    for group, h, example in _states(model, pieces, layer):
        summed = torch.zeros(len(group), h.shape[-1], device=h.device)
        summed.index_add_(0, example[example >= 0], h[example >= 0])
        owner = [piece.text for piece in group]
        np.add.at(total, owner, summed.cpu().numpy())
        np.add.at(count, owner, [len(piece.ids) + 2 for piece in group])
    return total / count[:, None].astype(np.float32)


def embed_tokens(model: Model, texts: Sequence[str], layer: int = -1) -> TokenVectors:
    """A vector for every token of every text: the states of `layer`. Otherwise as `embed`."""
    pieces, sizes = cut(model, texts)
    offsets = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
    vectors = np.empty((int(offsets[-1]), text_model(model)[0].width), np.float32)
    ids = np.empty(len(vectors), np.int64)
    for group, h, example in _states(model, pieces, layer):
        for number, piece in enumerate(group):
            begin = offsets[piece.text] + piece.start
            here = slice(begin, begin + len(piece.ids))
            vectors[here] = h[example == number][1:-1].cpu().numpy()
            ids[here] = piece.ids
    return TokenVectors(vectors, ids, offsets)


def cut(model: Model, texts: Sequence[str]) -> tuple[list[Piece], list[int]]:
    """The pieces in which the model reads `texts`, and how many tokens each text has."""
    _, vocabulary = text_model(model)
    room = reach(model) - 2
    pieces: list[Piece] = []
    sizes = []
    for number, encoded in enumerate(vocabulary.encode_batch(texts)):
        ids = np.array(encoded, np.int64)
        if not len(ids):
            raise UserError(f"text {number + 1} is empty, and nothing has no vector. Leave empty texts out.")
        sizes.append(len(ids))
        pieces += [Piece(number, start, ids[start : start + room]) for start in range(0, len(ids), room)]
    return pieces, sizes


def _states(
    model: Model, pieces: Sequence[Piece], layer: int
) -> Iterator[tuple[list[Piece], Float32[Tensor, "row time width"], Int64[Tensor, "row time"]]]:
    """The pieces group by group, with their states, and for each position which of the group it belongs to, or -1."""
    backbone, vocabulary = text_model(model)
    layers = backbone.config.layers
    if not -layers - 1 <= layer <= layers:
        raise UserError(
            f"there is no layer {layer}: {name(model)} has 0 (the embeddings) to {layers}, "
            f"or counted from the end -1 to {-layers - 1}."
        )
    last = layer in (-1, layers)
    longest = max((len(piece.ids) + 2 for piece in pieces), default=0)
    length = min(reach(model), max(NARROWEST, longest))
    device = next(backbone.parameters()).device
    backbone.eval()
    for group in _groups(pieces, ROWS * length):
        batch, number = examples_of([piece.ids for piece in group], vocabulary, length)
        with torch.inference_mode():
            states = backbone(rows_of(batch).to(device), layers=not last)
        piece_of = np.append(np.argsort(number), -1)  # of each example; the last entry is for example -1, nothing
        yield (
            group,
            (states.last if last else states.layers[layer]).float(),
            torch.from_numpy(piece_of[batch.example]).to(device),
        )


def _groups(pieces: Sequence[Piece], positions: int) -> Iterator[list[Piece]]:
    """Consecutive pieces that together have about so many positions."""
    group: list[Piece] = []
    held = 0
    for piece in pieces:
        if group and held + len(piece.ids) + 2 > positions:
            yield group
            group, held = [], 0
        group.append(piece)
        held += len(piece.ids) + 2
    if group:
        yield group
