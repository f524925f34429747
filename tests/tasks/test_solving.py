"""The head that is worked out: against scikit-learn, and exactly what the whole network says."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from tones import BOTH_SIDES, FROM_LEFT, model, task_data

from sesame import config
from sesame.data.batch import Rows
from sesame.tasks.arms import network_of
from sesame.tasks.finetune import encode, encode_raw
from sesame.tasks.phones import PhoneFrames
from sesame.tasks.sequences import batch_of
from sesame.tasks.solving import Scaled, keep, minimised, read, solve
from sesame.tasks.spoken import PooledHead, on_end
from sesame.tasks.spoken_class import SpokenClass

CLASSES = SpokenClass, config.SpokenClass(train="x")
SPREAD = SpokenClass, config.SpokenClass(train="x", pooling="statistics")
FRAMES = PhoneFrames, config.PhoneFrames(train="x")


@pytest.mark.parametrize("penalty", [1.0, 0.01])
def test_with_one_layer_it_is_scikit_learns_logistic_regression(penalty: float) -> None:
    random = np.random.default_rng(0)
    z, label = random.standard_normal((80, 6)), random.integers(0, 3, 80)
    z[np.arange(80), label] += 1.0
    fit = minimised(torch.from_numpy(z)[:, None], torch.from_numpy(label), 3, penalty)
    theirs = LogisticRegression(C=1 / (penalty * 80), tol=1e-10, max_iter=5000).fit(z, label)
    np.testing.assert_allclose(fit.weight.numpy(), theirs.coef_, atol=2e-4)
    scores = z @ fit.weight.numpy().T + fit.bias.numpy()
    own = np.exp(scores - scores.max(1, keepdims=True))
    np.testing.assert_allclose(own / own.sum(1, keepdims=True), theirs.predict_proba(z), atol=1e-4)


def test_the_layers_shares_go_where_the_answer_is() -> None:
    random = np.random.default_rng(0)
    z, label = random.standard_normal((200, 3, 6)), random.integers(0, 3, 200)
    z[np.arange(200), 1, label] += 3.0
    fit = minimised(torch.from_numpy(z), torch.from_numpy(label), 3, 0.001)
    share = torch.softmax(fit.mix, 0)
    assert share[1] > 0.6 and share[0] < 0.25 and share[2] < 0.25
    worse = minimised(torch.from_numpy(z).mean(1, keepdim=True), torch.from_numpy(label), 3, 0.001)
    assert fit.loss < worse.loss


def test_a_minimum_has_no_slope_in_any_direction() -> None:
    random = np.random.default_rng(1)
    z, label = torch.from_numpy(random.standard_normal((60, 2, 4))), torch.from_numpy(random.integers(0, 3, 60))
    fit = minimised(z, label, 3, 0.1)
    parts = [x.clone().requires_grad_(True) for x in (fit.mix, fit.weight, fit.bias)]
    mixed = torch.einsum("l,nlw->nw", torch.softmax(parts[0], 0), z)
    total = torch.nn.functional.cross_entropy(mixed @ parts[1].T + parts[2], label) + 0.05 * (parts[1] ** 2).sum()
    assert all(g.abs().max() < 1e-4 for g in torch.autograd.grad(total, parts))


@pytest.mark.parametrize("backbone", [BOTH_SIDES, FROM_LEFT])
@pytest.mark.parametrize("task", [CLASSES, SPREAD, FRAMES])
@pytest.mark.parametrize("arm", ["raw", "random", "frozen"])
def test_statistics_of_layers_are_all_that_a_linear_head_needs(task, backbone, arm, tmp_path: Path) -> None:
    """The trap: features of all layers are 70 times the corpus on disk. What is pooled of each layer is exact."""
    loaded, data = model(backbone), task_data(*task, tmp_path, train=12, other=6)
    encoded = (encode_raw if arm == "raw" else encode)(loaded, data)
    network = network_of(arm, loaded, data.task, 0, 0.0)
    tuning = solve(network, encoded, keep(network, encoded), np.arange(len(encoded.train)))
    kept = read(network, encoded.test, encoded.pad, data.task.solved).double()
    share = torch.softmax(network.mix.weight.detach(), 0) if network.mix is not None else torch.ones(1)
    mixed = torch.einsum("l,nlw->nw", share.double(), kept)
    expected = mixed @ network.head.out.weight.detach().double().T + network.head.out.bias.detach().double()
    found = tuning.network.scores(encoded.test, encoded.pad)
    np.testing.assert_allclose(found, expected.numpy(), atol=2e-3, rtol=1e-3)
    assert (found.argmax(1) == expected.numpy().argmax(1)).all()


def test_statistics_are_the_mean_and_the_deviation_of_every_layer_over_each_utterance(tmp_path: Path) -> None:
    loaded, data = model(), task_data(*SPREAD, tmp_path, train=6, other=3)
    encoded = encode(loaded, data)
    kept = read(network_of("frozen", loaded, data.task, 0, 0.0), encoded.train, encoded.pad, "sequence")
    ids, edges = encoded.train.ids, encoded.train.offsets
    for number in range(6):  # each by itself, without neighbours or padding
        alone = torch.from_numpy(ids[edges[number] : edges[number + 1]])[None]
        time = torch.arange(alone.shape[1])[None]
        rows = Rows(x=alone, position=time, kind=0 * time, example=0 * time, alone=True)
        with torch.inference_mode():
            layers = loaded.objective.backbone(rows, layers=True).layers
        for layer, h in enumerate(layers):
            expected = np.concatenate([h[0].numpy().mean(0), h[0].numpy().std(0)])
            np.testing.assert_allclose(kept[number, layer].numpy(), expected, atol=2e-4)


def test_a_network_that_moves_learns_through_the_deviation() -> None:
    """Also where nothing ever changes, and the deviation has an edge: silence must not make a gradient infinite."""
    head = PooledHead(3, 2, 0.0, "statistics")
    still_and_moving = np.ones((7, 3), np.float32)
    still_and_moving[4:] += np.random.default_rng(0).standard_normal((3, 3))
    batch = batch_of(on_end([still_and_moving[:4], still_and_moving[4:]], None, "sequence"), np.arange(2), 0)
    h = torch.from_numpy(still_and_moving).requires_grad_()
    head(h, batch).square().sum().backward()
    assert h.grad is not None and h.grad.isfinite().all() and h.grad[4:].abs().min() > 0


def test_the_penalty_is_chosen_on_dev_and_test_has_no_part_in_it(tmp_path: Path) -> None:
    loaded, data = model(), task_data(*CLASSES, tmp_path)
    encoded = encode(loaded, data)
    network = network_of("frozen", loaded, data.task, 0, 0.0)
    kept = keep(network, encoded)
    whole = solve(network, encoded, kept, np.arange(24))
    blind = solve(
        network_of("frozen", loaded, data.task, 0, 0.0),
        dataclasses.replace(encoded, test=encoded.dev),
        kept,
        np.arange(24),
    )
    assert whole.best.dev == blind.best.dev
    assert whole.test(encoded)["accuracy"] > 0.5  # three tones, told apart by random layers


def test_scaling_is_taken_into_the_head() -> None:
    z, w, b = torch.randn(20, 5) * 3 + 1, torch.randn(2, 5).double(), torch.randn(2).double()
    scaled = Scaled.of(z)
    inner, bias = scaled.folded(w, b)
    torch.testing.assert_close(z.double() @ inner.T + bias, scaled(z).double() @ w.T + b, atol=1e-4, rtol=1e-4)
