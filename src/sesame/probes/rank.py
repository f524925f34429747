"""Rank: how many directions the states of each layer use (RankMe and α-ReQ).

`rankme` (Garrido et al. 2023) is the exponential of the entropy of the normalised singular values of the
states, neither centred nor scaled: 1 where all point one way, the width where every direction counts the same.
`rankme_share` is that as a share of the width. `alpha_req` (Agrawal et al. 2022) is how fast the eigenvalues of the
covariance fall: λᵢ ∝ i^-α; the paper finds values near 1 best. Measured on 4,096 held-out tokens, frames or images
(25,600, RankMe's number, in the full form), [CLS], [SEP] and padding left out; layer 0 are the embeddings.
"""

import math
from collections.abc import Iterator

import numpy as np
import torch
from jaxtyping import Float, Float64
from torch import Tensor

from sesame.engine.build import Model
from sesame.probes.base import Answer, Ask, Value
from sesame.probes.held_out import held_out, layer_states

READS = ("text", "images", "speech")
LIGHT, FULL = 4096, 25_600
EPSILON = 1e-7
"""Garrido et al.'s, for numbers in fp32."""
NOISE = 1e-12
"""Eigenvalues below this share of the largest are rounding: their logarithms say nothing."""


class Moments:
    """Sums and products of states, added up part by part, so that memory does not grow with their number."""

    def __init__(self) -> None:
        self.n = 0
        self.sum: Float64[Tensor, " width"] | float = 0.0
        self.product: Float64[Tensor, "width width"] | float = 0.0

    def add(self, z: Float[Tensor, "thing width"]) -> None:
        z = z.double()
        self.n += len(z)
        self.sum = self.sum + z.sum(0)
        self.product = self.product + z.T @ z

    def singular_values(self) -> Float64[np.ndarray, " least"]:
        """Of the matrix of all states, largest first."""
        return np.sqrt(_eigenvalues(self.product)[: self.n])

    def variances(self) -> Float64[np.ndarray, " width"]:
        """Eigenvalues of the covariance matrix, largest first."""
        assert isinstance(self.sum, Tensor) and self.n > 1
        mean = self.sum / self.n
        return _eigenvalues((self.product - self.n * torch.outer(mean, mean)) / (self.n - 1))


def _eigenvalues(symmetric: Float64[Tensor, "width width"] | float) -> Float64[np.ndarray, " width"]:
    return np.maximum(torch.linalg.eigvalsh(torch.as_tensor(symmetric)).cpu().numpy()[::-1], 0.0)


def rankme(singular_values: Float64[np.ndarray, " least"]) -> float:
    """exp(−Σ p log p) of p = σ / Σσ + ε; 0 where all states are zero."""
    total = singular_values.sum()
    if not total > 0:
        return 0.0
    p = singular_values / total + EPSILON
    return float(np.exp(-(p * np.log(p)).sum()))


def fitted(width: int, n: int) -> slice:
    """Which eigenvalues α is fitted to: the 11th to the 100th, as Stringer et al. (2019) leave out the first ten.

    Narrow states have fewer: the last is at most the middle one (of the width, or of what `n` things can span), since
    the smallest are noise of the sample; the first then moves up to a third of the last.
    """
    last = max(1, min(100, width // 2, (n - 1) // 2))
    return slice(min(11, max(1, last // 3)) - 1, last)


def alpha(variances: Float64[np.ndarray, " width"], n: int) -> float:
    """Minus the slope of log λᵢ over log i, by least squares with weights 1/i, which spaces log i evenly (Stringer et
    al. 2019). NaN where fewer than three eigenvalues are more than rounding."""
    i = np.arange(1, len(variances) + 1)[fitted(len(variances), n)]
    y = variances[i - 1]
    there = y > NOISE * variances[0]
    if there.sum() < 3:
        return math.nan
    x, y, weight = np.log(i[there]), np.log(y[there]), 1.0 / i[there]
    x = x - np.average(x, weights=weight)
    return float(-(weight * x * y).sum() / (weight * x * x).sum())


def measure(model: Model, ask: Ask) -> Iterator[Answer]:
    layers: list[Moments] = []
    for part in held_out(model, ask, FULL if ask.full else LIGHT):
        states = layer_states(model, part)
        layers = layers or [Moments() for _ in states]
        for moments, z in zip(layers, states, strict=True):
            moments.add(z)
    for layer, moments in enumerate(layers):
        found = rankme(moments.singular_values())
        width = len(torch.as_tensor(moments.sum))
        yield Value("rankme", found, moments.n, layer=layer)
        yield Value("rankme_share", found / width, moments.n, layer=layer)
        if moments.n > 1 and not math.isnan(slope := alpha(moments.variances(), moments.n)):
            yield Value("alpha_req", slope, moments.n, layer=layer)
