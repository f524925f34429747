"""What the charts of measurements are made of: curves over a logarithm of what was seen, and heat-maps over steps."""

import math
from collections.abc import Sequence

import altair as alt
import numpy as np
from jaxtyping import Float64
from scipy.optimize import isotonic_regression

from sesame.report import figures
from sesame.report.figures import Figure, Look
from sesame.report.reading import Row

CURVE, LEVEL, LOSS, TRAINING = "curve", "level", "loss", "training"
HEIGHT, LOSS_HEIGHT, LABEL_HEIGHT = 260, 70, 14
MOST_COLUMNS = 40
"""Steps of a heat-map: a phone has no room for more."""
PERCENT, PLAIN = ".0%", "~g"
_SHORT = "format(datum.value, '.3~s')"
_NOTHING_PICKED = ""
DOTS = 30
"""Dots there is room for along a curve."""


# ------------------------------------------------------------------------------------------------- axes
def over(rows: Sequence[Row]) -> str:
    """What the curves run over: `tokens`, or `step` where somebody did not count them."""
    return "step" if any(row.get("tokens") is None for row in rows) else "tokens"


def seen_axis(rows: Sequence[Row], unit: str, labels: bool = True, last: float | int = 0) -> alt.X:
    """What was seen, on a logarithm that has a zero: linear up to the first place above it, logarithmic from there.

    It ends where `rows` do, or at `last` if that is further.
    """
    field = over(rows)
    places = sorted({row[field] for row in rows})
    first = next((place for place in places if place > 0), 1)
    last = max(places[-1], first, last)
    scale = alt.Scale(type="symlog", constant=first, domain=[0, last], nice=False)
    axis = alt.Axis(
        values=[0, *ticks(first, last)], labelExpr=_SHORT, labelOverlap="greedy", grid=False,
        labels=labels, ticks=labels,
    )  # fmt: skip
    words = ("steps" if field == "step" else f"{unit} seen") if labels else None
    return alt.X(field, type="quantitative", title=words, scale=scale, axis=axis)


def spaced(rows: Sequence[Row], most: int = DOTS) -> list[int]:
    """The steps at which a curve has dots: all of them, but those closer to the one before than a part in `most` of
    the axis, where they would run together."""
    field = over(rows)
    place = {row["step"]: row[field] for row in sorted(rows, key=lambda row: row["step"])}
    first = next((at for at in place.values() if at > 0), 1)
    at = {step: math.log1p(value / first) for step, value in place.items()}  # as seen_axis has it
    least, kept = max(at.values()) / most, list[int]()
    for step in at:
        if not kept or at[step] - at[kept[-1]] >= least:
            kept.append(step)
    return kept


def ticks(first: float | int, last: float | int) -> list[float]:
    """Powers of ten from `first` to `last`; with 2 and 5 times these where there would be fewer than three."""
    exponents = range(math.floor(math.log10(first)), math.ceil(math.log10(last)) + 1)
    for factors in ((1,), (1, 2, 5)):
        found = [factor * 10.0**e for e in exponents for factor in factors if first <= factor * 10.0**e <= last]
        if len(found) > 2:
            break
    return found


def extent(values: Sequence[float], percent: bool) -> tuple[float, float]:
    """The ends of an axis that shows `values`: from 0 for shares, with some room for others."""
    low, high = min(values), max(values)
    if percent and low >= 0:
        return 0.0, min(1.0, 1.05 * high) or 1.0
    room = 0.05 * (high - low) or 0.1 * abs(high) or 1.0
    return low - room, high + room


def values(rows: Sequence[Row]) -> list[float]:
    """All numbers of `rows` that an axis must have room for."""
    return [row[key] for row in rows for key in ("value", "low", "high") if row.get(key) is not None]


# ----------------------------------------------------------------------------------------------- curves
def curves(
    name: str,
    title: str,
    summary: str,
    rows: Sequence[Row],
    series: Sequence[Look],
    *,
    unit: str,
    y: str,
    percent: bool = False,
    height: int = HEIGHT,
    also: Sequence[float] = (),
) -> Figure:
    """A line for every `series` (the field of the same name) with its name at its end, its interval and its level.

    `rows` have `kind`: `CURVE` (`step`, `tokens`, `value`, and where known `low`, `high`, `n`, `form`, `seeds`),
    `LEVEL` (a `value` to compare a series with), `LOSS` and `TRAINING`, the held-out and the training loss, which are
    drawn beneath on the same axis. There is room for the values `also`: those of a chart to compare this one with.
    """
    drawn = [row for row in rows if row["kind"] == CURVE]
    shown = [look for look in series if any(row["series"] == look.name for row in drawn)]
    compared = [row for row in rows if row["kind"] in (CURVE, LEVEL)]
    ends = extent([*also, *values(compared)], percent)
    beneath = [row for row in rows if row["kind"] in (LOSS, TRAINING)]
    last = max((row[over(drawn)] for row in beneath), default=0)
    x = seen_axis(drawn, unit, labels=not beneath, last=last)
    scale, format = alt.Scale(domain=ends, nice=False), PERCENT if percent else PLAIN
    axis = alt.Axis(tickCount=6, format=format, minExtent=34)

    def height_of(field: str) -> alt.Y:
        return alt.Y(field, type="quantitative", title=y, scale=scale, axis=axis)

    colour = figures.colour("series", shown).legend(None)
    base = alt.Chart().transform_filter(alt.datum.kind == CURVE).encode(x=x, color=colour)
    mean = base.encode(y=height_of("value"))
    dash = figures.dash("series", shown).legend(None)
    line = mean.mark_line(strokeWidth=2).encode(strokeDash=dash, opacity=_picked())
    layers: list[alt.Chart] = []
    if any(row.get("low") is not None for row in drawn):
        band = base.transform_filter("isValid(datum.low)").encode(y=height_of("low"), y2="high:Q")
        layers.append(band.mark_area().encode(opacity=_picked(0.12 if len(shown) < 4 else 0.05, 0.3, 0.01)))
    if any(row["kind"] == LEVEL for row in rows):
        level = alt.Chart().transform_filter(alt.datum.kind == LEVEL).encode(y=height_of("value"), color=colour)
        layers.append(level.mark_rule(strokeDash=[2, 3]).encode(opacity=_picked(0.6, 1.0, 0.1)))
    shape = figures.shape("series", shown).legend(None)
    dotted = mean.transform_filter(alt.FieldOneOfPredicate(field="step", oneOf=spaced(drawn)))
    dots = dotted.mark_point(filled=True).encode(shape=shape, opacity=_picked(), size=_size(drawn))
    tip = _tip(drawn, unit, PERCENT.replace("0", "1") if percent else ".4~g")
    touch = mean.mark_point(filled=True, size=280).encode(opacity=alt.OpacityValue(0), tooltip=tip)
    named = _names(drawn, shown, ends, height, colour, shape) if len(shown) > 1 else []
    layers += [line, dots, *named, touch]
    if not beneath:
        return Figure(name, title, summary, list(rows), alt.layer(*layers, params=[_PICKED.param]), height=height)
    of_loss = alt.Y("value", type="quantitative", title="loss", scale=alt.Scale(zero=False),
                    axis=alt.Axis(tickCount=3, minExtent=34))  # fmt: skip
    below = alt.Chart().encode(x=seen_axis(drawn, unit, last=last), y=of_loss)
    faint = below.transform_filter(alt.datum.kind == TRAINING).mark_line(color=figures.INK, strokeWidth=1, opacity=0.35)
    held_out = below.transform_filter(alt.datum.kind == LOSS).mark_line(color=figures.INK, strokeWidth=1.5)
    upper, lower = alt.layer(*layers, height=height), alt.layer(faint, held_out, height=LOSS_HEIGHT)
    both = alt.vconcat(upper, lower, bounds="flush", spacing=12, params=[_PICKED.param])
    return Figure(name, title, summary, list(rows), both, height=height)


_PICKED = alt.param(name="picked", value=_NOTHING_PICKED)
"""The series that was chosen, if any: the others step back. Set by the page."""


def _picked(usual: float = 1.0, chosen: float = 1.0, other: float = 0.15) -> alt.OpacityValue:
    """How opaque a mark is."""
    return alt.OpacityValue(
        other,
        condition=[
            {"test": f"picked === '{_NOTHING_PICKED}'", "value": usual},
            {"test": "picked === datum.series", "value": chosen},
        ],
    )


def _size(rows: Sequence[Row]) -> alt.SizeValue:
    """Dots of light measurements are small where there are full ones too."""
    if {row.get("form") for row in rows} == {"full", "live"}:
        return alt.SizeValue(18, condition=[{"test": "datum.form === 'full'", "value": 60}])
    return alt.SizeValue(40)


def _tip(rows: Sequence[Row], unit: str, format: str) -> list[alt.Tooltip]:
    tip = [alt.Tooltip("series:N", title=" "), alt.Tooltip("step:Q", format=",.0f")]
    tip += [alt.Tooltip("tokens:Q", format=",.0f", title=unit)] if over(rows) == "tokens" else []
    tip.append(alt.Tooltip("value:Q", format=format))
    if any(row.get("low") is not None for row in rows):
        tip += [alt.Tooltip(f"{end}:Q", format=format) for end in ("low", "high")]
    tip += [alt.Tooltip("n:Q", format=",.0f")] if any(row.get("n") for row in rows) else []
    tip += [alt.Tooltip("seeds:Q")] if any(row.get("seeds", 1) > 1 for row in rows) else []
    return [*tip, alt.Tooltip("form:N")] if len({row.get("form") for row in rows}) > 1 else tip


def _names(
    rows: Sequence[Row],
    series: Sequence[Look],
    ends: tuple[float, float],
    height: int,
    colour: alt.Color,
    shape: alt.Shape,
) -> list[alt.Chart]:
    """Every series' name at the end of its line, with its dot, pushed apart where lines end close together."""
    last = [max((row for row in rows if row["series"] == look.name), key=lambda row: row["step"]) for look in series]
    at = apart(np.array([row["value"] for row in last]), LABEL_HEIGHT * (ends[1] - ends[0]) / height, ends)
    names = [{"series": look.name, "at": float(place)} for look, place in zip(series, at, strict=True)]
    base = alt.Chart(alt.Data(values=names)).encode(
        y=alt.Y("at", type="quantitative", scale=alt.Scale(domain=ends)), opacity=_picked()
    )
    dots = base.mark_point(filled=True, size=40, xOffset=12).encode(x=alt.XValue("width"), color=colour, shape=shape)
    words = base.mark_text(align="left", baseline="middle", dx=20, color=figures.INK, fontSize=12, limit=130)
    return [dots, words.encode(x=alt.XValue("width"), text="series:N")]


def apart(
    places: Float64[np.ndarray, " label"], least: float, ends: tuple[float, float]
) -> Float64[np.ndarray, " label"]:
    """`places` in their order but at least `least` apart and between `ends`, moved as little as can be (the sum of
    squares); where there is no room for all, they begin at the lower end.
    """
    order = np.argsort(places, kind="stable")
    steps = least * np.arange(len(places))
    room = max(ends[1] - steps[-1], ends[0])
    moved = np.empty_like(places)
    moved[order] = np.clip(isotonic_regression(places[order] - steps).x, ends[0], room) + steps
    return moved


# --------------------------------------------------------------------------------------------- heat-maps
def heat_map(
    name: str,
    title: str,
    summary: str,
    rows: Sequence[Row],
    *,
    x: tuple[str, str] = ("step", "step"),
    y: tuple[str, str] = ("layer", "layer"),
    percent: bool = False,
    ends: tuple[float, float] | None = None,
) -> Figure:
    """A field of colours: `value` at every (`x`, `y`), which are (field, title); numbers grow upwards."""
    across, up = (list(dict.fromkeys(row[field] for row in rows)) for field in (x[0], y[0]))
    numbers = all(isinstance(place, int) for place in up)
    height = max(90, min(24 * len(up), 320))
    format = PERCENT if percent else ".3~g"
    legend = alt.Legend(title=None, orient="right", gradientLength=height, format=format, gradientThickness=12,
                        labelColor=figures.INK, type="gradient")  # fmt: skip
    tip = [alt.Tooltip(f"{field}:N", title=words) for field, words in (x, y)]
    known = [field for field in ("value", "low", "high") if any(row.get(field) is not None for row in rows)]
    tip += [alt.Tooltip(f"{field}:Q", format=".1%" if percent else ".4~g") for field in known]
    chart = alt.Chart().mark_rect().encode(
        x=alt.X(f"{x[0]}:O", title=x[1], sort=across, axis=_ordinal_axis(across)),
        y=alt.Y(f"{y[0]}:O", title=y[1], sort=sorted(up, reverse=True) if numbers else up, axis=_ordinal_axis(up)),
        color=alt.Color(
            "value:Q", scale=alt.Scale(scheme="viridis", domain=ends or alt.Undefined), legend=legend
        ),
        tooltip=tip,
    )  # fmt: skip
    return Figure(name, title, summary, list(rows), alt.layer(chart), height=height)


def _ordinal_axis(places: Sequence[object]) -> alt.Axis:
    named = _SHORT if all(isinstance(place, int) for place in places) else "datum.label"
    return alt.Axis(labelExpr=named, labelAngle=0, labelOverlap="greedy", labelLimit=140, grid=False, ticks=False)


def thinned_steps(steps: Sequence[int], most: int = MOST_COLUMNS) -> list[int]:
    """At most `most` of `steps`, the first and the last among them, evenly spread."""
    places = np.unique(np.linspace(0, len(steps) - 1, min(most, len(steps))).round().astype(int))
    return [steps[place] for place in places.tolist()]
