"""Geometry: how states lie to each other, within a layer, between layers and between steps.

Within a layer (Ethayarajh 2019): `anisotropy` is the mean cosine of two states of different examples, over all such
pairs; `self_similarity` the mean cosine of one word in two different examples, over the words that occur in at least
five, and `self_similarity_adjusted` how much that exceeds the anisotropy (text only); `first_component` the share of
the variance along the first principal component.

Between layers: `cka` of layer i and "layer j" is linear centred kernel alignment (Kornblith et al. 2019) in its
debiased form, with the unbiased HSIC of Song et al. (2012), which few states of great width need: 1 where the layers
differ by a rotation and a scale only, about 0 where they have nothing in common. Between steps (full form only):
`cka_first` and `cka_previous` of each layer, to the same layer at the first and at the previous checkpoint.

Measured on 2,048 held-out tokens, frames or images, 4,096 in the full form.
"""

from collections.abc import Callable, Iterator

import numpy as np
import torch
from jaxtyping import Float, Float64, Int64
from torch import Tensor

from sesame.engine.build import Model
from sesame.probes.base import Answer, Ask, Value
from sesame.probes.held_out import Part, held_out, layer_states
from sesame.probes.rank import Moments

READS = ("text", "images", "speech")
LIGHT, FULL = 2048, 4096
CONTEXTS = 5
"""Examples that a word must stand in for its self-similarity to count, as in Ethayarajh (2019, 3.4)."""


def measure(model: Model, ask: Ask) -> Iterator[Answer]:
    parts = held_out(model, ask, FULL if ask.full else LIGHT)
    example = np.concatenate([part.example for part in parts])
    token = np.concatenate([part.token for part in parts])
    layers = _states(model, parts)
    n = len(example)
    for layer, z in enumerate(layers):
        unit = unit_vectors(z)
        anisotropy = between(unit, example)
        yield Value("anisotropy", anisotropy, n, layer=layer)
        similarity, words = self_similarity(unit, token, example)
        if words:
            yield Value("self_similarity", similarity, words, layer=layer)
            yield Value("self_similarity_adjusted", similarity - anisotropy, words, layer=layer)
        yield Value("first_component", first_component(z), n, layer=layer)
    if n < 4:  # the unbiased HSIC divides by n - 3
        return
    centred = [z - z.mean(0) for z in layers]
    own = [hsic(x, x) for x in centred]
    for i, x in enumerate(centred):
        for j in range(i + 1, len(centred)):
            yield Value("cka", _cosine(hsic(x, centred[j]), own[i], own[j]), n, f"layer {j}", i)
    if not ask.full:
        return
    others: dict[str, Callable[[], Model] | None] = {"cka_first": ask.first, "cka_previous": ask.previous}
    for metric, other in others.items():
        if other is not None:
            for layer, y in enumerate(_states(other(), parts)):
                yield Value(metric, cka(layers[layer], y), n, layer=layer)


def _states(model: Model, parts: list[Part]) -> list[Float64[Tensor, "thing _"]]:
    """Of every layer, all the states that are measured."""
    read = [layer_states(model, part) for part in parts]
    return [torch.cat(layer).double() for layer in zip(*read, strict=True)]


# ------------------------------------------------------------------------------------------ within a layer
def unit_vectors(z: Float[Tensor, "thing width"]) -> Float[Tensor, "thing width"]:
    """Every state at length 1; one of zeros stays so."""
    return torch.nn.functional.normalize(z, dim=1)


def between(unit: Float[Tensor, "thing width"], group: Int64[np.ndarray, " thing"]) -> float:
    """The mean cosine over all pairs of unit vectors of different groups; 0 where there is no such pair.

    The sum over all pairs is the squared length of the sum of all vectors, so none of the pairs is looked at.
    """
    _, number = np.unique(group, return_inverse=True)
    sums = _sums(unit, number)
    sizes = np.bincount(number).astype(float)
    pairs = sizes.sum() ** 2 - (sizes**2).sum()
    return float((sums.sum(0).square().sum() - sums.square().sum()) / pairs) if pairs else 0.0


def self_similarity(
    unit: Float[Tensor, "thing width"], token: Int64[np.ndarray, " thing"], example: Int64[np.ndarray, " thing"]
) -> tuple[float, int]:
    """The mean over words of the mean cosine of two occurrences in different examples, and how many words there are.

    -1 in `token` is no word. A word counts that stands in at least `CONTEXTS` examples.
    """
    at = np.flatnonzero(token >= 0)
    pairs, occurrence = np.unique(np.stack([token[at], example[at]]), axis=1, return_inverse=True)
    words, word = np.unique(pairs[0], return_inverse=True)  # of each pair (word, example)
    examples = np.bincount(word, minlength=len(words))
    inner = _sums(unit[torch.from_numpy(at).to(unit.device)], occurrence.ravel())
    total = _sums(inner, word)
    sizes = np.bincount(occurrence.ravel(), minlength=pairs.shape[1]).astype(float)
    squares = np.bincount(word, weights=inner.square().sum(1).cpu().numpy(), minlength=len(words))
    count = np.bincount(word, weights=sizes, minlength=len(words)) ** 2
    count -= np.bincount(word, weights=sizes**2, minlength=len(words))
    enough = examples >= CONTEXTS
    if not enough.any():
        return 0.0, 0
    similarity = (total.square().sum(1).cpu().numpy() - squares)[enough] / count[enough]
    return float(similarity.mean()), int(enough.sum())


def _sums(x: Float[Tensor, "thing width"], group: Int64[np.ndarray, " thing"]) -> Float[Tensor, "group width"]:
    groups = int(group.max(initial=-1)) + 1
    return x.new_zeros(groups, x.shape[1]).index_add_(0, torch.from_numpy(group).to(x.device), x)


def first_component(z: Float[Tensor, "thing width"]) -> float:
    """The largest eigenvalue of the covariance as a share of them all; 0 where nothing varies."""
    moments = Moments()
    moments.add(z - z.mean(0))
    variances = moments.variances() if moments.n > 1 else np.zeros(1)
    return float(variances[0] / variances.sum()) if variances.sum() > 0 else 0.0


# ---------------------------------------------------------------------------------- between layers and steps
def cka(x: Float64[Tensor, "thing a"], y: Float64[Tensor, "thing b"]) -> float:
    """Debiased linear CKA of two sets of states of the same things; 0 where one of them does not vary."""
    x, y = x - x.mean(0), y - y.mean(0)
    return _cosine(hsic(x, y), hsic(x, x), hsic(y, y))


def _cosine(xy: float, xx: float, yy: float) -> float:
    return xy / float(np.sqrt(xx * yy)) if xx > 0 and yy > 0 else 0.0


def hsic(x: Float64[Tensor, "thing a"], y: Float64[Tensor, "thing b"]) -> float:
    """The unbiased estimate of HSIC (Song et al. 2012) with linear kernels, times n(n − 3).

    With K = XXᵀ and L = YYᵀ, diagonals set to 0, it is tr KL + ΣK ΣL / ((n − 1)(n − 2)) − 2 / (n − 2) · 1ᵀKL1, which is
    worked out from XᵀY without a matrix over pairs of things. States may be shifted: that changes nothing but rounding.
    """
    n = len(x)
    k_diagonal, l_diagonal = x.square().sum(1), y.square().sum(1)
    k_ones = x @ x.sum(0) - k_diagonal  # K1
    l_ones = y @ y.sum(0) - l_diagonal
    trace = (x.T @ y).square().sum() - k_diagonal @ l_diagonal
    return float(trace + k_ones.sum() * l_ones.sum() / ((n - 1) * (n - 2)) - 2 / (n - 2) * (k_ones @ l_ones))
