"""A figure: rows of data, a chart of them, and what it shows in words. Drawn in a page, or as PNG, SVG and CSV.

Series differ by colour, dash and shape, so that none of the three is needed. Colours are those of Okabe and Ito
(2008), which people with any colour vision can tell apart.
"""

import copy
import csv
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import altair as alt
import vl_convert

from sesame.report.reading import Row

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#808080")
DASHES = ((1, 0), (7, 3), (2, 3), (10, 3, 2, 3), (4, 2, 1, 2))
SHAPES = ("circle", "square", "triangle-up", "diamond", "cross", "triangle-down")
INK = "currentColor"
"""Text and lines take the page's colour, light or dark; in a picture of its own that is black."""


@dataclass(frozen=True)
class Look:
    """How a series is drawn: in a chart, and in the page's key."""

    name: str
    colour: str
    dash: tuple[int, ...]
    shape: str


def looks(names: Sequence[str]) -> list[Look]:
    """A look for each name; no two of the first 210 are alike."""
    return [
        Look(name, COLOURS[i % len(COLOURS)], DASHES[i % len(DASHES)], SHAPES[i % len(SHAPES)])
        for i, name in enumerate(names)
    ]


@dataclass(frozen=True)
class Figure:
    """One chart of `rows`."""

    name: str
    """Stem of its files, and its place in the page."""
    title: str
    summary: str
    """What it shows, with the main numbers: the caption, and what a screen reader says."""
    rows: list[Row]
    chart: alt.LayerChart | alt.FacetChart | alt.VConcatChart
    """Of several charts one above the other, each has its own height, and the page gives them their width."""
    height: int = 260
    """Pixels, without axes."""
    key: tuple[Look, ...] = ()
    """How its lines are drawn, where neither the chart itself nor the page says it for several charts."""
    examples: dict[str, Any] | None = None
    """What stands behind its points (`report.examples`); the page shows it where one is chosen."""

    @cached_property
    def spec(self) -> dict[str, Any]:
        """The Vega-Lite specification for the page: as wide as its place, its key outside."""
        return self._spec(_shortened(self.rows), width="container", legend={"disable": True})

    def picture(self) -> dict[str, Any]:
        """The specification for a picture of its own: with its title and key, on white."""
        return self._spec(self.rows, width=600, title=self.title, background="white", font="sans-serif")

    def export(self, folder: Path) -> list[Path]:
        """NAME.png, NAME.svg and NAME.csv in `folder`."""
        spec = self.picture()
        folder.mkdir(parents=True, exist_ok=True)
        png, svg, table = (folder / f"{self.name}.{kind}" for kind in ("png", "svg", "csv"))
        png.write_bytes(vl_convert.vegalite_to_png(spec, scale=2))
        svg.write_text(vl_convert.vegalite_to_svg(spec), encoding="utf-8")
        with table.open("w", encoding="utf-8", newline="") as file:
            columns = list(dict.fromkeys(key for row in self.rows for key in row))
            writer = csv.DictWriter(file, columns)
            writer.writeheader()
            writer.writerows(self.rows)
        return [png, svg, table]

    def _spec(self, rows: list[Row], width: int | str, title: str | None = None, **settings: Any) -> dict[str, Any]:
        properties: dict[str, Any] = {"data": alt.Data(values=rows), "description": self.summary}
        if title:
            properties["title"] = alt.TitleParams(title, anchor="start", fontSize=14)
        chart = copy.deepcopy(self.chart)
        if isinstance(chart, alt.VConcatChart):
            for part in chart.vconcat:
                part.width = width if isinstance(width, int) else _FIRST_WIDTH
        else:
            properties |= {"width": width, "height": self.height}
        chart = chart.properties(**properties)
        return chart.configure(**_STYLE | settings).to_dict(validate=False)  # the tests do; it doubles the time


_FIRST_WIDTH = 300
"""Of charts one above the other, until the page knows its place: Vega-Lite fits only single ones to it."""


def _shortened(rows: list[Row]) -> list[Row]:
    """Seven digits are more than a chart shows, and half as long; the CSV has all."""
    return [{k: float(f"{v:.7g}") if isinstance(v, float) else v for k, v in row.items()} for row in rows]


_STYLE: dict[str, Any] = {
    "background": "transparent",
    "font": "system-ui, sans-serif",
    "axis": {
        "labelColor": INK, "titleColor": INK, "tickColor": INK, "domainColor": INK, "gridColor": INK,
        "gridOpacity": 0.15, "domainOpacity": 0.5, "tickOpacity": 0.5, "labelFontSize": 12, "titleFontSize": 12,
        "titleFontWeight": "normal", "titlePadding": 8,
    },
    "view": {"stroke": None},
    "legend": {"orient": "bottom", "columns": 3, "labelFontSize": 12, "symbolSize": 90, "symbolStrokeWidth": 2,
               "labelLimit": 260, "symbolOpacity": 1, "title": None},
}  # fmt: skip


# ------------------------------------------------------------------------------------------- what charts are made of
def x_axis(field: str, title: str, **axis: Any) -> alt.X:
    return alt.X(field, type="quantitative", title=title, axis=alt.Axis(tickCount=6, labelOverlap=True, **axis))


def y_axis(field: str, title: str, **axis: Any) -> alt.Y:
    scale = alt.Scale(zero=False)
    return alt.Y(field, type="quantitative", title=title, scale=scale, axis=alt.Axis(tickCount=6, **axis))


def colour(field: str, series: Sequence[Look]) -> alt.Color:
    return alt.Color(f"{field}:N", title=None, scale=_scale(series, [look.colour for look in series]))


def dash(field: str, series: Sequence[Look]) -> alt.StrokeDash:
    return alt.StrokeDash(f"{field}:N", title=None, scale=_scale(series, [list(look.dash) for look in series]))


def shape(field: str, series: Sequence[Look]) -> alt.Shape:
    return alt.Shape(f"{field}:N", title=None, scale=_scale(series, [look.shape for look in series]))


def rule(value: str, text: str, base: alt.Chart) -> list[alt.Chart]:
    """A level to compare with: a thin line across at the field `value`, and the field `text` on it."""
    line = base.mark_rule(color=INK, strokeDash=[2, 2], opacity=0.6)
    words = base.mark_text(color=INK, align="right", baseline="bottom", dy=-3, fontSize=12)
    y = alt.Y(value, type="quantitative")
    return [line.encode(y=y), words.encode(y=y, x=alt.XValue("width"), text=alt.Text(text, type="nominal"))]


def _scale(series: Sequence[Look], values: list[Any]) -> alt.Scale:
    return alt.Scale(domain=[look.name for look in series], range=values)
