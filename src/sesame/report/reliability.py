"""Whether a model is as often right as it is sure: its reliability diagram (Guo et al. 2017, figure 1)."""

from collections.abc import Sequence

import altair as alt

from sesame.report import figures, wording
from sesame.report.figures import Figure
from sesame.report.learning_chart import PERCENT, thinned_steps
from sesame.report.reading import Row

_MOST_STEPS = 4


def reliability(name: str, title: str, accuracy: Sequence[Row], confidence: Sequence[Row]) -> Figure:
    """The accuracy of each bin (a group) over its mean confidence; on the diagonal a model is calibrated."""
    sure = {(row["step"], row["group"]): row["value"] for row in confidence}
    steps = thinned_steps(sorted({row["step"] for row in accuracy}), _MOST_STEPS)
    rows = [
        {"series": f"step {row['step']:,}", "step": row["step"], "bin": row["group"], "n": row["n"],
         "confidence": sure[row["step"], row["group"]], "accuracy": row["value"]}
        for row in accuracy if row["step"] in steps and (row["step"], row["group"]) in sure
    ]  # fmt: skip
    looks = figures.looks([f"step {step:,}" for step in steps])
    ends, axis = alt.Scale(domain=[0, 1]), alt.Axis(format=PERCENT, tickCount=5)
    x = alt.X("confidence", type="quantitative", title="mean confidence", scale=ends, axis=axis)
    y = alt.Y("accuracy", type="quantitative", title="accuracy", scale=ends, axis=axis)
    tip = [alt.Tooltip("series:N", title=" "), alt.Tooltip("n:Q", format=",.0f"),
           *(alt.Tooltip(f"{field}:Q", format=".1%") for field in ("confidence", "accuracy"))]  # fmt: skip
    base = alt.Chart().encode(x=x, y=y, color=figures.colour("series", looks))
    line = base.mark_line(strokeWidth=2).encode(strokeDash=figures.dash("series", looks), order="confidence:Q")
    dots = base.mark_point(filled=True, size=50, opacity=1).encode(shape=figures.shape("series", looks), tooltip=tip)
    corners = alt.Chart(alt.Data(values=[{"at": 0}, {"at": 1}]))
    even = corners.mark_line(color=figures.INK, strokeDash=[2, 2], opacity=0.6).encode(x="at:Q", y="at:Q")
    last = [row for row in rows if row["step"] == steps[-1] and row["n"]]
    off = sum(row["n"] * abs(row["accuracy"] - row["confidence"]) for row in last) / max(sum(r["n"] for r in last), 1)
    summary = (
        f"Accuracy over confidence, bin by bin; a calibrated model lies on the diagonal. At step {steps[-1]:,} its "
        f"bins are {wording.percent(off)} off, on average over predictions."
    )
    return Figure(name, title, summary, rows, alt.layer(even, line, dots), key=tuple(looks))
