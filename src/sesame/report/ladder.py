"""The size ladder as a figure: one mark a model, its parameters along a logarithmic axis."""

from collections.abc import Sequence
from pathlib import Path

import altair as alt
import vl_convert

from sesame.errors import UserError
from sesame.models.zoo import Size, short
from sesame.report.figures import INK, Figure, colour, looks, shape
from sesame.report.reading import Row

KINDS = looks(["encoder", "decoder", "encoder-decoder", "recurrent", "vectors", "convolutional"])
"""Told apart by shape as well as by colour."""


def figure(sizes: Sequence[Size]) -> Figure:
    """The ladder, from the smallest at the bottom to the greatest at the top; a bar across is the published figure."""
    rows: list[Row] = [
        {
            "model": s.name,
            "kind": s.kind,
            "year": s.year,
            "parameters": s.parameters,
            "said": s.said or None,
            "short": short(s.parameters),
        }
        for s in sorted(sizes, key=lambda size: -size.parameters)
    ]
    base = alt.Chart()
    order = alt.Y("model:N", sort=[str(row["model"]) for row in rows], title=None, axis=alt.Axis(grid=True))
    scale = alt.Scale(type="log", nice=False, domain=[2e6, 4e11])
    axis = alt.Axis(format="~s", values=[10**n for n in range(7, 12)], labelExpr="replace(datum.label, 'G', 'B')")
    across = alt.X("parameters:Q", scale=scale, axis=axis, title="parameters (a bar: the published figure)")
    told = [
        alt.Tooltip("model:N"),
        alt.Tooltip("year:Q"),
        alt.Tooltip("parameters:Q", format=","),
        alt.Tooltip("said:Q", format=",", title="published"),
    ]
    marks = base.mark_point(filled=True, size=75, opacity=1).encode(
        x=across, y=order, color=colour("kind", KINDS), shape=shape("kind", KINDS), tooltip=told
    )
    said = base.mark_tick(color=INK, thickness=1.5, size=12).encode(x=alt.X("said:Q", scale=scale), y=order)
    text = base.mark_text(align="left", dx=9, fontSize=10, color=INK).encode(
        x=alt.X("parameters:Q", scale=scale), y=order, text=alt.Text("short", type="nominal")
    )
    first, last = rows[-1], rows[0]
    summary = (
        f"{len(rows)} published models from {first['parameters']:,} parameters ({first['model']}) to "
        f"{last['parameters']:,} ({last['model']}), on a logarithmic axis."
    )
    return Figure(
        "ladder",
        "The size ladder",
        summary,
        rows,
        alt.layer(said, marks, text),
        height=17 * len(rows),
        key=tuple(KINDS),
    )


def draw(sizes: Sequence[Size], path: Path) -> None:
    """Write the ladder as a .png, .svg or .html file."""
    made = figure(sizes)
    spec = made.picture()
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".png":
        path.write_bytes(vl_convert.vegalite_to_png(spec, scale=2))
    elif path.suffix == ".svg":
        path.write_text(vl_convert.vegalite_to_svg(spec), encoding="utf-8")
    elif path.suffix == ".html":
        path.write_text(vl_convert.vegalite_to_html(spec, bundle=True), encoding="utf-8")
    else:
        raise UserError(f"{path}: what kind of file? Give one that ends in .png, .svg or .html.")
