"""The collapse meters against numpy, at their two ends, and on models of every kind."""

import math
from pathlib import Path

import numpy as np
import probed
import pytest
import torch
from sklearn.metrics.pairwise import cosine_similarity

from sesame.data.batch import Pixels
from sesame.data.text import examples_of, rows_of
from sesame.probes.collapse import collapse, measure
from sesame.probes.states import held_out_batches


def by_hand(z: np.ndarray) -> dict[str, float]:
    n, width = z.shape
    std = (z / np.linalg.norm(z, axis=1, keepdims=True)).std(0).mean()
    sigma = np.linalg.svd(z, compute_uv=False)
    p = sigma / sigma.sum() + 1e-7
    cosine = cosine_similarity(z)[~np.eye(n, dtype=bool)].mean()
    return {"std": std, "std_share": std * math.sqrt(width), "cosine": cosine, "rankme": np.exp(-(p * np.log(p)).sum())}


def found(z: np.ndarray) -> dict[str, float]:
    return {v.metric: v.value for v in collapse(torch.from_numpy(z), "x")}


def test_the_measures_are_those_of_numpy():
    z = np.random.default_rng(0).standard_normal((40, 7)) + 0.5
    assert found(z) == pytest.approx(by_hand(z), rel=1e-5)


def test_one_point_has_no_spread_and_all_directions_have_the_most():
    one = found(np.tile(np.arange(1.0, 9.0), (50, 1)))
    assert one["std"] == pytest.approx(0, abs=1e-8) and one["cosine"] == pytest.approx(1)
    assert one["rankme"] == pytest.approx(1, abs=1e-3)
    even = found(np.random.default_rng(1).standard_normal((4000, 32)))
    assert even["std_share"] == pytest.approx(1, abs=0.01) and abs(even["cosine"]) < 0.01
    assert even["rankme"] > 31
    assert found(np.zeros((5, 3))) == {"std": 0, "std_share": 0, "cosine": 0, "rankme": 0}


def groups(values) -> dict[str, dict[str, float]]:
    told: dict[str, dict[str, float]] = {}
    for value in values:
        told.setdefault(value.group, {})[value.metric] = value.value
    return told


def test_of_byol_the_backbone_and_its_projection():
    model, ask = probed.images()
    whole = model.objective
    stream = whole.pretext.stream(ask.data, 0)
    with torch.no_grad():
        last = whole.backbone(Pixels(torch.from_numpy(stream.pixels[stream.away]).float() / 255.0)).last
        projection = whole.pretext.projector(last)
    told = groups(measure(model, ask))
    assert told.keys() == {"backbone", "projection"}
    assert told["backbone"] == pytest.approx(by_hand(last.numpy().astype(float)), rel=1e-4)
    assert told["projection"] == pytest.approx(by_hand(projection.numpy().astype(float)), rel=1e-4)


def test_of_text_the_mean_over_the_tokens_of_each_example(tmp_path: Path):
    model, ask = probed.text(tmp_path)
    means = []
    for batch in held_out_batches(ask.data, 10**6):
        for number in range(len(batch.key)):
            ids = batch.ids[(batch.example == number) & ~batch.special]
            alone, _ = examples_of([ids], model.vocabulary, len(ids) + 2)
            with torch.no_grad():
                means.append(model.objective.backbone(rows_of(alone)).last[0, 1:-1].mean(0).double().numpy())
    told = groups(measure(model, ask))
    assert told.keys() == {"backbone"}
    assert told["backbone"] == pytest.approx(by_hand(np.stack(means)), rel=1e-4)


def test_of_speech_the_mean_over_the_frames_of_each_utterance(tmp_path: Path):
    model, ask = probed.speech(tmp_path)
    values = list(measure(model, ask))
    stream = model.objective.pretext.stream(ask.data, 0)
    assert {v.n for v in values} == {len(stream.away)}
    assert 0 < groups(values)["backbone"]["std_share"] < 1
