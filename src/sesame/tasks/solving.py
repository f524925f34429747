"""The best linear head on a backbone that is not trained, worked out: no rate, no epochs, no chance.

What the head reads is kept of every layer: z_l, what is pooled of a sequence's states or a read state. Where the loss
is the mean cross-entropy of W Σ_l softmax(a)_l z_l + b, the layers' shares a, W and b are found together by L-BFGS,
with a penalty λ/2 |W|² on standardised inputs, from a = 0 and W = 0. λ is the one of `PENALTIES` that is best on dev.
The published way is Adam for 200,000 steps over the same functions (SUPERB; Yang et al. 2021).
"""

import time
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from scipy.optimize import minimize
from torch import Tensor

from sesame.tasks.finetune import Encoded, Evaluation, Tuning
from sesame.tasks.network import Network, groups_of, in_order

PENALTIES = (1.0, 0.1, 0.01, 1e-3)
"""λ, from the strongest; of several that are best on dev, the first."""
TINY = 1e-4
"""Spread below which a number counts as constant."""
MOST = 100
"""Iterations for each."""
SLOPE = 1e-4
"""Of the loss, in any direction, below which it counts as least: what is left changes no answer."""


@dataclass(frozen=True)
class Kept:
    """What a head reads of all examples, of every layer."""

    train: Float[Tensor, "train layer width"]
    dev: Float[Tensor, "dev layer width"]


def keep(network: Network, encoded: Encoded) -> Kept:
    """Of train and dev, by one pass through the backbone."""
    solved = encoded.data.task.solved
    return Kept(read(network, encoded.train, encoded.pad, solved), read(network, encoded.dev, encoded.pad, solved))


def read(network: Network, sequences: Any, pad: int, solved: str) -> Float[Tensor, "thing layer width"]:
    """Of `Sequences` what the head pools of each one's read states, or every read state, of each layer."""
    network.eval()
    groups, found = groups_of(sequences.lengths), []
    with torch.inference_mode():
        for chosen in groups:
            batch = network.batch(sequences, chosen, pad)
            states = network.backbone(batch.rows, layers=True)
            layers = states.layers if network.mix is not None else (states.last,)
            places = batch.at.places(batch.rows.example.shape[1])
            rows = [h.flatten(0, 1)[places][batch.order] for h in layers]
            if solved == "sequence":
                rows = [network.head.pool(h, batch) for h in rows]
            found.append(torch.stack(rows, 1).float().cpu())
    return in_order(found, groups, sequences)


def solve(network: Network, encoded: Encoded, kept: Kept, chosen: Int[np.ndarray, " chosen"]) -> Tuning:
    """Give `network` the best head for the `chosen` training sequences, with the penalty that is best on dev."""
    task, began = encoded.data.task, time.monotonic()
    train: Any = encoded.train
    assert train.target is not None, "only labelled sequences are learned from"
    things = chosen
    if task.solved == "read":
        edges = train.read_offsets
        things = np.concatenate([np.arange(edges[i], edges[i + 1]) for i in chosen])
    z, label = kept.train[torch.from_numpy(things)], torch.from_numpy(train.target[things])
    out: Any = network.head.out
    scaled = Scaled.of(z.mean(1))
    best: Evaluation | None = None
    weights: dict[str, Tensor] = {}
    start, steps = None, 0
    for penalty in PENALTIES:
        fit = minimised(scaled(z).double(), label, out.out_features, penalty, start, SLOPE)
        start, steps = fit, steps + fit.steps
        share = torch.softmax(fit.mix, 0)
        with torch.inference_mode():
            w, b = scaled.folded(fit.weight, fit.bias)
            scores = torch.einsum("l,nlw->nw", share, kept.dev.double()) @ w.T + b
        dev = task.metrics(encoded.data.dev, task.decode(encoded.data.dev, encoded.dev, scores.float().numpy()))
        if best is None or dev[task.metric] > best.dev[task.metric]:
            best = Evaluation(0.0, steps, time.monotonic() - began, fit.loss, dev)
            weights = {"mix": fit.mix, "weight": w, "bias": b}
    assert best is not None
    with torch.no_grad():
        out.weight.copy_(weights["weight"])
        out.bias.copy_(weights["bias"])
        if network.mix is not None:
            network.mix.weight.copy_(weights["mix"])
    return Tuning(network.eval(), task, (best,), best)


@dataclass(frozen=True)
class Scaled:
    """(z − mean) / spread, which a linear head can take into itself."""

    mean: Float[Tensor, " width"]
    spread: Float[Tensor, " width"]

    @classmethod
    def of(cls, z: Float[Tensor, "thing width"]) -> "Scaled":
        """By the even mix of the layers of what is learned from. What hardly varies stays as it is: the mean of what is
        normalised over an utterance is 0 and its deviation 1 but for rounding, which must not become an
        answer."""
        spread = z.std(0, unbiased=False)
        return cls(z.mean(0), torch.where(spread > TINY, spread, torch.ones(())))

    def __call__(self, z: Float[Tensor, "*thing width"]) -> Float[Tensor, "*thing width"]:
        return (z - self.mean) / self.spread

    def folded(
        self, weight: Float[Tensor, "out width"], bias: Float[Tensor, " out"]
    ) -> tuple[Float[Tensor, "out width"], Float[Tensor, " out"]]:
        """Weight and bias for z as it is."""
        inner = weight / self.spread.double()
        return inner, bias - inner @ self.mean.double()


@dataclass(frozen=True)
class Fit:
    mix: Float[Tensor, " layer"]
    weight: Float[Tensor, "out width"]
    bias: Float[Tensor, " out"]
    loss: float
    """Cross-entropy alone, in nats."""
    steps: int


def minimised(
    z: Float[Tensor, "thing layer width"],
    label: Int[Tensor, " thing"],
    out: int,
    penalty: float,
    start: Fit | None = None,
    slope: float = 1e-6,
) -> Fit:
    """The least mean cross-entropy + penalty/2 |W|², by L-BFGS in float64 from `start` (None: from nothing)."""
    _, layers, width = z.shape
    sizes = [layers, out * width, out]
    first = np.zeros(sum(sizes))
    if start is not None:
        first = torch.cat([start.mix, start.weight.flatten(), start.bias]).numpy()

    def parts(flat: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        mix, weight, bias = flat.split(sizes)
        return mix, weight.view(out, width), bias

    def entropy(mix: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        mixed = z[:, 0] if layers == 1 else torch.einsum("l,nlw->nw", torch.softmax(mix, 0), z)
        return F.cross_entropy(mixed @ weight.T + bias, label)

    def value(x: np.ndarray) -> tuple[float, np.ndarray]:
        flat = torch.from_numpy(x).requires_grad_(True)
        mix, weight, bias = parts(flat)
        total = entropy(mix, weight, bias) + penalty / 2 * (weight**2).sum()
        (gradient,) = torch.autograd.grad(total, flat)
        return float(total.detach()), gradient.numpy()

    with torch.enable_grad():
        found = minimize(value, first, jac=True, method="L-BFGS-B", options={"maxiter": MOST, "gtol": slope})
    mix, weight, bias = parts(torch.from_numpy(np.ascontiguousarray(found.x)))
    with torch.no_grad():
        loss = float(entropy(mix, weight, bias))
    return Fit(mix, weight, bias, loss, int(found.nit))
