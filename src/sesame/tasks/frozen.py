"""What labels can be told from features that are not trained: by a linear layer, and by nearest neighbours.

The linear layer is solved to convergence (multinomial logistic regression on standardised features, its ridge chosen on
dev), or trained as SimCLR's papers do it. Everything is done alike to the pretrained network's features, to those of
the same network with random weights, and to the raw input.
"""

import math
from collections.abc import Callable, Collection
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64
from torch import Tensor, nn

from sesame.config import Optimizer
from sesame.data.chance import permute
from sesame.engine import optim
from sesame.tasks.softmax_regression import fit, standardised

RIDGES = (1.0, 0.1, 0.01, 1e-3, 1e-4)
"""Of the logistic regression; of several that are best on dev, the strongest."""
NEIGHBOURS, TEMPERATURE = 20, 0.07
"""k and T of weighted nearest neighbours (Wu et al. 2018, section 3.4)."""
TOGETHER = 1024
"""Things whose neighbours are looked for at once."""
EPOCHS, ROWS, RATE = 90, 256, 0.1
"""SimCLR's linear evaluation (Chen et al. 2020, appendix B.6): the rate is for 256 rows in a step."""

Scores = Float[Tensor, "asked label"]


@dataclass(frozen=True)
class Features:
    """Of one kind, for the examples of a task."""

    train: Float[Tensor, "train width"]
    dev: Float[Tensor, "dev width"]
    test: Float[Tensor, "test width"]

    def of(self, chosen: Int64[Tensor, " chosen"]) -> "Features":
        """With those of the training examples alone."""
        return Features(self.train[chosen], self.dev, self.test)


def linear(
    x: Features, label: Int64[Tensor, " train"], labels: int, on_dev: Callable[[Scores], float]
) -> Float[Tensor, "test label"]:
    """Scores on test of the logistic regression whose ridge is best on dev."""
    n = len(x.train)
    whole = standardised(torch.cat([x.train, x.dev, x.test]), n)
    best, chosen = -math.inf, whole.new_zeros(len(x.test), labels)
    for ridge in RIDGES:
        scores = whole[n:] @ fit([whole[:n]], label, labels, ridge).weight[0]
        dev, test = scores.split([len(x.dev), len(x.test)])
        if (reached := on_dev(dev)) > best:
            best, chosen = reached, test
    return chosen


def nearest(
    known: Float[Tensor, "known width"],
    label: Int64[Tensor, " known"],
    labels: int,
    asked: Float[Tensor, "asked width"],
    neighbours: int = NEIGHBOURS,
    temperature: float = TEMPERATURE,
) -> Float[Tensor, "asked label"]:
    """Votes of the nearest known things by cosine, each with exp(cosine / temperature)."""
    known, asked = F.normalize(known, dim=1), F.normalize(asked, dim=1)
    found = []
    for some in asked.split(TOGETHER):
        cosine, which = (some @ known.T).topk(min(neighbours, len(known)))
        votes = cosine.new_zeros(len(some), labels)
        found.append(votes.scatter_add_(1, label[which], (cosine / temperature).exp()))
    return torch.cat(found)


def by_protocol(x: Features, label: Int64[Tensor, " train"], labels: int, seed: int) -> Float[Tensor, "test label"]:
    """Scores on test of a linear layer trained by SimCLR's protocol: 90 epochs of SGD with Nesterov's momentum 0.9, no
    decay, rate 0.1 · rows/256 falling along a cosine; the last weights, whatever dev says. Here without augmentation,
    since features are computed once.
    """
    n = len(x.train)
    rows = min(ROWS, n)
    steps = EPOCHS * (n // rows)
    head = nn.Linear(x.train.shape[1], labels).to(x.train)
    nn.init.zeros_(head.weight)  # the loss is convex: where it starts does not matter
    nn.init.zeros_(head.bias)
    c = Optimizer(name="momentum", lr=RATE * rows / 256, nesterov=True, weight_decay=0.0, warmup=0.0, decay="cosine")
    optimizer = optim.Optimizer(head, c)
    for epoch in range(EPOCHS):
        order = torch.from_numpy(permute(torch.arange(n).numpy(), n, "linear protocol", seed, epoch))
        for number, some in enumerate(order.split(rows)[: n // rows]):
            F.cross_entropy(head(x.train[some]), label[some]).backward()
            optimizer.step(optim.rate_at(c, epoch * (n // rows) + number, steps))
    with torch.no_grad():
        return head(x.test)


def named(what: str, how: str) -> str:
    """What a row of the result is called."""
    return f"{what}, {how}"


LINEAR = "linear"
BY_NEIGHBOURS = f"kNN (k {NEIGHBOURS}, T {TEMPERATURE})"
PROTOCOL = f"linear by SGD, {EPOCHS} epochs"
RAW, RANDOM, FROZEN = "raw input", "random network", "pretrained, frozen"
SAME = {named(what, how) for what in (RAW, FROZEN) for how in (LINEAR, BY_NEIGHBOURS)}
"""Rows that leave nothing to chance: from the same examples, every seed has the same score."""
GAINS = {f"{FROZEN} over {RANDOM}": (FROZEN, RANDOM), f"{FROZEN} over {RAW}": (FROZEN, RAW)}
"""Of the linear rows, seed by seed."""


def ways(
    features: dict[str, Features],
    label: Int64[Tensor, " train"],
    labels: int,
    seed: int,
    on_dev: Callable[[Scores], float],
    known: Collection[str] = (),
) -> dict[str, Scores]:
    """Scores on test of every way, by the name of its row, without those that are `known` already.

    `features` has only the chosen training examples.
    """
    found: dict[str, Scores] = {}
    for what, x in features.items():
        if (name := named(what, LINEAR)) not in known:
            found[name] = linear(x, label, labels, on_dev)
        if (name := named(what, BY_NEIGHBOURS)) not in known:
            found[name] = nearest(x.train, label, labels, x.test)
        if what == FROZEN:
            found[named(what, PROTOCOL)] = by_protocol(x, label, labels, seed)
    return found


def gains(scores: dict[str, list[float]]) -> dict[str, tuple[list[float], list[float]]]:
    """What is compared with what, seed by seed; a score that is the same for all seeds stands beside each."""
    both = {name: (named(ours, LINEAR), named(theirs, LINEAR)) for name, (ours, theirs) in GAINS.items()}
    found = {}
    for name, (a, b) in both.items():
        if a in scores and b in scores:
            n = max(len(scores[a]), len(scores[b]))
            ours, theirs = (scores[row] * (n if len(scores[row]) == 1 else 1) for row in (a, b))
            found[name] = ours, theirs
    return found
