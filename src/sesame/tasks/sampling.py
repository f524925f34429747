"""The next token of every row: the likeliest, or one drawn from what filters leave. Chance is keyed.

The filters come in the order of `transformers`: repetition penalty, temperature, top-k, top-p, min-p.
"""

import numpy as np
import torch
from jaxtyping import Bool, Float, Int, UInt64
from torch import Tensor

from sesame.config import Generate
from sesame.data import chance

USUAL = 0.8
"""Temperature where none is asked for."""

Scores = Float[Tensor, "row vocab"]


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
        before = (
            share.cumsum(1) - share
        )  # what likelier tokens have together; a token is needed while that is too little
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


def seen_in(prompts: list[list[int]], vocabulary: int, device: torch.device) -> Bool[Tensor, "row vocab"]:
    """Which tokens each prompt has."""
    seen = torch.zeros(len(prompts), vocabulary, dtype=torch.bool)
    for row, ids in enumerate(prompts):
        seen[row, ids] = True
    return seen.to(device)


def log_probability(scores: Scores, token: Int[Tensor, " row"]) -> Float[Tensor, " row"]:
    """log softmax(scores)[token]."""
    return scores.gather(1, token[:, None])[:, 0] - scores.logsumexp(1)
