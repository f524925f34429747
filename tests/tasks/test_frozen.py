"""Unchanged features: the linear layer against scikit-learn's, votes against a double loop, SimCLR's protocol against
torch's SGD."""

import math

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from torch import nn

from sesame.data.chance import permute
from sesame.tasks import frozen
from sesame.tasks.frozen import FROZEN, RANDOM, RAW, Features, by_protocol, gains, linear, nearest, ways

LABELS = 3


def features(n: int = 40, width: int = 5, seed: int = 0) -> tuple[Features, torch.Tensor, torch.Tensor, torch.Tensor]:
    """Three clouds: features, and the labels of train, dev and test."""
    generator = torch.Generator().manual_seed(seed)
    label = torch.randint(LABELS, (n + 40,), generator=generator)
    centre = torch.randn(LABELS, width, generator=generator)
    x = centre[label] + 0.7 * torch.randn(n + 40, width, generator=generator)
    (train, dev, test), labels = x.split([n, 20, 20]), label.split([n, 20, 20])
    return Features(train, dev, test), *labels


def test_the_linear_layer_is_scikit_learns_at_the_ridge_that_is_best_on_dev():
    x, label, dev, _ = features()
    deviation, mean = torch.std_mean(x.train, 0, correction=0)
    train, ours_dev, test = ((part - mean) / deviation for part in (x.train, x.dev, x.test))

    def model(ridge: float) -> LogisticRegression:
        # ours also keeps the constant small: a feature that is always 1, and no intercept
        known = np.hstack([train.numpy(), np.ones((len(train), 1))])
        return LogisticRegression(C=1 / (ridge * len(train)), fit_intercept=False, tol=1e-10, max_iter=5000).fit(
            known, label.numpy()
        )

    def whole(part: torch.Tensor) -> np.ndarray:
        return np.hstack([part.numpy(), np.ones((len(part), 1))])

    by_ridge = {ridge: model(ridge) for ridge in frozen.RIDGES}
    reached = {ridge: m.score(whole(ours_dev), dev.numpy()) for ridge, m in by_ridge.items()}
    best = max(reached, key=lambda ridge: (reached[ridge], ridge))
    found = linear(x, label, LABELS, lambda scores: float((scores.argmax(1) == dev).double().mean()))
    expected = by_ridge[best].predict_proba(whole(test))
    np.testing.assert_allclose(found.softmax(1).numpy(), expected, atol=0.02)


def test_a_vote_is_a_sum_over_the_nearest():
    x, label, _, _ = features(12)
    votes = nearest(x.train, label, LABELS, x.test, neighbours=4, temperature=0.5)
    for i, one in enumerate(x.test.tolist()):
        cosine = [
            sum(a * b for a, b in zip(one, other, strict=True)) / math.hypot(*one) / math.hypot(*other)
            for other in x.train.tolist()
        ]
        near = sorted(range(12), key=lambda k: -cosine[k])[:4]
        expected = [sum(math.exp(cosine[k] / 0.5) for k in near if label[k] == c) for c in range(LABELS)]
        assert votes[i].tolist() == pytest.approx(expected, rel=1e-4)


def test_the_protocol_is_torchs_sgd_with_nesterov_along_a_cosine(monkeypatch):
    monkeypatch.setattr(frozen, "EPOCHS", 6)
    monkeypatch.setattr(frozen, "ROWS", 16)
    x, label, _, _ = features(40)
    head = nn.Linear(5, LABELS)
    nn.init.zeros_(head.weight)
    nn.init.zeros_(head.bias)
    sgd = torch.optim.SGD(head.parameters(), momentum=0.9, nesterov=True, lr=1.0)
    steps, step = 12, 0
    for epoch in range(6):
        order = torch.from_numpy(permute(np.arange(40), 40, "linear protocol", 3, epoch))
        for some in (order[:16], order[16:32]):  # the last eight are no whole batch
            sgd.param_groups[0]["lr"] = 0.1 * 16 / 256 * 0.5 * (1 + math.cos(math.pi * step / (steps - 1)))
            sgd.zero_grad()
            nn.functional.cross_entropy(head(x.train[some]), label[some]).backward()
            sgd.step()
            step += 1
    torch.testing.assert_close(by_protocol(x, label, LABELS, 3), head(x.test).detach())


def test_every_way_has_a_row_and_the_linear_ones_are_compared_seed_by_seed():
    x, label, dev, test = features()
    found = ways({RAW: x, RANDOM: x, FROZEN: x}, label, LABELS, 0, lambda s: float((s.argmax(1) == dev).sum()))
    assert list(found) == [
        "raw input, linear", "raw input, kNN (k 20, T 0.07)",
        "random network, linear", "random network, kNN (k 20, T 0.07)",
        "pretrained, frozen, linear", "pretrained, frozen, kNN (k 20, T 0.07)",
        "pretrained, frozen, linear by SGD, 90 epochs",
    ]  # fmt: skip
    assert all((scores.argmax(1) == test).double().mean() > 0.6 for scores in found.values())
    scores = {"random network, linear": [0.5, 0.6], "pretrained, frozen, linear": [0.7, 0.9]}
    assert gains(scores) == {"pretrained, frozen over random network": ([0.7, 0.9], [0.5, 0.6])}


def test_what_every_seed_has_the_same_is_measured_once_and_stands_beside_each():
    x, label, _, _ = features()
    found = ways({RAW: x, RANDOM: x, FROZEN: x}, label, LABELS, 1, lambda _: 0.0, frozen.SAME)
    assert list(found) == [
        "random network, linear", "random network, kNN (k 20, T 0.07)", "pretrained, frozen, linear by SGD, 90 epochs"
    ]  # fmt: skip
    once = {"raw input, linear": [0.4], "random network, linear": [0.5, 0.6], "pretrained, frozen, linear": [0.7]}
    assert gains(once) == {
        "pretrained, frozen over random network": ([0.7, 0.7], [0.5, 0.6]),
        "pretrained, frozen over raw input": ([0.7], [0.4]),
    }
