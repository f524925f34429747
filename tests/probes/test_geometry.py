"""Anisotropy, self-similarity, the first component and CKA against double loops and matrices over pairs."""

import itertools

import numpy as np
import probed
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.decomposition import PCA
from sklearn.metrics.pairwise import cosine_similarity

from sesame.probes import geometry
from sesame.probes.geometry import between, cka, first_component, hsic, self_similarity, unit_vectors
from sesame.probes.held_out import held_out, layer_states

SEEDS = st.integers(0, 2**32 - 1)


def states(seed: int, n: int, width: int) -> torch.Tensor:
    random = np.random.default_rng(seed)
    return torch.from_numpy(
        random.standard_normal((n, width)) * random.uniform(0.1, 3, width) + random.normal(size=width)
    )


@settings(max_examples=30, deadline=None)
@given(SEEDS, st.lists(st.integers(0, 5), min_size=1, max_size=20))
def test_anisotropy_is_the_mean_cosine_over_pairs_of_different_examples(seed, groups):
    group = np.array(groups)
    z = states(seed, len(group), 4)
    cosine = cosine_similarity(z)
    pairs = [cosine[i, j] for i, j in itertools.permutations(range(len(group)), 2) if group[i] != group[j]]
    assert between(unit_vectors(z), group) == pytest.approx(np.mean(pairs) if pairs else 0.0, abs=1e-9)


@settings(max_examples=30, deadline=None)
@given(SEEDS, st.integers(1, 80), st.integers(1, 9))
def test_self_similarity_is_the_mean_over_words_of_pairs_in_different_examples(seed, n, examples):
    random = np.random.default_rng(seed)
    token, example = random.integers(-1, 4, n), random.integers(0, examples, n)
    z = states(seed, n, 3)
    cosine, words = cosine_similarity(z), []
    for word in range(4):
        at = np.flatnonzero(token == word)
        if len(np.unique(example[at])) >= geometry.CONTEXTS:
            pairs = [cosine[i, j] for i, j in itertools.permutations(at, 2) if example[i] != example[j]]
            words.append(np.mean(pairs))
    found, count = self_similarity(unit_vectors(z), token, example)
    assert count == len(words)
    assert found == pytest.approx(np.mean(words) if words else 0.0, abs=1e-9)


def test_the_first_component_is_that_of_scikit_learn():
    z = states(3, 50, 6)
    assert first_component(z) == pytest.approx(PCA().fit(z).explained_variance_ratio_[0])
    assert first_component(torch.ones(5, 3, dtype=torch.float64)) == 0.0


def hsic_over_pairs(x: np.ndarray, y: np.ndarray) -> float:
    """Song et al. (2012), as it stands there, times n(n − 3)."""
    n = len(x)
    k, other = x @ x.T, y @ y.T
    np.fill_diagonal(k, 0)
    np.fill_diagonal(other, 0)
    one = np.ones(n)
    sums = (one @ k @ one) * (one @ other @ one) / ((n - 1) * (n - 2))
    return np.trace(k @ other) + sums - 2 / (n - 2) * (one @ k @ other @ one)


@settings(max_examples=30, deadline=None)
@given(SEEDS, st.integers(4, 30), st.integers(1, 9), st.integers(1, 9))
def test_hsic_is_that_over_pairs_and_no_shift_changes_it(seed, n, a, b):
    x, y = states(seed, n, a), states(seed + 1, n, b)
    expected = hsic_over_pairs(x.numpy(), y.numpy())
    scale = float(x.square().sum() * y.square().sum())
    assert hsic(x, y) == pytest.approx(expected, abs=1e-9 * scale)
    assert hsic(x + 5.0, y) == pytest.approx(expected, abs=1e-8 * float((x + 5).square().sum() * y.square().sum()))


def test_cka_knows_rotations_and_scales_and_nothing_in_common():
    x = states(0, 400, 6)
    turn = torch.linalg.qr(states(1, 6, 6))[0]
    assert cka(x, 3.0 * x @ turn + 1.0) == pytest.approx(1.0)
    assert abs(cka(states(2, 200, 300), states(3, 200, 300))) < 0.05  # the biased estimate says 0.6 here
    assert cka(x, torch.zeros(400, 2, dtype=torch.float64)) == 0.0


@pytest.mark.parametrize("kind", ["text", "images", "speech"])
def test_a_models_numbers_are_those_of_its_states(kind, tmp_path, monkeypatch):
    monkeypatch.setattr(geometry, "FULL", 300)
    monkeypatch.setattr(geometry, "CONTEXTS", 2)
    model, ask = getattr(probed, kind)() if kind == "images" else getattr(probed, kind)(tmp_path / "one")
    other, _ = getattr(probed, kind)(1) if kind == "images" else getattr(probed, kind)(tmp_path / "other", seed=1)
    third, _ = getattr(probed, kind)(2) if kind == "images" else getattr(probed, kind)(tmp_path / "third", seed=2)
    ask.full, ask.first, ask.previous = True, lambda: other, lambda: third
    found = {(v.metric, v.layer, v.group): v.value for v in geometry.measure(model, ask)}
    parts = held_out(model, ask, 300)
    mine, others, thirds = (
        [torch.cat(z).double() for z in zip(*(layer_states(m, part) for part in parts), strict=True)]
        for m in (model, other, third)
    )
    example = np.concatenate([part.example for part in parts])
    for layer, z in enumerate(mine):
        cosine = cosine_similarity(z)
        apart = example[:, None] != example
        assert found["anisotropy", layer, ""] == pytest.approx(cosine[apart].mean(), abs=1e-6)
        assert found["first_component", layer, ""] == pytest.approx(PCA().fit(z).explained_variance_ratio_[0])
        if kind == "text":
            adjusted = found["self_similarity", layer, ""] - found["anisotropy", layer, ""]
            assert found["self_similarity_adjusted", layer, ""] == pytest.approx(adjusted)
        assert found["cka_first", layer, ""] == pytest.approx(cka(z, others[layer]))
        assert found["cka_first", layer, ""] < 0.999
        assert found["cka_previous", layer, ""] == pytest.approx(cka(z, thirds[layer]))
        for j in range(layer + 1, len(mine)):
            assert found["cka", layer, f"layer {j}"] == pytest.approx(cka(z, mine[j]))
    layers = len(mine)
    within = 4 if kind == "text" else 2
    assert len(found) == within * layers + layers * (layers - 1) // 2 + 2 * layers


def test_live_weights_are_compared_with_no_other_step(tmp_path, monkeypatch):
    monkeypatch.setattr(geometry, "LIGHT", 50)
    monkeypatch.setattr(geometry, "FULL", 50)
    model, ask = probed.text(tmp_path)
    ask.first = ask.previous = lambda: pytest.fail("the light form opens no other model")
    assert not {"cka_first", "cka_previous"} & {v.metric for v in geometry.measure(model, ask)}
    ask.full, ask.first, ask.previous = True, None, None  # the first checkpoint of a series
    assert not {"cka_first", "cka_previous"} & {v.metric for v in geometry.measure(model, ask)}
