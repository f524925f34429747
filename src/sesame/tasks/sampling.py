"""Token after token for many rows: the likeliest, or one drawn from what filters leave. Chance is keyed.

The filters come in the order of `transformers`: repetition penalty, temperature, top-k, top-p, min-p.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int, UInt64
from torch import Tensor

from sesame.config import Generate
from sesame.data import chance
from sesame.tasks.decoders import Decoder, Ids

USUAL = 0.8
"""Temperature where none is asked for."""

Scores = Float[Tensor, "row vocab"]


@dataclass(frozen=True)
class Written:
    """What was written after each prompt: `settings.samples` rows a prompt."""

    tokens: Int[Tensor, "row most"]
    size: Int[Tensor, " row"]
    """Tokens that count of each row, its end token included."""
    log_likelihood: Float[Tensor, " row"]
    """Of those, as the model has it: without temperature, filters and penalty."""


def write(
    decoder: Decoder,
    prompts: Sequence[Ids],
    limits: Sequence[int],
    settings: Generate,
    keys: UInt64[np.ndarray, " prompt"] | None = None,
    heard: Callable[[int, int], bool] | None = None,
) -> Written:
    """Sample, or with temperature 0 take the likeliest, until each row has its end token or `limits` of its prompt.

    `keys` are what chance knows the prompts by. `heard` is told each row and its new token, but for the end token, and
    says whether the row is to end with it. Rows that have ended are let go of when they are half of those left.
    """
    n, device, end = settings.samples, decoder.device, decoder.vocabulary.sep
    scores = decoder.start(prompts, max(limits), settings.long == "window")
    prompt = np.repeat(np.arange(len(prompts)), n)
    rows = torch.from_numpy(prompt).to(device)
    if n > 1:
        decoder.take(rows)
        scores = scores[rows]
    keys = np.zeros(len(prompts), np.uint64) if keys is None else keys
    draw = Draw(settings, keys[prompt], np.tile(np.arange(n), len(prompts)))
    limit = torch.tensor(limits, device=device)[rows]
    seen = None
    if settings.repetition_penalty != 1:
        seen = seen_in([decoder.before(prompts[i]) for i in prompt.tolist()], scores.shape[1], device)
    total, most = len(prompt), max(limits)
    tokens = torch.zeros(total, most, dtype=torch.int64, device=device)
    size = torch.full((total,), most, device=device)
    likelihood = torch.zeros(total, dtype=torch.float64, device=device)
    row = torch.arange(total, device=device)  # which of all rows each row of the decoder is
    writing = torch.ones(total, dtype=torch.bool, device=device)
    for place in range(most):
        token = draw(scores if seen is None else penalised(scores, seen, settings.repetition_penalty), place)
        tokens[row, place] = token
        likelihood[row] += torch.where(writing, log_probability(scores, token), 0.0)
        ends = (token == end) | (place + 1 >= limit)
        if heard is not None:
            told = zip(row.tolist(), token.tolist(), writing.tolist(), strict=True)
            stopped = [on and i != end and heard(r, i) for r, i, on in told]
            ends |= torch.tensor(stopped, device=device)
        size[row[ends & writing]] = place + 1
        writing = writing & ~ends
        left = int(writing.sum())
        if not left:
            break
        if left <= len(row) // 2:
            kept = writing.nonzero()[:, 0]
            decoder.take(kept)
            draw.take(kept.numpy(force=True))
            row, token, limit, writing = row[kept], token[kept], limit[kept], writing[kept]
            seen = None if seen is None else seen[kept]
        if seen is not None:
            seen.scatter_(1, token[:, None], True)
        scores = decoder.step(token)
    return Written(tokens, size, likelihood)


class Draw:
    """Chooses tokens for rows that are known by their prompt's key and the number of the sample."""

    def __init__(self, settings: Generate, key: UInt64[np.ndarray, " row"], sample: Int[np.ndarray, " row"]):
        self.settings, self.key, self.sample = settings, key, sample
        self.temperature = USUAL if settings.temperature is None else settings.temperature

    def __call__(self, scores: Scores, place: int) -> Int[Tensor, " row"]:
        """The token at `place` of what is written."""
        if not self.temperature:
            return scores.argmax(1)
        u = chance.uniform("generate", self.settings.seed, self.key, self.sample, place)
        return drawn(filtered(scores, self.settings, self.temperature), torch.from_numpy(u).to(scores.device))

    def take(self, rows: Int[np.ndarray, " taken"]) -> None:
        self.key, self.sample = self.key[rows], self.sample[rows]


def filtered(scores: Scores, settings: Generate, temperature: float = 1.0) -> Scores:
    """Scores over the temperature, with -inf for what may not be drawn. The likeliest token always may."""
    scores = scores / temperature
    if 0 < settings.top_k < scores.shape[1]:
        least = scores.topk(settings.top_k).values[:, -1:]
        scores = scores.masked_fill(scores < least, float("-inf"))
    if settings.top_p < 1:
        best, token = scores.sort(dim=1, descending=True, stable=True)
        share = best.softmax(1)
        before = share.cumsum(1) - share  # of what is likelier, together: while that is too little, a token is needed
        best = best.masked_fill(before >= settings.top_p, float("-inf"))
        scores = torch.empty_like(scores).scatter_(1, token, best)
    if settings.min_p:
        # In logarithms: log p - log p of the likeliest is a difference of scores.
        least = scores.amax(1, keepdim=True) + float(np.log(settings.min_p))
        scores = scores.masked_fill(scores < least, float("-inf"))
    return scores


def drawn(scores: Scores, u: Float[Tensor, " row"]) -> Int[Tensor, " row"]:
    """The token in which `u` falls where the probabilities lie side by side: softmax(scores), in float64."""
    edge = scores.double().softmax(1).cumsum(1)
    total = edge[:, -1:]
    u = torch.minimum(u[:, None] * total, torch.nextafter(total, torch.zeros_like(total)))
    return torch.searchsorted(edge, u, right=True)[:, 0]


def penalised(scores: Scores, seen: Bool[Tensor, "row vocab"], penalty: float) -> Scores:
    """The repetition penalty (Keskar et al. 2019, 4.1, with `transformers`' treatment of negative scores)."""
    return torch.where(seen, torch.where(scores > 0, scores / penalty, scores * penalty), scores)


def seen_in(texts: Sequence[Ids], vocabulary: int, device: torch.device) -> Bool[Tensor, "row vocab"]:
    """Which tokens each text has."""
    seen = torch.zeros(len(texts), vocabulary, dtype=torch.bool)
    for row, ids in enumerate(texts):
        seen[row, list(ids)] = True
    return seen.to(device)


def log_probability(scores: Scores, token: Int[Tensor, " row"]) -> Float[Tensor, " row"]:
    """log softmax(scores)[token]."""
    return scores.gather(1, token[:, None])[:, 0] - scores.logsumexp(1)
