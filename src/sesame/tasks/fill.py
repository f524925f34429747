"""Fill the [MASK]s of a text with what the model expects there."""

import logging
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Int

from sesame.data.batch import At
from sesame.data.text import examples_of, rows_of
from sesame.engine.build import Model
from sesame.errors import UserError
from sesame.pretext.bert import Bert
from sesame.tasks.reading import name, reach, text_model

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Guess:
    token: str
    probability: float


@dataclass(frozen=True)
class Filled:
    """The guesses for every [MASK] of a text."""

    masks: tuple[tuple[Guess, ...], ...]
    """For each [MASK], in order, the most probable tokens. All masks are guessed at once, each as if the others
    were still hidden."""
    text: str
    """What was read, with the best guess in the place of every [MASK], as the tokenizer writes it."""
    tokens: int
    """Tokens of the text."""
    read: tuple[int, int]
    """Which of them were read: from, to. All, unless the text is longer than the model reads."""


def fill(model: Model, text: str, k: int = 5) -> Filled:
    """The `k` most probable tokens for each [MASK] in `text`, of all the vocabulary.

    Of a text that is longer than the model reads, a window around the masks is read, and a warning says so.
    Raises UserError where there is no [MASK], where they stand too far apart for one window, and for a model that
    was not trained to fill.
    """
    backbone, vocabulary = text_model(model)
    pretext = model.objective.pretext
    if not isinstance(pretext, Bert) or pretext.config.masked_lm == 0:
        raise UserError(
            f"{name(model)} was not trained by masked language modelling, so it cannot fill a [MASK]. Choose a BERT."
        )
    if not 1 <= k <= vocabulary.size:
        raise UserError(f"{k} guesses were asked for. Ask for 1 to {vocabulary.size}, the size of the vocabulary.")
    mask, written = vocabulary.mask, text.replace("[MASK]", vocabulary.special["mask"])
    ids = np.array(vocabulary.encode_batch([written], special=True)[0], np.int64)
    masked = np.flatnonzero(ids == mask)
    if not len(masked):
        raise UserError(
            f"there is no [MASK] in the text {_short(text)!r}. Write [MASK] where a word is to be filled in."
        )
    tokens = len(ids)
    start, stop = window(masked, tokens, reach(model) - 2)
    if stop - start < tokens:
        log.warning("the text has %d tokens; only %d to %d, around its masks, are read", tokens, start, stop)
    ids = ids[start:stop]

    batch, _ = examples_of([ids], vocabulary, len(ids) + 2)
    at = At.of(batch.ids == mask)
    backbone.eval()
    device = backbone.embed.token.weight.device
    with torch.inference_mode():
        states = backbone(rows_of(batch).to(device), at.to(device))
        probability = pretext.logits(backbone, states.last).float().softmax(-1)
        probability, best = probability[:, : vocabulary.size].topk(k)  # an embedding may have rows that are no token
    guesses = tuple(
        tuple(Guess(vocabulary.decode([i]), p) for i, p in zip(row_ids, row, strict=True))
        for row_ids, row in zip(best.tolist(), probability.tolist(), strict=True)
    )
    ids[ids == mask] = best[:, 0].cpu().numpy()
    return Filled(guesses, vocabulary.decode(ids.tolist()), tokens=tokens, read=(start, stop))


def window(masked: Int[np.ndarray, " mask"], tokens: int, room: int) -> tuple[int, int]:
    """From, to: at most `room` of `tokens` with every one of `masked` inside and as much text on both sides."""
    first, last = int(masked[0]), int(masked[-1])
    if last - first >= room:
        raise UserError(
            f"the [MASK]s stand {last - first + 1} tokens apart and the model reads {room} at once. "
            "Fill in parts of the text, each by itself."
        )
    start = max(0, min((first + last + 1 - room) // 2, tokens - room))
    return start, min(tokens, start + room)


def _short(text: str) -> str:
    return text if len(text) <= 60 else text[:59] + "…"
