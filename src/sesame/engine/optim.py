"""Optimisers, the schedule of the learning rate, and the running average of the weights.

Optimiser state goes in and out under the names of the parameters, never their indices, so that a checkpoint says
what it holds and a model with another order of parameters cannot take it wrongly.
"""

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.optim.adamw import adamw

from sesame.config import Optimizer as OptimizerConfig


def rate_at(config: OptimizerConfig, step: int, steps: int) -> float:
    """The learning rate of step `step` (from 0) of `steps`, as a share of the peak.

    Linear from 0 over the first `warmup` share of the steps (the first step is already above 0), then down to `floor`
    at the last step.
    """
    warm = round(config.warmup * steps)
    if step < warm:
        return (step + 1) / warm
    if config.decay == "constant":
        return 1.0
    done = (step - warm) / max(steps - 1 - warm, 1)
    shape = 0.5 * (1 + math.cos(math.pi * done)) if config.decay == "cosine" else 1 - done
    return config.floor + (1 - config.floor) * shape


# Newton–Schulz coefficients and the five steps of Jordan et al. 2024 ("Muon"): they push every singular value into
# about [0.7, 1.2] rather than converge to 1, which costs nothing in training and saves half the steps.
_A, _B, _C = 3.4445, -4.7750, 2.0315


def orthogonalise(matrix: Float[Tensor, "rows columns"], steps: int = 5) -> Float[Tensor, "rows columns"]:
    """The nearest (semi-)orthogonal matrix, roughly: U V^T of the SVD, with singular values near 1 instead of at 1."""
    wide = matrix if matrix.shape[0] <= matrix.shape[1] else matrix.T
    x = wide / wide.norm().clamp(min=1e-7)
    for _ in range(steps):
        gram = x @ x.T
        x = _A * x + (_B * gram + _C * gram @ gram) @ x
    return x if matrix.shape[0] <= matrix.shape[1] else x.T


State = dict[str, dict[str, Tensor]]
"""Of each parameter, by name: what the optimiser remembers."""


class AdamW:
    """AdamW (Loshchilov & Hutter 2019) by torch's fused kernel; no decay on biases and norms.

    Not the class `torch.optim.AdamW`: making one imports torch's compiler, which takes time and memory, and its state
    is made in the first step, between the gradients, where it splits the memory that later steps need whole.

    `scale` holds, for parameters that learn slower than the others, their share of the rate.
    """

    def __init__(
        self, named: dict[str, nn.Parameter], config: OptimizerConfig, scale: Mapping[str, float] | None = None
    ):
        self.named, self.config, self.scale = named, config, scale or {}
        self.state: State = {
            name: {
                "step": torch.zeros((), device=p.device, dtype=torch.float32),
                "exp_avg": torch.zeros_like(p),
                "exp_avg_sq": torch.zeros_like(p),
            }
            for name, p in named.items()
        }

    def decay(self, name: str) -> float:
        return self.config.weight_decay if self.named[name].ndim > 1 else 0.0

    def group(self, name: str) -> tuple[float, float]:
        """Weight decay, and share of the rate: parameters that have both in common are stepped together."""
        return self.decay(name), self.scale.get(name, 1.0)

    def step(self, share: float) -> None:
        c = self.config
        for group in {self.group(name) for name in self.named}:
            decay, scale = group
            names = [n for n, p in self.named.items() if p.grad is not None and self.group(n) == group]
            kept = {key: [self.state[n][key] for n in names] for key in ("exp_avg", "exp_avg_sq", "step")}
            adamw(
                [self.named[n] for n in names],
                [g for n in names if (g := self.named[n].grad) is not None],
                kept["exp_avg"],
                kept["exp_avg_sq"],
                [],
                kept["step"],
                fused=True,
                amsgrad=False,
                maximize=False,
                lr=c.lr * share * scale,
                beta1=c.beta1,
                beta2=c.beta2,
                eps=c.eps,
                weight_decay=decay,
            )


class Muon:
    """Momentum, orthogonalised (Jordan et al. 2024), for the matrices inside the blocks.

    Not `torch.optim.Muon`: that one computes in bfloat16, which is over a hundred times slower on CPUs without
    AVX-512, takes a fused query-key-value matrix for one matrix, and knows no sharded parameters.
    """

    MOMENTUM = 0.95

    def __init__(self, named: dict[str, nn.Parameter], config: OptimizerConfig):
        self.named, self.config = named, config
        self.state: State = {name: {"momentum": torch.zeros_like(p)} for name, p in named.items()}

    def step(self, share: float) -> None:
        lr = self.config.muon_lr * share
        for name, parameter in self.named.items():
            if parameter.grad is None:
                continue
            momentum = self.state[name]["momentum"].lerp_(parameter.grad, 1 - self.MOMENTUM)
            update = parameter.grad.lerp(momentum, self.MOMENTUM)  # Nesterov
            parameter.mul_(1 - lr * self.config.weight_decay)
            parameter.add_(_spread(update, _stacked(name)), alpha=-lr)


def _spread(update: Tensor, parts: int) -> Tensor:
    """The orthogonalised update. A sharded one is gathered, because singular vectors need the whole matrix."""
    whole = gathered(update)
    if whole.dtype == torch.bfloat16:
        whole = whole.float()
    # sqrt(rows/columns) keeps the size of the output's change the same for every shape.
    result = torch.cat([orthogonalise(m) * max(1.0, m.shape[0] / m.shape[1]) ** 0.5 for m in whole.chunk(parts)])
    return place_like(result.to(update.dtype), update)


def _stacked(name: str) -> int:
    """How many matrices a fused parameter holds: `qkv` three, `kv` two."""
    return {"qkv": 3, "kv": 2}.get(name.split(".")[-2], 1)


class SGD:
    """Gradient descent, which touches those rows of a table alone that have a gradient (Mikolov et al. 2013)."""

    def __init__(self, named: dict[str, nn.Parameter], config: OptimizerConfig):
        self.named, self.config = named, config
        self.state: State = {}

    def step(self, share: float) -> None:
        lr = self.config.lr * share
        for parameter in self.named.values():
            gradient = parameter.grad
            if gradient is not None:
                parameter.add_(gradient, alpha=-lr)


class Momentum:
    """Gradient descent with momentum: v = m·v + g + λ·w, w = w − lr·v; with Nesterov's w = w − lr·(g + λ·w + m·v).

    As `torch.optim.SGD`, but without decay on biases and norms.
    """

    def __init__(self, named: dict[str, nn.Parameter], config: OptimizerConfig):
        self.named, self.config = named, config
        self.state: State = {name: {"momentum": torch.zeros_like(p)} for name, p in named.items()}

    def step(self, share: float) -> None:
        c = self.config
        for name, parameter in self.named.items():
            if parameter.grad is None:
                continue
            gradient = parameter.grad
            if parameter.ndim > 1:
                gradient = gradient.add(parameter, alpha=c.weight_decay)
            velocity = self.state[name]["momentum"].mul_(c.momentum).add_(gradient)
            update = gradient.add(velocity, alpha=c.momentum) if c.nesterov else velocity
            parameter.add_(update, alpha=-c.lr * share)


class Lars:
    """Layer-wise adaptive rates (You et al. 2017), in the order of operations of SimCLR's and BYOL's own code.

    Decay is added to the gradient *before* its norm is taken; the rate, times trust · ‖w‖ / ‖g + λ·w‖, goes *into* the
    momentum: v = m·v + rate·(g + λ·w), w = w − v. Biases and norms have neither decay nor a rate of their own.
    """

    def __init__(self, named: dict[str, nn.Parameter], config: OptimizerConfig):
        self.named, self.config = named, config
        self.state: State = {name: {"momentum": torch.zeros_like(p)} for name, p in named.items()}

    def step(self, share: float) -> None:
        c = self.config
        for name, parameter in self.named.items():
            if parameter.grad is None:
                continue
            update = parameter.grad
            if parameter.ndim > 1:
                update = update.add(parameter, alpha=c.weight_decay)
                own, its = gathered(parameter.norm()), gathered(update.norm())
                update = update * torch.where((own > 0) & (its > 0), c.trust * own / its, 1.0)
            velocity = self.state[name]["momentum"].mul_(c.momentum).add_(update, alpha=c.lr * share)
            parameter.sub_(velocity)


DESCENTS: dict[str, type[SGD] | type[Momentum] | type[Lars]] = {"sgd": SGD, "momentum": Momentum, "lars": Lars}


class Optimizer:
    """AdamW everywhere, or Muon on the blocks' matrices with AdamW on the rest, or descent; one schedule over all.

    `scale` is AdamW's: the share of the rate of parameters that learn slower.
    """

    def __init__(self, module: nn.Module, config: OptimizerConfig, scale: Mapping[str, float] | None = None):
        self.config = config
        self.named = {name: p for name, p in module.named_parameters() if p.requires_grad}
        if config.name in DESCENTS:
            self.parts: dict[str, AdamW | Muon | SGD | Momentum | Lars] = {
                config.name: DESCENTS[config.name](self.named, config)
            }
            return
        matrices = {n: p for n, p in self.named.items() if config.name == "muon" and p.ndim == 2 and "blocks." in n}
        self.parts = {"adamw": AdamW({n: p for n, p in self.named.items() if n not in matrices}, config, scale)}
        if matrices:
            self.parts["muon"] = Muon(matrices, config)

    @torch.no_grad()
    def step(self, share: float) -> None:
        """Change the weights, at `share` of the peak learning rates, and forget the gradients."""
        if self.config.name != "sgd":  # the others move every row at every step, also those without a gradient
            for parameter in self.named.values():
                if parameter.grad is not None and parameter.grad.is_sparse:
                    parameter.grad = parameter.grad.to_dense()
        for part in self.parts.values():
            part.step(share)
        for parameter in self.named.values():
            parameter.grad = None

    def clip(self) -> Float[Tensor, ""]:
        """Scale the gradients down to the norm `clip`; returns the norm before, still on the device."""
        sparse = [p for p in self.named.values() if p.grad is not None and p.grad.is_sparse]
        for parameter in sparse:  # by rows: every row once
            parameter.grad = parameter.grad.coalesce()  # type: ignore[union-attr]
        dense = [p for p in self.named.values() if p.grad is not None and not p.grad.is_sparse]
        rows = [p.grad.values() for p in sparse]  # type: ignore[union-attr]
        norm = torch.nn.utils.get_total_norm([*(p.grad for p in dense if p.grad is not None), *rows])
        norm = gathered(norm)
        if self.config.clip:
            torch.nn.utils.clip_grads_with_norm_(dense, self.config.clip, norm)
            for values in rows:
                values.mul_((self.config.clip / (norm + 1e-6)).clamp(max=1.0))
        return norm

    def state(self) -> dict[str, Tensor]:
        """Every tensor of the state as `adamw.exp_avg.<parameter>`."""
        return {
            f"{kind}.{key}.{name}": value
            for kind, part in self.parts.items()
            for name, state in part.state.items()
            for key, value in state.items()
        }

    def load(self, tensors: dict[str, Tensor]) -> None:
        """Take back what `state` gave, from whole tensors on the host."""
        for full, value in tensors.items():
            kind, key, name = full.split(".", 2)
            into = self.parts[kind].state[name][key]
            into.copy_(place_like(value, into))


# The classes of sharded tensors are imported only where there are any: they take longer to import than torch itself.
def gathered(value: Tensor) -> Tensor:
    """The whole tensor, of one that may be sharded. All processes must call this together."""
    return value.full_tensor() if hasattr(value, "full_tensor") else value


def place_like(value: Tensor, like: Any) -> Tensor:
    """`value` (whole, the same on all processes) with the device and the sharding of `like`; a copy."""
    value = value.to(like.device)
    if not hasattr(like, "full_tensor"):
        return value.clone()
    from torch.distributed.tensor import distribute_tensor

    return distribute_tensor(value, like.device_mesh, like.placements, src_data_rank=None)


class Average:
    """A running average of the weights: average ← decay·average + (1−decay)·weights, after every step."""

    def __init__(self, module: nn.Module, decay: float):
        self.decay = decay
        self.weights = dict(module.named_parameters())
        self.mean = {name: p.detach().clone() for name, p in self.weights.items()}

    @torch.no_grad()
    def update(self) -> None:
        torch._foreach_lerp_(list(self.mean.values()), [p.detach() for p in self.weights.values()], 1 - self.decay)

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Inside, the module's weights are the average."""
        self._exchange()
        try:
            yield
        finally:
            self._exchange()

    @torch.no_grad()
    def _exchange(self) -> None:
        for name, parameter in self.weights.items():
            live = parameter.detach().clone()
            parameter.copy_(self.mean[name])
            self.mean[name].copy_(live)
