"""A comparison as a figure and as one HTML page that needs no network."""

from importlib.resources import files

import altair as alt

from sesame.report import figures
from sesame.report.figures import Figure, Row
from sesame.report.page import rendered
from sesame.studies import outcome
from sesame.studies.outcome import Column, Outcome

GENERATOR = "sesame compare"
_ROW = 26
"""Pixels of an arm in the figure."""


def figure(found: Outcome) -> Figure | None:
    """Every measurement of every arm: the seeds as small dots, their mean with its standard error; None for no values.

    One chart a measurement, below each other; the reference is marked by a line.
    """
    arms = list(found.arms)
    rows = [row for column in found.columns for row in _rows(column)]
    shown = [column for column in found.columns if any(cell.mean for cell in column.cells.values())]
    if not shown:
        return None
    charts = [_chart(column, arms, found.reference) for column in shown]
    seeds = len(found.seeds)
    said = " ".join(f"{column.name}: {column.words}" for column in shown)
    summary = f"Small dots are seeds ({seeds}), large ones their mean with one standard error each way. {said}"
    height = sum(_ROW * len(arms) + 60 for _ in shown)
    title = f"{found.grid}: {len(arms)} arms at equal {found.equal}"
    return Figure("comparison", title, summary, rows, alt.vconcat(*charts, spacing=24), height=height)


def _rows(column: Column) -> list[Row]:
    """A row for each seed, with the mean of its arm."""
    scale, rows = 100.0 if column.share else 1.0, []
    for arm, cell in column.cells.items():
        if cell.mean is None:
            continue
        mean, se = cell.mean.mean, cell.mean.se or 0.0
        for seed, value in enumerate(cell.values):
            if value is not None:
                rows.append({
                    "measurement": column.name, "arm": arm, "seed": seed, "value": scale * value, "mean": scale * mean,
                    "low": scale * (mean - se), "high": scale * (mean + se),
                })  # fmt: skip
    return rows


def _chart(column: Column, arms: list[str], reference: str) -> alt.LayerChart | alt.FacetChart:
    title = f"{column.name}: {column.metric}{' × 100' if column.share else ''}"
    look = figures.looks(["arm"])[0]
    base = alt.Chart().transform_filter(alt.datum.measurement == column.name)
    y = alt.Y("arm:N", title=None, sort=arms, axis=alt.Axis(labelLimit=180, grid=False))
    scale = alt.Scale(zero=False)
    line = base.transform_filter(alt.datum.arm == reference).mark_rule(
        color=figures.INK, strokeDash=[2, 2], opacity=0.4
    ).encode(x=alt.X("mean(mean):Q", title=title, scale=scale))  # fmt: skip
    seeds = base.mark_point(color=look.colour, size=25, opacity=0.5).encode(
        x=alt.X("value:Q", title=title, scale=scale), y=y, tooltip=[alt.Tooltip("arm:N"), alt.Tooltip("seed:Q"),
                                                      alt.Tooltip("value:Q", format=".4~g")],
    )  # fmt: skip
    bars = base.mark_rule(color=look.colour, strokeWidth=3).encode(
        x=alt.X("min(low):Q", title=title, scale=scale), x2="max(high):Q", y=y
    )
    dots = base.mark_point(color=look.colour, size=90, filled=True, opacity=1).encode(
        x=alt.X("mean(mean):Q", title=title, scale=scale), y=y,
        tooltip=[alt.Tooltip("arm:N"), alt.Tooltip("mean(mean):Q", title="mean", format=".4~g")],
    )  # fmt: skip
    return alt.layer(line, bars, seeds, dots).properties(height=_ROW * len(arms))


def render(found: Outcome, commands: list[str]) -> str:
    """The page: what was compared, the table, the figure, what to bear in mind, and how to do it again."""
    template = files("sesame.studies").joinpath("comparison.html").read_text(encoding="utf-8")
    return rendered(template, GENERATOR, found=found, figure=figure(found), cell=outcome.cell, commands=commands)
