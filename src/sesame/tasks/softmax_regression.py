"""Many multinomial logistic regressions with the same labels, one for each set of features, solved side by side.

Each minimises the mean cross-entropy plus ridge/2 · ‖W‖² over all weights W; the constant is a feature like any other.
That is strongly convex, so the loss is at most ‖gradient‖² / (2 · ridge) above its minimum: this says when one is
solved. No problem's answer depends on which others are solved with it.

L-BFGS (Nocedal 1980; Nocedal & Wright 2006, 7.2) from W = 0. Scores are linear in W, so the search along a direction
needs the change of the scores in that direction and no further product with the features: an iteration costs two such
products, however many points the search looks at. Its preconditioner is the mean of the second derivative's blocks
of a label with itself: the features' second moments, each thing weighted by how undecided it is, and the
ridge. (At W = 0 all of it has that shape; Böhning 1992, theorem 2.) Features that go together, as states do, would
otherwise take it several times as many iterations. It is worked out from some of the things, at W = 0 and once more on
the way, when most things are decided and count no longer. Labels come first in all that is kept, because products of
many things with few labels are faster that way round on one thread, and no slower on two (docs/results.md).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int64
from torch import Tensor

MEMORY = 10
"""Pairs of steps and changes of the gradient that L-BFGS remembers."""
PRECONDITIONED = (0, 10)
"""Iterations before which the preconditioner is worked out."""
ENOUGH, LEAST = 6, 5000
"""Things that it is worked out from, for each feature and at least. Fewer cost more iterations than they save."""
SLOPE = 0.5
"""A search ends where the slope is at most this share of the first one."""
SEARCHES = 30
PART = 2048
"""Things of which products are computed at a time."""


@dataclass(frozen=True)
class Fit:
    """What was found."""

    weight: Float[Tensor, "problem feature label"]
    above: Float[Tensor, " problem"]
    """At most so far above the least possible one is the loss, in nats."""
    iterations: int


def fit(
    x: list[Float[Tensor, "thing feature"]],
    label: Int64[Tensor, " thing"],
    labels: int,
    ridge: float,
    tolerance: float = 1e-4,
    most: int = 1000,
) -> Fit:
    """The weights of every problem: within `tolerance` nats of its minimum, unless `most` iterations were too few."""
    with torch.autocast(x[0].device.type, enabled=False):
        here = _Problems(x, label, labels, ridge)
        weight, above = torch.zeros_like(here.w).transpose(1, 2).contiguous(), torch.zeros_like(here.loss)
        number = torch.arange(len(x), device=above.device)
        for iteration in range(most + 1):
            far = here.gradient.square().sum((1, 2)) / (2 * ridge)
            weight[number], above[number] = here.w.transpose(1, 2), far
            moving = (far > tolerance).nonzero()[:, 0]
            if not len(moving) or iteration == most:
                break
            if len(moving) < len(number):
                number = number[moving]
                here.keep(moving)
            if iteration in PRECONDITIONED:
                here.precondition()
            here.move()
    return Fit(weight, above, iteration)


def standardised(
    x: Float[Tensor, "vector width"], known: int, rows: Sequence[Int64[Tensor, " thing"]] = ()
) -> Float[Tensor, "thing feature"]:
    """Every feature with mean 0 and variance 1 over the first `known` things, and one more that is always 1.

    A thing's features are a row of `x` or, with `rows`, those of x that it names, side by side. A feature that does not
    vary becomes 0. They are made in parts, for a copy of all would take longer than the arithmetic.
    """
    things = len(rows[0]) if rows else len(x)

    def parts(count: int) -> Iterator[Float[Tensor, "part feature"]]:
        """The first `count` things."""
        for start in range(0, count, PART):
            here = slice(start, min(start + PART, count))
            yield torch.cat([x[of[here]] for of in rows], 1) if rows else x[here]

    mean = torch.stack([part.sum(0) for part in parts(known)]).sum(0) / known
    variance = torch.stack([(part - mean).square_().sum(0) for part in parts(known)]).sum(0) / known
    deviation = variance.sqrt()
    deviation = torch.where(deviation > 1e-6 * mean.abs(), deviation, torch.inf)
    found = x.new_empty(things, len(mean) + 1)
    found[:, -1] = 1.0
    for here, part in zip(found[:, :-1].split(PART), parts(things), strict=True):
        torch.sub(part, mean, out=here).div_(deviation)
    return found


class _Problems:
    """Problems that are not solved yet: where they are, and what they remember of the way."""

    def __init__(
        self, x: list[Float[Tensor, "thing feature"]], label: Int64[Tensor, " thing"], labels: int, ridge: float
    ):
        self.x, self.label, self.ridge, self.n = x, label, ridge, len(label)
        self.w = x[0].new_zeros(len(x), labels, x[0].shape[1])
        self.scores = self.w.new_zeros(len(x), labels, self.n)
        self.loss, self.gradient = self._at(torch.full_like(self.scores, 1.0 / labels))
        self.pairs: list[tuple[Tensor, Tensor, Tensor]] = []
        self.factors: list[Tensor] = []

    def keep(self, which: Int64[Tensor, " kept"]) -> None:
        """Go on with some of them."""
        self.x = [self.x[i] for i in which.tolist()]
        self.w, self.scores, self.loss, self.gradient = (
            each[which] for each in (self.w, self.scores, self.loss, self.gradient)
        )
        self.pairs = [(step[which], change[which], bend[which]) for step, change, bend in self.pairs]
        self.factors = [self.factors[i] for i in which.tolist()]

    def precondition(self) -> None:
        """Work out the preconditioner where they are now."""
        every = slice(None, None, max(1, self.n // max(ENOUGH * self.w.shape[2], LEAST)))
        probability = self.scores[:, :, every].softmax(1)
        open_still = probability.mul_(1 - probability).mean(1)
        self.factors = [_factor(x[every], each, self.ridge) for x, each in zip(self.x, open_still, strict=True)]

    def move(self) -> None:
        """One step of L-BFGS."""
        direction = self._direction()
        rise = torch.stack([_product(d, x) for x, d in zip(self.x, direction, strict=True)])
        size, probability = self._search(direction, rise)
        step, before = size * direction, self.gradient
        self.w += step
        self.scores += size * rise
        self.loss, self.gradient = self._at(probability)
        change = self.gradient - before
        self.pairs = [*self.pairs[1 - MEMORY :], (step, change, _dot(step, change))]

    def _at(self, probability: Float[Tensor, "problem label thing"]) -> tuple[Tensor, Tensor]:
        """Loss and gradient where the labels have these probabilities; these are overwritten."""
        gold = self._of_label(probability)
        loss = self.ridge / 2 * _dot(self.w, self.w) - gold.log().mean(1)
        probability.scatter_(1, self._index(), (gold - 1)[:, None])
        gradient = torch.stack([p @ x for x, p in zip(self.x, probability, strict=True)])
        return loss, gradient.div_(self.n).add_(self.w, alpha=self.ridge)

    def _direction(self) -> Float[Tensor, "problem label feature"]:
        """Downhill: minus the gradient times what L-BFGS knows of the inverse of the second derivative."""
        found, shares = -self.gradient, []
        for step, change, bend in reversed(self.pairs):
            shares.append(_ratio(_dot(step, found), bend))
            found = found - _spread(shares[-1]) * change
        found = self._preconditioned(found)
        if self.pairs:
            _, change, bend = self.pairs[-1]
            found = found * _spread(torch.where(bend > 0, bend / _dot(change, self._preconditioned(change)), 1.0))
        for step, change, bend in self.pairs:
            found = found + _spread(shares.pop() - _ratio(_dot(change, found), bend)) * step
        return found

    def _preconditioned(self, x: Float[Tensor, "problem label feature"]) -> Float[Tensor, "problem label feature"]:
        """x times the inverse of what stands for the second derivative."""
        solved = [torch.cholesky_solve(each.T, factor).T for each, factor in zip(x, self.factors, strict=True)]
        return torch.stack(solved)

    def _search(
        self, direction: Float[Tensor, "problem label feature"], rise: Float[Tensor, "problem label thing"]
    ) -> tuple[Float[Tensor, "problem 1 1"], Float[Tensor, "problem label thing"]]:
        """How far to go along the direction, and the probabilities there: Newton's method in a bracket.

        The loss is convex along it. The slope there is small beside the first, and the loss no greater than it was.
        """
        along, across = self.ridge * _dot(self.w, direction), self.ridge * _dot(direction, direction)
        own, of_gold = self.ridge / 2 * _dot(self.w, self.w), self._of_label(rise).mean(1)
        first = _dot(self.gradient, direction)
        size = torch.ones_like(first)
        low, high = torch.zeros_like(first), torch.full_like(first, torch.inf)
        rounding = 8 * torch.finfo(first.dtype).eps * self.loss.abs().clamp(min=1.0)  # of a probability near 1 too
        for _ in range(SEARCHES):
            probability = torch.add(self.scores, _spread(size) * rise).softmax(1)
            mean = (probability * rise).sum(1)
            slope = mean.mean(1) - of_gold + along + size * across
            loss = own + size * along + size**2 / 2 * across - self._of_label(probability).log().mean(1)
            enough = (slope.abs() <= SLOPE * first.abs()) & (loss <= self.loss + rounding)
            if enough.all():
                break
            bend = ((probability * rise).mul_(rise).sum(1) - mean**2).mean(1) + across
            low, high = torch.where(slope < 0, size, low), torch.where(slope < 0, high, size)
            better = size - slope / bend
            middle = torch.where(high.isinf(), 2 * size, (low + high) / 2)
            better = torch.where((better > low) & (better < high), better, middle)
            size = torch.where(enough, size, better)
        return _spread(size), probability

    def _index(self) -> Int64[Tensor, "problem 1 thing"]:
        return self.label.expand(len(self.x), 1, -1)

    def _of_label(self, of_all: Float[Tensor, "problem label thing"]) -> Float[Tensor, "problem thing"]:
        return of_all.gather(1, self._index())[:, 0]


def _product(d: Float[Tensor, "label feature"], x: Float[Tensor, "thing feature"]) -> Float[Tensor, "label thing"]:
    """d xᵀ, in parts that stay in the processor's cache."""
    return torch.cat([d @ part.T for part in x.split(PART)], 1)


def _factor(
    x: Float[Tensor, "thing feature"], weight: Float[Tensor, " thing"], ridge: float
) -> Float[Tensor, "feature feature"]:
    """Of xᵀ diag(weight) x/n + ridge, and as much as rounding could take from it."""
    second = ((x * weight[:, None]).T @ x).div_(len(x))
    second.diagonal().add_(ridge + torch.finfo(x.dtype).eps * second.trace())
    return torch.linalg.cholesky(second)


def _dot(a: Float[Tensor, "problem label feature"], b: Float[Tensor, "problem label feature"]) -> Tensor:
    return (a * b).sum((1, 2))


def _ratio(a: Float[Tensor, " problem"], b: Float[Tensor, " problem"]) -> Float[Tensor, " problem"]:
    """a / b, and 0 where `b` is not above 0: a step so short that no number changed tells nothing."""
    return torch.where(b > 0, a / b, 0.0)


def _spread(x: Float[Tensor, " problem"]) -> Float[Tensor, "problem 1 1"]:
    return x[:, None, None]
