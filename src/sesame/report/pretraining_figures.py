"""Pretraining as figures: every measure of the held-out text, over tokens and over time."""

from collections.abc import Sequence

import altair as alt

from sesame.report import figures, wording
from sesame.report.figures import Figure, Look
from sesame.report.reading import Pretraining, Row, word_frequencies

HELD_OUT, TRAINING, LEVEL = "held out", "training", "level"
_MINUTES_FROM = 300
"""Seconds above which an axis counts minutes."""


def pretraining_figures(runs: Sequence[Pretraining], series: Sequence[Look]) -> dict[str, list[Figure]]:
    """`tokens` and `time`: the same figures over each. Runs without a curve are left out."""
    runs = [run for run in runs if run.held_out or run.training]
    made: dict[str, list[Figure]] = {"tokens": [], "time": []}
    for measure in measures(runs):
        of_runs = [(run, rows) for run in runs if (rows := rows_of(run, measure))]
        if of_runs:
            having, rows = [run for run, _ in of_runs], [row for _, rows in of_runs for row in rows]
            for over in made:
                made[over].append(_figure(having, series, measure, rows, over))
    return made


def units(runs: Sequence[Pretraining]) -> list[str]:
    """What the runs with a curve count: tokens, images, frames."""
    return list(dict.fromkeys(run.unit for run in runs if run.held_out or run.training))


def measures(runs: Sequence[Pretraining]) -> list[str]:
    """What is drawn: the loss as a whole where it has several terms, and each term's loss and accuracy."""
    terms = list(dict.fromkeys(term for run in runs for term in run.terms))
    whole = ["loss"] if any(len(run.terms) > 1 for run in runs) else []
    return whole + [f"{term}.{measure}" for term in terms for measure in ("loss", "accuracy")]


def rows_of(run: Pretraining, measure: str) -> list[Row]:
    """One run's points of one measure, and the level of guessing by word frequency."""
    found: list[Row] = []
    for kind, rows in ((HELD_OUT, run.held_out), (TRAINING, run.training)):
        for row in rows:
            if measure in row:
                place = {key: row[key] for key in ("step", "tokens", "seconds")}
                found.append({"run": run.label, "kind": kind, **place, "value": row[measure]})
    term, _, what = measure.rpartition(".")
    if found and term == "masked_lm" and (level := word_frequencies(run.run).get(what)):
        found.append({"run": run.label, "kind": LEVEL, "value": level})
    return found


def _figure(runs: Sequence[Pretraining], series: Sequence[Look], measure: str, rows: list[Row], over: str) -> Figure:
    term, _, kind = measure.rpartition(".")
    accuracy, seen = kind == "accuracy", units(runs)
    rows = _levels_once(rows)
    if over == "tokens" and len(seen) > 1:  # an image is no token: what they have in common are steps
        x = figures.x_axis("step", "steps", format="~s")
    elif over == "tokens":
        x = figures.x_axis("tokens", f"{seen[0]} seen", format="~s")
    elif max(row.get("seconds", 0.0) for row in rows) > _MINUTES_FROM:
        rows = [row | {"minutes": row["seconds"] / 60} if "seconds" in row else row for row in rows]
        x = figures.x_axis("minutes", "minutes of training")
    else:
        x = figures.x_axis("seconds", "seconds of training")
    nats = any(f"{term}.accuracy" in row for run in runs for row in (*run.held_out, *run.training))  # a cross-entropy
    named = "accuracy" if accuracy else "loss (nats)" if nats else "loss"
    y = figures.y_axis("value", named, format=".0%" if accuracy else "~g")
    shown = [look for look in series if any(row["run"] == look.name for row in rows)]
    tip = [
        alt.Tooltip("run:N"), alt.Tooltip("step:Q", format=",.0f"),
        alt.Tooltip("tokens:Q", format=",.0f", title=" or ".join(seen)), alt.Tooltip("seconds:Q", format=",.0f"),
        alt.Tooltip("value:Q", format=".1%" if accuracy else ".3f", title=kind),
    ]  # fmt: skip
    base = alt.Chart().encode(x=x, y=y, color=figures.colour("run", shown))
    faint = base.transform_filter(alt.datum.kind == TRAINING).mark_line(strokeWidth=1, opacity=0.35)
    held_out = base.transform_filter(alt.datum.kind == HELD_OUT)
    line = held_out.mark_line(strokeWidth=2).encode(strokeDash=figures.dash("run", shown))
    dots = held_out.mark_point(size=50, filled=True, opacity=1).encode(shape=figures.shape("run", shown), tooltip=tip)
    levels = figures.rule("value", "text", alt.Chart().transform_filter(alt.datum.kind == LEVEL))
    name = f"pretraining-{measure.replace('.', '-').replace('_', '-')}-over-{over}"
    title = f"{wording.term(term)}: {kind}" if term else "loss, all terms"
    return Figure(name, title, _summary(runs, measure, accuracy), rows, alt.layer(*levels, faint, line, dots))


def _levels_once(rows: list[Row]) -> list[Row]:
    """Runs on the same text share their level: it is drawn, and named, once."""
    kept: list[Row] = []
    levels: dict[float, list[Row]] = {}
    for row in rows:
        if row["kind"] != LEVEL:
            kept.append(row)
        else:
            levels.setdefault(round(row["value"], 3), []).append(row)
    for same in levels.values():
        whose = f" ({', '.join(row['run'] for row in same)})" if len(levels) > 1 else ""
        kept.append(same[0] | {"text": f"word frequencies alone{whose}"})
    return kept


def _summary(runs: Sequence[Pretraining], measure: str, accuracy: bool) -> str:
    """The first and the last held-out value of every run."""
    written = wording.percent if accuracy else "{:.2f}".format
    parts = []
    for run in runs:
        rows = [row for row in run.held_out if measure in row]
        if rows:
            spent = f"{wording.quantity(rows[-1]['tokens'])} {run.unit} and {wording.duration(rows[-1]['seconds'])}"
            parts.append(f"{run.label} from {written(rows[0][measure])} to {written(rows[-1][measure])} after {spent}")
    return f"Held out: {'; '.join(parts)}." if parts else "Only the training text was measured."
