"""The order in which word classes were learned: where each reached half and nine tenths of its final score."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import altair as alt

from sesame.errors import UserError
from sesame.probes.acquisition import PUBLISHED, Acquisition, Agreement, Reached, Rise, acquired
from sesame.probes.answers import opened
from sesame.report import figures, learning_chart, wording
from sesame.report.figures import Figure
from sesame.report.probe_reading import Cohort, Measure
from sesame.report.reading import Row

LOOKS = figures.looks(["50% of its final score", "90%"])
"""The two shares that acquisition asks for."""
_NOT_LEARNED = "not learned"
_MOST_RISES = 5


@dataclass(frozen=True)
class Order:
    """What came after what, on one page."""

    title: str
    figure: Figure
    table: list[list[str]]
    """A row for each group: its name, its final score, where it reached the two shares, its rank."""
    said: list[str]
    """What is to be said of it: not learned, the published order, seeds, sudden rises."""


HEADS = ("class", "words", "final score", "50% reached", "90% reached", "rank (95%)")


def order(name: str, title: str, cohort: Cohort, measure: Measure) -> Order | None:
    """The order of one measure's groups; None where there are too few measurements to speak of one."""
    members = [member for member in cohort.members if measure in member.values]
    try:
        found = acquired([opened(m.path, measure.probe, measure.metric, measure.source) for m in members])
    except UserError:
        return None
    unit = cohort.unit if found.counted else "steps"
    said = [_fate(found), *(_seeds(found) if len(members) > 1 else [])]
    said += [_published(found.published)] if found.published else []
    said += [_rises(found.rises)] if found.rises else []
    rows = [row for member in members for row in member.values[measure]]  # seeds may have no step in common
    figure = _figure(name, title, found, rows, unit)
    return Order(title, figure, _table(found), said)


def _figure(name: str, title: str, found: Acquisition, measured: Sequence[Row], unit: str) -> Figure:
    rows: list[Row] = []
    for group in found.groups:
        rows += [_row(group.name, look.name, at, found.counted) for look, at in zip(LOOKS, group.reached, strict=False)]
        rows += [] if group.reached else [{"group": group.name, "share": _NOT_LEARNED}]
    x = learning_chart.seen_axis(measured, unit)
    low = x.copy()
    low["shorthand"] = "low"
    names = [group.name for group in found.groups]
    axis = alt.Axis(grid=True, labelLimit=150, ticks=False, domain=False)
    base = alt.Chart().encode(y=alt.Y("group:N", title=None, sort=names, axis=axis))
    learned = base.transform_filter(alt.datum.share != _NOT_LEARNED).encode(color=figures.colour("share", LOOKS))
    tip = [alt.Tooltip("group:N"), alt.Tooltip("share:N"), alt.Tooltip("step:Q", format=",.0f")]
    tip += [alt.Tooltip(f"{field}:Q", format=",.0f", title=words)
            for field, words in (("tokens", unit), ("low", "from"), ("high", "to"))]  # fmt: skip
    bars = learned.mark_rule(strokeWidth=2, opacity=0.6).encode(x=low, x2="high:Q")
    dots = learned.mark_point(filled=True, size=80, opacity=1)
    dots = dots.encode(x=x, shape=figures.shape("share", LOOKS), tooltip=tip)
    words = base.transform_filter(alt.datum.share == _NOT_LEARNED)
    never = words.mark_text(align="left", dx=6, color=figures.INK, fontSize=12).encode(x=alt.XValue(0), text="share:N")
    summary = f"{_in_words(found, unit)} Bars are 95% intervals (bootstrap over the words, and over the seeds)."
    return Figure(name, title, summary, rows, alt.layer(bars, dots, never), 40 + 26 * len(names), tuple(LOOKS))


def _row(group: str, share: str, at: Reached, counted: bool) -> Row:
    ends = (at.tokens_low, at.tokens_high) if counted else (at.step_low, at.step_high)
    return {"group": group, "share": share, "tokens": at.tokens, "step": at.step, "low": ends[0], "high": ends[1],
            "rank": at.rank, "rank_low": at.rank_low, "rank_high": at.rank_high}  # fmt: skip


def _table(found: Acquisition) -> list[list[str]]:
    rows = []
    for group in found.groups:
        final = f"{group.final:.1%} ({group.low:.1%} to {group.high:.1%})"
        row = [group.name, f"{group.items:,}", final]
        for at in group.reached:
            when, low, high = map(wording.short, (at.tokens, at.tokens_low, at.tokens_high))
            row.append(f"{when} ({low} to {high})")
        if group.reached:
            at = group.reached[0]
            rows.append([*row, f"{at.rank:g} ({at.rank_low:g} to {at.rank_high:g})"])
        else:
            rows.append([*row, _NOT_LEARNED, _NOT_LEARNED, "–"])
    return rows


# ----------------------------------------------------------------------------------------------- in words
def _in_words(found: Acquisition, unit: str) -> str:
    reached = [f"{group.name} {wording.short(group.reached[0].tokens)}" for group in found.groups if group.reached]
    return f"Half of its final score, in {unit} seen: {', '.join(reached) or 'none'}."


def _fate(found: Acquisition) -> str:
    """What is not learned, and why."""
    never = [f"{group.name} ({group.not_learned})" for group in found.groups if group.not_learned]
    return f"Not learned: {'; '.join(never)}." if never else "Every class was learned."


def _published(fit: Agreement) -> str:
    stages = ", then ".join(wording.several([f"{name}s" for name in stage]) for stage in PUBLISHED)
    tau, low, high = (f"{value:.2f}" for value in (fit.tau, fit.low, fit.high))
    return (f"Published order (ALBERT, reconstruction; Chiang et al. 2020): {stages}. Of the {fit.pairs} pairs that it "
            f"tells apart, {fit.agreeing} are so here (Kendall's τ {tau}, 95% from {low} to {high}).")  # fmt: skip


def _seeds(found: Acquisition) -> list[str]:
    taus = [found.seeds[a, b] for a in range(len(found.seeds)) for b in range(a)]
    finite = [tau for tau in taus if tau == tau]
    if not finite:
        return []
    return [f"Between the orders of any two seeds, Kendall's τ is {min(finite):.2f} to {max(finite):.2f}."]


def _rises(found: Sequence[Rise]) -> str:
    """The steepest first."""
    steepest = sorted(found, key=lambda rise: rise.score[0] - rise.score[1])
    several = len({rise.run for rise in found}) > 1
    told = []
    for rise in steepest[:_MOST_RISES]:
        (low, high), (begin, end) = rise.score, rise.step
        whose = f" of {Path(rise.run).name}" if several else ""
        told.append(f"{rise.group} from {low:.0%} to {high:.0%} between steps {begin:,} and {end:,}{whose}")
    more = f"; and {len(found) - len(told)} smaller ones" if len(found) > len(told) else ""
    return f"Rises by more than a quarter of the final score between two measurements: {'; '.join(told)}{more}."
