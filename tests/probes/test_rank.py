"""RankMe and α-ReQ against numpy, on made spectra and on models of every kind."""

import math

import numpy as np
import probed
import pytest
import torch

from sesame.probes import rank
from sesame.probes.held_out import held_out, layer_states
from sesame.probes.rank import Moments, alpha, fitted, rankme


def moments_of(*parts: np.ndarray) -> Moments:
    moments = Moments()
    for part in parts:
        moments.add(torch.from_numpy(part))
    return moments


def rankme_by_svd(z: np.ndarray) -> float:
    sigma = np.linalg.svd(z, compute_uv=False)
    p = sigma / np.abs(sigma).sum() + 1e-7
    return float(np.exp(-np.sum(p * np.log(p))))


def alpha_by_polyfit(z: np.ndarray, first: int, last: int) -> float:
    eigenvalues = np.linalg.eigvalsh(np.cov(z.T))[::-1]
    i = np.arange(first, last + 1)
    return -float(np.polyfit(np.log(i), np.log(eigenvalues[first - 1 : last]), 1, w=1 / np.sqrt(i))[0])


@pytest.mark.parametrize("shape", [(300, 40), (25, 40), (2, 3)])
def test_the_moments_give_the_singular_values_and_the_variances(shape):
    z = np.random.default_rng(0).standard_normal(shape) @ np.diag(1.0 / np.arange(1, shape[1] + 1)) + 3.0
    moments = moments_of(*np.array_split(z, 2))
    singular = np.linalg.svd(z, compute_uv=False)
    np.testing.assert_allclose(moments.singular_values(), singular, rtol=1e-6, atol=1e-7 * singular[0])
    expected = np.linalg.eigvalsh(np.cov(z.T))[::-1]
    np.testing.assert_allclose(moments.variances(), expected, atol=1e-10 * expected[0])
    assert rankme(moments.singular_values()) == pytest.approx(rankme_by_svd(z), rel=1e-5)


def test_known_ranks():
    random = np.random.default_rng(1)
    turn = np.linalg.qr(random.standard_normal((30, 30)))[0]
    assert rankme(np.ones(30)) == pytest.approx(30, rel=1e-4)
    assert rankme(moments_of(7 * turn).singular_values()) == pytest.approx(30, rel=1e-4)
    one = np.outer(random.standard_normal(50), random.standard_normal(30))
    assert rankme(moments_of(one).singular_values()) == pytest.approx(1, abs=1e-3)
    assert rankme(moments_of(np.zeros((5, 3))).singular_values()) == 0.0


@pytest.mark.parametrize("slope", [0.5, 1.0, 2.3])
def test_alpha_is_the_exponent_of_a_power_law(slope):
    assert alpha(np.arange(1.0, 301.0) ** -slope, 10**6) == pytest.approx(slope)


def test_alpha_follows_only_the_eigenvalues_that_are_fitted():
    spectrum = np.arange(1.0, 301.0) ** -1.0
    spectrum[:10] *= 50
    spectrum[100:] *= 1e-6
    assert alpha(spectrum, 10**6) == pytest.approx(1.0)
    assert math.isnan(alpha(np.concatenate([[1.0], np.full(299, 1e-16)]), 10**6))


@pytest.mark.parametrize(
    "width, n, first, last",
    [(768, 10**5, 11, 100), (128, 10**5, 11, 64), (64, 999, 10, 32), (32, 9, 1, 4), (2, 2, 1, 1)],
)
def test_the_range_that_is_fitted(width, n, first, last):
    assert fitted(width, n) == slice(first - 1, last)


@pytest.mark.parametrize("full", [False, True])
@pytest.mark.parametrize("kind", ["text", "images", "speech"])
def test_a_models_numbers_are_those_of_its_states(kind, full, tmp_path, monkeypatch):
    monkeypatch.setattr(rank, "LIGHT", 200)
    monkeypatch.setattr(rank, "FULL", 300)
    model, ask = getattr(probed, kind)() if kind == "images" else getattr(probed, kind)(tmp_path)
    ask.full = full
    values = list(rank.measure(model, ask))
    parts = held_out(model, ask, 300 if full else 200)
    layers = [torch.cat(z).double().numpy() for z in zip(*(layer_states(model, p) for p in parts), strict=True)]
    assert {value.layer for value in values} == set(range(len(layers)))
    for value in values:
        z = layers[value.layer]
        assert value.n == len(z)
        by_hand = {
            "rankme": rankme_by_svd(z),
            "rankme_share": rankme_by_svd(z) / z.shape[1],
            "alpha_req": alpha_by_polyfit(z, fitted(z.shape[1], len(z)).start + 1, fitted(z.shape[1], len(z)).stop),
        }
        assert value.value == pytest.approx(by_hand[value.metric], rel=1e-4)
    if kind != "images":
        assert len(layers[0]) == (300 if full else 200)
