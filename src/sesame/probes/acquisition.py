"""When a model learned what: where a curve reaches half, and nine tenths, of its final score, in tokens and steps.

The final score is the share right in the last three measurements together. A curve "reaches and stays at" a level
where its isotonic fit does: the closest curve (least squares, weighted by the items asked) that never falls, so that
one unlucky measurement is neither learning nor forgetting. Between two measurements it is interpolated over the
logarithm of the tokens, and in the stretch that begins with no tokens over the tokens themselves.

Intervals are bootstraps over the items, the same resample at all steps, from which the curve, its fit and its final
score are made anew. Of several runs (seeds) the runs are resampled too, and the tokens of a resample are the geometric
mean over its runs, of the tokens and those of the first measured step together, which are taken off again: a run that
is there at the start counts like one that needs a step, not like one that needs a single token. With few runs such an
interval is a little short: n of them vary by (n − 1)/n of what they should.

A group counts as learned where its final score is above 10% and above the unigram baseline. Where the probe says
what guessing gets (`…_chance`; of a pair, half), shares of the final score are counted from there, and the interval of
the final score must lie above it.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float, Int
from scipy.stats import kendalltau

from sesame.data import chance
from sesame.errors import UserError
from sesame.probes.answers import Answered, curves, resampled

LAST = 3
"""Measurements at the end that make the final score."""
FLOOR = 0.1
SHARES = (0.5, 0.9)
RESAMPLES = 1000
PUBLISHED = (
    ("determiner", "conjunction", "preposition", "pronoun"),
    ("adverb", "verb"),
    ("noun", "adjective"),
    ("proper noun",),
)
"""In which order ALBERT learned to reconstruct word classes (Chiang, Huang & Lee 2020, 3)."""


@dataclass(frozen=True)
class Reached:
    """Where a group reached a share of its final score, with 95% intervals."""

    share: float
    tokens: float
    tokens_low: float
    tokens_high: float
    step: float
    step_low: float
    step_high: float
    rank: float
    """Among the groups that were learned, from 1; equal ones share the mean of their ranks."""
    rank_low: float
    rank_high: float


@dataclass(frozen=True)
class Group:
    name: str
    items: int
    final: float
    low: float
    high: float
    baseline: float | None
    """None where none was measured."""
    not_learned: str
    """Why it does not count as learned; empty where it does."""
    reached: tuple[Reached, ...]
    """One for each of SHARES; empty where it was not learned."""


@dataclass(frozen=True)
class Rise:
    """A stretch between two measurements in which a curve rose by much, and by more than chance explains."""

    run: str
    group: str
    step: tuple[int, int]
    tokens: tuple[int, int]
    score: tuple[float, float]
    low: float
    """95% interval of the rise."""
    high: float


@dataclass(frozen=True)
class Agreement:
    """How well an order fits a given one, in which groups may stand side by side."""

    tau: float
    """Kendall's tau of the pairs that the given order tells apart (Somers' D): the share of them that agree, less the
    share that do not."""
    low: float
    high: float
    pairs: int
    """Of groups that the given order tells apart; …"""
    agreeing: int
    """… those that are in the same order here."""


@dataclass(frozen=True)
class Acquisition:
    groups: tuple[Group, ...]
    """Those that were learned in the order in which they reached the first of SHARES, then the others."""
    learned: tuple[str, ...]
    before: dict[float, Float[np.ndarray, "group group"]]
    """By share: in what part of the resamples the learned group of the row came before that of the column."""
    published: Agreement | None
    """With the order given, at the first of SHARES; None where it tells no two of the learned groups apart."""
    seeds: Float[np.ndarray, "run run"]
    """Kendall's tau-b between the orders of any two runs, at the first of SHARES; NaN where fewer than two groups."""
    rises: tuple[Rise, ...]
    counted: bool
    """Whether tokens are tokens; they are steps where those were not known of every run."""
    left_out: tuple[str, ...]
    """Groups that were not measured often enough in every run."""


def acquired(
    runs: Sequence[Answered],
    published: Sequence[Sequence[str]] = PUBLISHED,
    resamples: int = RESAMPLES,
    rise: float = 0.25,
) -> Acquisition:
    """The order of acquisition in one run, or in several of the same recipe with other seeds.

    `rise` is the share of the final score by which a curve must rise between two measurements to count as a sudden
    rise. Raises UserError where there are too few measurements.
    """
    if not (counted := all(run.counted for run in runs)):
        runs = [replace(run, tokens=run.steps) for run in runs]
    every = sorted({name for run in runs for name in run.names()})
    names = [name for name in every if all(len(run.of(name).steps) > LAST for run in runs)]
    if not names:
        raise UserError(
            f"{', '.join(run.label for run in runs)}: nothing was measured at {LAST + 1} steps or more, as it takes "
            "to say when something was learned. `sesame watch RUN` measures the checkpoints of a run."
        )
    found = {name: _group(runs, name, resamples) for name in names}
    baseline, guessing = [run.baseline for run in runs], [run.chance for run in runs]
    why = {
        name: _not_learned(_estimate(found[name].final), _highest(baseline, name), _highest(guessing, name))
        for name in names
    }
    learned = sorted((name for name in names if not why[name]), key=lambda name: found[name].tokens[0, 0])
    ranks = [_ranks([found[name].tokens[:, s] for name in learned]) for s in range(len(SHARES))]
    groups = []
    for name in [*learned, *(name for name in names if why[name])]:
        one = found[name]
        reached = [
            Reached(
                share,
                *_estimate(one.tokens[:, s]),
                *_estimate(one.steps[:, s]),
                *_estimate(ranks[s][:, learned.index(name)]),
            )
            for s, share in enumerate(SHARES)
            if not why[name]
        ]
        groups.append(
            Group(name, one.items, *_estimate(one.final), _highest(baseline, name), why[name], tuple(reached))
        )
    times = {name: found[name].tokens for name in learned}
    return Acquisition(
        tuple(groups),
        tuple(learned),
        {share: _before([times[name][:, s] for name in learned]) for s, share in enumerate(SHARES)},
        agreement({name: times[name][:, 0] for name in learned}, published),
        np.array([[_tau(found, learned, a, b) for b in range(len(runs))] for a in range(len(runs))]),
        tuple(found_rise for run in runs for name in names for found_rise in rises(run, name, rise, resamples)),
        counted,
        tuple(name for name in every if name not in names),
    )


@dataclass(frozen=True)
class _Times:
    """Of one group; the first of the resamples is the data themselves."""

    items: int
    final: Float[np.ndarray, " resample"]
    tokens: Float[np.ndarray, "resample share"]
    steps: Float[np.ndarray, "resample share"]
    alone: Float[np.ndarray, " run"]
    """Tokens to the first share in each run by itself."""


def _group(runs: Sequence[Answered], name: str, resamples: int) -> _Times:
    final = np.empty((len(runs), resamples + 1))
    tokens, steps = np.empty((2, len(runs), resamples + 1, len(SHARES)))
    groups = [run.of(name) for run in runs]
    for r, group in enumerate(groups):
        made = curves(group.right, resampled(group.keys, resamples))
        final[r], guess = _final(made, group.asked), group.chance.get(name, 0.0)
        fit = isotonic(made, group.asked)
        for s, share in enumerate(SHARES):
            tokens[r, :, s] = reach(fit, group.tokens, guess + share * (final[r] - guess))
        steps[r] = np.interp(tokens[r], group.tokens, group.steps)
    chosen = np.tile(np.arange(len(runs))[:, None], resamples + 1)
    number = np.arange(1, resamples + 1)[None]
    chosen[:, 1:] = chance.integers(len(runs), "bootstrap runs", number, np.arange(len(runs))[:, None])

    def over_runs(value: np.ndarray) -> np.ndarray:
        return np.take_along_axis(value, chosen.reshape(chosen.shape + (1,) * (value.ndim - 2)), 0).mean(0)

    def geometric(value: np.ndarray, first: int) -> np.ndarray:
        return first * np.expm1(over_runs(np.log1p(value / first)))

    first_tokens = min(int(group.tokens[group.tokens > 0].min()) for group in groups)
    first_step = min(int(group.steps[group.steps > 0].min()) for group in groups)
    return _Times(
        max(len(group.keys) for group in groups),
        over_runs(final),
        geometric(tokens, first_tokens),
        geometric(steps, first_step),
        tokens[:, 0, 0],
    )


def _final(made: Float[np.ndarray, "curve step"], weight: Int[np.ndarray, " step"]) -> Float[np.ndarray, " curve"]:
    return np.average(made[:, -LAST:], 1, weight[-LAST:])


def isotonic(
    values: Float[np.ndarray, "curve step"], weight: Int[np.ndarray, " step"]
) -> Float[np.ndarray, "curve step"]:
    """The weighted least-squares fit of each curve that never falls: the greatest, over where a run of steps may have
    begun, of the least mean over where it may end (Robertson, Wright & Dykstra 1988, theorem 1.4.4)."""
    steps = values.shape[1]
    sums = np.cumsum(np.concatenate([np.zeros((len(values), 1)), values * weight], 1), 1)
    counts = np.cumsum(np.concatenate([[0.0], weight]))
    fit = np.full(values.shape, -np.inf)
    for begin in range(steps):
        means = (sums[:, begin + 1 :] - sums[:, begin : begin + 1]) / (counts[begin + 1 :] - counts[begin])
        fit[:, begin:] = np.maximum(fit[:, begin:], np.minimum.accumulate(means[:, ::-1], 1)[:, ::-1])
    return fit


def reach(
    fit: Float[np.ndarray, "curve step"], tokens: Int[np.ndarray, " step"], level: Float[np.ndarray, " curve"]
) -> Float[np.ndarray, " curve"]:
    """Tokens at which each curve, which never falls, reaches its level; those of the first step where it is there.

    The level must be reached in the end: an isotonic fit ends at or above the mean of any number of last values.
    """
    above = fit >= level[:, None] - 1e-12
    after = np.argmax(above, 1)
    before = np.maximum(after - 1, 0)
    row = np.arange(len(fit))
    low, high = fit[row, before], fit[row, after]
    part = np.where(high > low, (level - low) / np.where(high > low, high - low, 1.0), 0.0)
    x = tokens.astype(float)
    logs = np.log(np.maximum(x, 1.0))
    between = np.where(x[before] > 0, np.exp(logs[before] + part * (logs[after] - logs[before])), part * x[after])
    return np.where(after > 0, between, x[0])


# --------------------------------------------------------------------------------------------- learned?
def _not_learned(final: tuple[float, float, float], baseline: float | None, guessing: float | None) -> str:
    score, low, _ = final
    if score <= FLOOR:
        return f"its final score, {score:.1%}, is not above {FLOOR:.0%}"
    if baseline is not None and score <= baseline:
        return f"its final score, {score:.1%}, is not above the unigram baseline, {baseline:.1%}"
    if guessing is not None and low <= guessing:
        return f"its final score, {score:.1%}, is not clearly above the {guessing:.0%} of guessing"
    return ""


def _highest(levels: Sequence[dict[str, float]], name: str) -> float | None:
    return max((level[name] for level in levels if name in level), default=None)


# ----------------------------------------------------------------------------------------------- orders
def _estimate(resamples: Float[np.ndarray, " resample"]) -> tuple[float, float, float]:
    """The first value, which is the estimate, and the 95% percentile interval of the others."""
    low, high = np.quantile(resamples[1:], (0.025, 0.975)).tolist()
    return float(resamples[0]), low, high


def _ranks(times: list[Float[np.ndarray, " resample"]]) -> Float[np.ndarray, "resample group"]:
    """The rank of each group in each resample, from 1; ties share their mean."""
    table = np.stack(times, 1) if times else np.zeros((1, 0))
    earlier = (table[:, None, :] < table[:, :, None]).sum(2)
    same = (table[:, None, :] == table[:, :, None]).sum(2)
    return 1 + earlier + (same - 1) / 2


def _before(times: list[Float[np.ndarray, " resample"]]) -> Float[np.ndarray, "group group"]:
    """In what part of the resamples the one came before the other; a tie is half of each."""
    table = np.stack(times)[:, 1:] if times else np.zeros((0, 1))
    first, second = table[:, None], table[None]
    return ((first < second) + 0.5 * (first == second)).mean(2)


def _tau(found: dict[str, _Times], learned: Sequence[str], a: int, b: int) -> float:
    """Kendall's tau-b between the orders of two runs."""
    if len(learned) < 2:
        return float("nan")
    return float(kendalltau([found[n].alone[a] for n in learned], [found[n].alone[b] for n in learned]).statistic)


def agreement(times: dict[str, Float[np.ndarray, " resample"]], published: Sequence[Sequence[str]]) -> Agreement | None:
    """How the groups' times fit a published order; of each group the first time is the estimate, the rest resamples."""
    place = {name: number for number, side_by_side in enumerate(published) for name in side_by_side if name in times}
    names = list(place)
    pairs = [(a, b) for a in names for b in names if place[a] < place[b]]
    if not pairs:
        return None
    tau = np.mean([np.sign(times[b] - times[a]) for a, b in pairs], axis=0)
    agreeing = sum(bool(times[a][0] < times[b][0]) for a, b in pairs)
    return Agreement(*_estimate(tau), len(pairs), agreeing)


# ------------------------------------------------------------------------------------------------ rises
def rises(run: Answered, name: str, least: float, resamples: int = RESAMPLES) -> list[Rise]:
    """The stretches between two measurements in which a group's score rises by over `least` of its final score, and
    by over what chance makes of the largest rise of a level curve in one of twenty: the 95% quantile, over the
    resamples, of the largest deviation of any stretch in standard errors (a max-T test: Westfall & Young 1993).
    """
    group = run.of(name)
    made = curves(group.right, resampled(group.keys, resamples))
    risen = np.diff(made, axis=1)
    errors = risen[1:].std(0, ddof=1)
    away = (risen[1:] - risen[0]) / np.where(errors > 0, errors, 1.0)
    limit = float(np.quantile(away.max(1), 0.95))
    final = _final(made[:1], group.asked)[0]
    low, high = np.quantile(risen[1:], (0.025, 0.975), axis=0)
    sudden = np.flatnonzero((risen[0] > least * final) & (risen[0] > limit * errors) & (risen[0] > 0))
    return [
        Rise(
            run.label,
            name,
            (int(group.steps[i]), int(group.steps[i + 1])),
            (int(group.tokens[i]), int(group.tokens[i + 1])),
            (float(made[0, i]), float(made[0, i + 1])),
            float(low[i]),
            float(high[i]),
        )
        for i in sudden.tolist()
    ]
