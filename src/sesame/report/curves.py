"""Fine-tuning logs as curves: a mean over seeds with its standard error at every point."""

import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from sesame.report.reading import Row, gain_of, score
from sesame.tasks import comparison
from sesame.tasks.comparison import Result

ARMS = ("pretrained", "scratch", "embeddings", "frozen", "random", "raw")


@dataclass(frozen=True)
class Point:
    """One place on a curve: `mean` ± `se` over `n` seeds; `se` is None for a single one, which has none."""

    arm: str
    x: float
    mean: float
    se: float | None
    n: int


def mean_and_error(values: Sequence[float]) -> tuple[float, float | None]:
    """Mean, and its standard error (sample standard deviation over √n); None for a single value."""
    n = len(values)
    mean = math.fsum(values) / n
    spread = math.fsum((value - mean) ** 2 for value in values)
    return mean, math.sqrt(spread / (n - 1) / n) if n > 1 else None


def over_epochs(events: Iterable[Row], task: str, metric: str) -> list[Point]:
    """The score on dev over epochs, learned from all training examples.

    Rates that were only tried are logged as other events. Of a seed that was trained twice the later lines count.
    """
    scores: dict[tuple[str, float], dict[int, float]] = defaultdict(dict)
    for event in events:
        whole = event["event"] == "evaluate" and event["task"] == task and not event.get("labels")
        if whole and metric in event.get("dev", {}):
            scores[event["arm"], round(event["epoch"], 6)][event["seed"]] = event["dev"][metric]
    return _points({key: list(seeds.values()) for key, seeds in scores.items()})


def over_alpha(events: Iterable[Row], task: str) -> list[Point]:
    """The loss J(θ0 + α(θ1 − θ0)) between the first weights (α = 0) and the fine-tuned ones (α = 1).

    Hao et al. 2019, section 3.2.
    """
    losses: dict[tuple[str, float], list[float]] = defaultdict(list)
    for event in events:
        if event["task"] == task and event["event"] == "loss_curve":
            for alpha, loss in zip(event["alpha"], event["loss"], strict=True):
                if loss is not None and math.isfinite(loss):
                    losses[event["arm"], round(alpha, 6)].append(loss)
    return _points(losses)


def over_labels(result: Result) -> list[Point]:
    """The score on test of every arm over the number of training examples."""
    return [
        Point(arm, float(count), known.mean, known.se, known.n)
        for arm in ARMS
        for count, part in by_labels(result)
        if (known := score(part, arm))
    ]


def gain_over_labels(result: Result) -> list[Point]:
    """The paired gain over the number of training examples."""
    return [
        Point("gain", float(count), gain.mean, gain.se, ours.n)
        for count, part in by_labels(result)
        if (gain := gain_of(part)) and (ours := part.pretrained or part.frozen)
    ]


def by_labels(result: Result) -> list[tuple[int, comparison.Point]]:
    """The results for smaller training sets and for all of it, by size."""
    parts = {int(count): part for count, part in result.labels.items()} | {result.train: result}
    return sorted(parts.items(), key=lambda item: item[0])


def _points(values: dict[tuple[str, float], list[float]]) -> list[Point]:
    order = {arm: number for number, arm in enumerate(ARMS)}
    keys = sorted(values, key=lambda key: (order.get(key[0], len(order)), key))
    return [Point(arm, float(x), *mean_and_error(values[arm, x]), len(values[arm, x])) for arm, x in keys]
