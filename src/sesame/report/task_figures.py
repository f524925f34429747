"""Fine-tuning as figures: the three arms of a task over epochs, over labels and along the loss curve."""

from collections.abc import Sequence

import altair as alt

from sesame.report import curves, figures, wording
from sesame.report.curves import ARMS, Point
from sesame.report.figures import Figure, Look
from sesame.report.reading import FineTuning, Row, gain_of
from sesame.tasks.comparison import Gain, Result

ARM_LOOKS = figures.looks(ARMS)
GAIN_LOOK = Look("gain", ARM_LOOKS[0].colour, ARM_LOOKS[0].dash, ARM_LOOKS[0].shape)
GAIN = "gain of pretraining"
COMPARED = "Pretrained minus scratch, or frozen minus random features"
TWO_ERRORS = "two standard errors each way"
ONE_SEED = "one seed, no error known"
_KNOWN = "isValid(datum.low)"
"""Rows with an error: where none is known there is no band to draw."""


def gain_by_task(results: Sequence[tuple[str, Result]]) -> Figure | None:
    """The paired gain of every task, at a glance; None where nothing is compared."""
    gains = [(name, gain) for name, result in results if (gain := gain_of(result))]
    if not gains:
        return None
    rows = [{"task": name, **_span(gain.mean, gain.se, scale=100.0, errors=2.0)} for name, gain in gains]
    said = "; ".join(f"{name} {wording.gain(gain)}" for name, gain in gains)
    x = alt.X("mean:Q", title=f"{GAIN} × 100", axis=alt.Axis(tickCount=6))
    low = alt.X("low:Q", title=f"{GAIN} × 100")
    base = alt.Chart().encode(y=alt.Y("task:N", title=None, sort=None, axis=alt.Axis(labelLimit=150, grid=False)))
    zero = alt.Chart().mark_rule(color=figures.INK, opacity=0.6).encode(x=alt.datum(0))
    bars = base.transform_filter(_KNOWN).mark_rule(color=GAIN_LOOK.colour, strokeWidth=3).encode(x=low, x2="high:Q")
    tip = [alt.Tooltip("task:N"), *_numbers([gain.se for _, gain in gains])]
    dots = base.mark_point(color=GAIN_LOOK.colour, size=90, filled=True, opacity=1).encode(x=x, tooltip=tip)
    bands = _of_errors(f"The bars span {TWO_ERRORS}.", [gain.se for _, gain in gains])
    summary = f"{COMPARED}, paired by seed: {said}. {bands}"
    return Figure(
        "gain-by-task",
        f"{GAIN}, by task",
        summary,
        rows,
        alt.layer(zero, bars, dots),
        height=60 + 40 * len(rows),
    )


def task_figures(tuning: FineTuning, task: str, stem: str) -> list[Figure]:
    """What there is of: scores over epochs and over labels, the loss curve. `stem` begins the names of all."""
    result = tuning.tasks.get(task)
    metric = result.metric if result else _first_metric(tuning, task)
    found = []
    if points := curves.over_epochs(tuning.events, task, metric):
        found.append(_over_epochs(stem, metric, points))
    if result and len(curves.by_labels(result)) > 1:
        found.append(_over_labels(stem, metric, curves.over_labels(result)))
        if gains := curves.gain_over_labels(result):
            found.append(_gain_over_labels(stem, gains))
    if points := curves.over_alpha(tuning.events, task):
        found.append(_over_alpha(stem, points))
    return found


def _first_metric(tuning: FineTuning, task: str) -> str:
    """Where no result names the metric: the first score that the log has."""
    return next((name for event in tuning.events if event["task"] == task for name in event.get("dev", {})), "")


def _over_epochs(stem: str, metric: str, points: list[Point]) -> Figure:
    best = {arm: max(own, key=lambda point: point.mean) for arm, own in _by_arm(points).items()}
    said = "; ".join(f"{arm} at best {wording.score(p.mean, p.se)}, after {p.x:g} epochs" for arm, p in best.items())
    seeds = sorted({point.n for point in points})
    over = f"mean and standard error over {seeds[-1]} seeds" if seeds[-1] > 1 else ONE_SEED
    note = "" if len(seeds) == 1 else " Where a seed has fewer epochs, the mean is over the others."
    summary = f"On dev, {over}: {said}.{note}"
    chart = _lines(figures.x_axis("epoch", "epochs"), f"{wording.metric(metric)} × 100", points)
    title = f"{wording.metric(metric)} on dev over epochs"
    return Figure(f"{stem}-over-epochs", title, summary, _rows(points, "epoch", scale=100.0), chart)


def _over_labels(stem: str, metric: str, points: list[Point]) -> Figure:
    said = "; ".join(
        f"{arm} {', '.join(f'{wording.points(p.mean)} with {p.x:,.0f}' for p in own)}"
        for arm, own in _by_arm(points).items()
    )
    chart = _lines(_label_axis(points), f"{wording.metric(metric)} × 100", points)
    bands = _of_errors("The bands are standard errors over seeds.", [p.se for p in points])
    summary = f"On test, by the number of training examples: {said}. {bands}"
    title = f"{wording.metric(metric)} on test over labels"
    return Figure(f"{stem}-over-labels", title, summary, _rows(points, "labels", scale=100.0), chart)


def _gain_over_labels(stem: str, points: list[Point]) -> Figure:
    said = ", ".join(f"{wording.gain(Gain(p.mean, p.se))} with {p.x:,.0f}" for p in points)
    zero = alt.Chart().mark_rule(color=figures.INK, opacity=0.6).encode(y=alt.datum(0))
    chart = alt.layer(zero, _lines(_label_axis(points), f"{GAIN} × 100", points, [GAIN_LOOK]))
    bands = _of_errors(f"The band spans {TWO_ERRORS}.", [p.se for p in points])
    summary = f"{COMPARED}, paired by seed: {said}. {bands}"
    rows = _rows(points, "labels", scale=100.0, errors=2.0)
    return Figure(f"{stem}-gain-over-labels", f"{GAIN} over labels", summary, rows, chart)


def _over_alpha(stem: str, points: list[Point]) -> Figure:
    said = "; ".join(f"{arm} from {_at(own, 0.0):.3g} to {_at(own, 1.0):.3g}" for arm, own in _by_arm(points).items())
    ends = alt.layer(*(alt.Chart().mark_rule(color=figures.INK, strokeDash=[2, 2], opacity=0.6).encode(x=alt.datum(end))
                       for end in (0, 1)))  # fmt: skip
    x = figures.x_axis("alpha", "α (0: before fine-tuning, 1: after)")
    chart = alt.layer(ends, _lines(x, "training loss", points))
    summary = f"The training loss at θ0 + α(θ1 − θ0), from before fine-tuning to after: {said}."
    return Figure(f"{stem}-loss-curve", "loss curve J(α)", summary, _rows(points, "alpha", scale=1.0), chart)


# ------------------------------------------------------------------------------------------------- parts
def _lines(
    x: alt.X, title: str, points: Sequence[Point], looks: Sequence[Look] = ARM_LOOKS
) -> alt.LayerChart | alt.FacetChart:
    """A line with a band and dots for every series, from the rows of `_rows`."""
    shown = [look for look in looks if any(point.arm == look.name for point in points)]
    base = alt.Chart().encode(x=x, color=figures.colour("arm", shown))
    band = base.transform_filter(_KNOWN).mark_area(opacity=0.18).encode(y=figures.y_axis("low", title), y2="high:Q")
    mean = base.encode(y=figures.y_axis("mean", title))
    line = mean.mark_line(strokeWidth=2).encode(strokeDash=figures.dash("arm", shown))
    tip = [alt.Tooltip("arm:N"), *_numbers([p.se for p in points]), alt.Tooltip("n:Q", title="seeds")]
    dots = mean.mark_point(size=50, filled=True, opacity=1).encode(shape=figures.shape("arm", shown), tooltip=tip)
    return alt.layer(band, line, dots)


def _label_axis(points: Sequence[Point]) -> alt.X:
    """Numbers of labels on a logarithmic axis, each of them named."""
    ticks = sorted({point.x for point in points})
    axis = alt.Axis(values=ticks, format=",d", labelOverlap=True, grid=False)
    return alt.X(
        "labels",
        type="quantitative",
        title="training examples",
        scale=alt.Scale(type="log", nice=False, padding=20),
        axis=axis,
    )


def _numbers(errors: Sequence[float | None]) -> list[alt.Tooltip]:
    """The mean, and the ends of its band where one is drawn: what is not known would be told as 0."""
    ends = ("low", "high") if any(se is not None for se in errors) else ()
    return [alt.Tooltip(f"{field}:Q", format=".4~g") for field in ("mean", *ends)]


def _rows(points: Sequence[Point], x: str, scale: float, errors: float = 1.0) -> list[Row]:
    return [{"arm": p.arm, x: p.x, "n": p.n, **_span(p.mean, p.se, scale, errors)} for p in points]


def _of_errors(bands: str, errors: Sequence[float | None]) -> str:
    """What `bands` says of a figure's bands, as far as there are any."""
    if all(se is None for se in errors):
        return f"{ONE_SEED.capitalize()}."
    return bands + (f" Without one: {ONE_SEED}." if None in errors else "")


def _span(mean: float, se: float | None, scale: float, errors: float) -> Row:
    """A mean and the ends of its band, `errors` standard errors away, in units of 1/`scale`; None without an error."""
    if se is None:
        return {"mean": scale * mean, "se": None, "low": None, "high": None}
    low, high = mean - errors * se, mean + errors * se
    return {"mean": scale * mean, "se": scale * se, "low": scale * low, "high": scale * high}


def _by_arm(points: Sequence[Point]) -> dict[str, list[Point]]:
    return {arm: [p for p in points if p.arm == arm] for arm in dict.fromkeys(p.arm for p in points)}


def _at(points: Sequence[Point], x: float) -> float:
    """The mean at the point nearest to `x`."""
    return min(points, key=lambda point: abs(point.x - x)).mean
