"""How probable texts are to a model: log-likelihood and perplexity, text by text and together.

A causal LM: the sum of the log-probabilities of every token from those before it, the first from the start token; the
end of the text is not predicted. A masked LM: the pseudo-log-likelihood (Salazar et al. 2020), every token hidden in
turn, and with it the rest of its word (Kauf & Ivanova 2023). Perplexity is exp(-log-likelihood / tokens): it compares
models of one tokenizer only.

A text that is longer than the model reads is read in windows, each `stride` tokens after the one before. A window
scores the tokens that no window before it has scored, from what the window shows: with a small stride every token has
much to be told from, and there are more windows. A causal window inside a text begins with the token before it and not
with the start token, as in training; a masked one stands between [CLS] and [SEP].
"""

import logging
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from sesame.data.encode import WORD, Encoder
from sesame.engine.build import Model
from sesame.errors import UserError
from sesame.probes.prediction import Ids, Query, Reader, answers, hidden_in_turn, log_probability

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Scored:
    """How probable one text is."""

    log_likelihood: float
    """In nats; of a masked LM the pseudo-log-likelihood."""
    tokens: int
    windows: int
    """In how many it was read."""

    @property
    def perplexity(self) -> float:
        return perplexity(self.log_likelihood, self.tokens)


def perplexity(log_likelihood: float, tokens: int) -> float:
    """exp of the mean negative log-likelihood of a token."""
    return math.exp(min(-log_likelihood / tokens, 700.0))


def score(model: Model, texts: Sequence[str], stride: int = 0) -> list[Scored]:
    """How probable `model` holds each of the texts.

    `stride` is how many tokens after each other the windows of a long text begin; 0 for half of what the model reads.
    Raises UserError for a model that was not trained to predict tokens, an empty text, and a stride that leaves tokens
    out.
    """
    reader = Reader.of(model)
    stride = stride or max(1, reader.room // 2)
    if not 1 <= stride <= reader.room:
        raise UserError(
            f"--stride {stride}: windows have {reader.room} tokens, so that windows further apart would leave some "
            f"out. Choose 1 to {reader.room}."
        )
    encoded = Encoder(reader.vocabulary)(texts)
    edges = np.append(0, np.cumsum(encoded.lengths))[1:-1]
    ids = np.split(encoded.ids.astype(np.int64), edges)
    starts = [np.flatnonzero(flags & WORD) for flags in np.split(encoded.flags, edges)]
    for number, tokens in enumerate(ids, 1):
        if not len(tokens):
            raise UserError(f"text {number} is empty, and nothing has no probability. Leave empty texts out.")
    plans = [windows(len(tokens), reader.room, stride) for tokens in ids]
    if long := sum(len(plan) > 1 for plan in plans):
        log.info("%d texts are longer than the %d tokens of a window, and are read in several", long, reader.room)
    total = np.zeros(len(ids))
    with torch.inference_mode():
        for owner, target, logits in answers(reader, _queries(reader, ids, starts, plans)):
            np.add.at(total, owner, log_probability(logits, target).double().numpy(force=True))
    return [Scored(float(t), len(i), len(plan)) for t, i, plan in zip(total, ids, plans, strict=True)]


def windows(tokens: int, room: int, stride: int) -> list[tuple[int, int, int]]:
    """(from, to, first token that is scored) of each window: at most `room` tokens, every token scored once."""
    found, scored, start = [], 0, 0
    while scored < tokens:
        stop = min(start + room, tokens)
        found.append((start, stop, scored))
        scored, start = stop, start + stride
    return found


def _queries(
    reader: Reader,
    ids: Sequence[Ids],
    starts: Sequence[Ids],
    plans: Sequence[list[tuple[int, int, int]]],
) -> Iterator[Query]:
    for number, (text, words, plan) in enumerate(zip(ids, starts, plans, strict=True)):
        for start, stop, scored in plan:
            seen = text[start:stop]
            if reader.causal:
                at = np.arange(scored - start, stop - start)
                before = int(text[start - 1]) if start else None
                yield Query(seen, at, seen[at], np.full(len(at), number), before)
            else:
                here = words[(words >= start) & (words < stop)] - start
                yield from hidden_in_turn(reader, seen, here, scored - start, stop - start, number)
