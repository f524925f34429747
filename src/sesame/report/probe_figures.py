"""Measurements as figures. What a probe yields decides how it is drawn, so a user's own probe needs no line here."""

import importlib
import math
import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import groupby, islice

from sesame.probes import PROBES
from sesame.probes.base import NO_LAYER
from sesame.report import figures, learning_chart, wording
from sesame.report.acquisition_figures import Order, order
from sesame.report.examples import examples
from sesame.report.figures import Figure
from sesame.report.learning_chart import CURVE, LEVEL, LOSS, TRAINING
from sesame.report.probe_reading import Cohort, Measure, measures
from sesame.report.reading import Row
from sesame.report.reliability import reliability

MOST_LINES = 12
"""Groups that one chart draws as lines; more become rows of a heat-map."""
LONGEST = 100
"""Characters of a name: file systems take 255, and two parts with their ends and a number must go into them."""
CONFIDENCE = "confidence"
ALL = "all"
"""What a group without a name is called beside others that have one."""


@dataclass(frozen=True)
class Part:
    """What one probe measured, on one thing."""

    title: str
    anchor: str
    """Its place in the page, and what its figures' names begin with."""
    about: list[str]
    """The paragraphs of the probe's own help; none for a user's file."""
    figures: list[Figure]
    said: list[str]
    """Numbers that were the same at every step."""
    without: list[str]
    """What has no curve, as the seeds have no step in common."""
    orders: list[Order]
    """In what order its groups were learned."""


def parts(found: Sequence[Cohort]) -> list[Part]:
    """Everything that was measured, a part for each probe and source, in order of appearance."""
    known = measures([member for cohort in found for member in cohort.members])
    things = list(dict.fromkeys((measure.probe, measure.source) for measure in known))
    made = []
    for probe, source in things:
        on = source if [name for name, _ in things].count(probe) > 1 else ""
        own = tuple(measure for measure in known if measure[:2] == (probe, source))
        probed = Probed(found, own, slug("learned", probe, on))
        title = wording.probe(probe, on or (source if probe == wording.DOWNSTREAM else ""))
        made.append(probed.part(title))
    return made


@dataclass(frozen=True)
class Probed:
    """The measures of one probe and source in all cohorts, and how they are drawn."""

    found: Sequence[Cohort]
    own: tuple[Measure, ...]
    anchor: str

    def part(self, title: str) -> Part:
        drawn: list[Figure] = []
        said: list[str] = []
        without: list[str] = []
        for measure in self.own:
            if self.base_of(measure):
                continue  # part of another measure's chart
            curves = []
            for cohort in self.found:
                if rows := cohort.curve(measure):
                    curves.append((cohort, rows))
                elif any(measure in member.values for member in cohort.members):
                    without.append(self.name(measure, cohort)[1])
            if all(_constant(rows) for _, rows in curves):
                name, share = wording.measure(measure.metric), self.is_share(measure)
                said += [f"{name}{self.whose(cohort)} {wording.number(rows[-1]['value'], share)}"
                         for cohort, rows in curves]  # fmt: skip
            else:
                drawn += self.figures(measure, curves)
        return Part(title, self.anchor, _about(self.own[0].probe), drawn, said, without, list(self.orders()))

    def orders(self) -> Iterator[Order]:
        """For word classes, the order in which they were learned, by each measure."""
        for measure in self.own if self.own[0].probe == wording.WORD_CLASSES else ():
            for cohort in self.found:
                if any(measure in member.shares for member in cohort.members):
                    name, title = self.name(measure, cohort)
                    if found := order(f"{name}-order", title, cohort, measure):
                        yield found

    # -------------------------------------------------------------------------------------- which figure
    def figures(self, measure: Measure, curves: Sequence[tuple[Cohort, list[Row]]]) -> Iterator[Figure]:
        """By layer as heat-maps over steps, by group as lines, what is neither as one chart of all runs."""
        flat = [(cohort, [row for row in rows if row["layer"] == NO_LAYER]) for cohort, rows in curves]
        flat = [(cohort, rows) for cohort, rows in flat if rows]
        groups = list(dict.fromkeys(row["group"] for _, rows in flat for row in rows))
        if len(groups) == 1:
            yield self.of_all(measure, flat)
        elif groups:
            for cohort, rows in flat:
                yield self.by_group(measure, cohort, rows, groups)
        for cohort, rows in curves:
            if layered := [row for row in rows if row["layer"] != NO_LAYER]:
                yield from self.by_layer(measure, cohort, layered)

    def of_all(self, measure: Measure, curves: Sequence[tuple[Cohort, list[Row]]]) -> Figure:
        """One number: a line for every cohort."""
        rows = [row | {"kind": CURVE, "series": cohort.label} for cohort, of_cohort in curves for row in of_cohort]
        if len({cohort.unit for cohort, _ in curves}) > 1:  # an image is no token: over steps
            rows = [row | {"tokens": None} for row in rows]
        rows += [row | {"series": cohort.label} for cohort, _ in curves for row in self.levels(measure, cohort)]
        title, percent = wording.measure(measure.metric), self.is_share(measure)
        figure = learning_chart.curves(
            slug(self.anchor, measure.metric), title, _summary(rows, percent) + self.said_of_levels(measure), rows,
            figures.looks([cohort.label for cohort in self.found]),
            unit=curves[0][0].unit, y=title, percent=percent, height=200,
        )  # fmt: skip
        cohort = curves[0][0]
        behind = examples(cohort, measure, lambda _: cohort.label) if len(curves) == 1 else None
        return replace(figure, examples=behind)

    def by_group(self, measure: Measure, cohort: Cohort, of_cohort: list[Row], groups: Sequence[str]) -> Figure:
        """One number of several groups: a line each, the loss beneath."""
        (name, title), percent = self.name(measure, cohort), self.is_share(measure)
        if sure := self.with_base(measure).get(CONFIDENCE):
            return reliability(name, title, of_cohort, cohort.curve(sure))
        if len(groups) > MOST_LINES:
            return self.by_many_groups(measure, cohort, of_cohort)
        order = _in_order(groups)
        rows = [row | {"kind": CURVE, "series": row["group"] or ALL}
                for row in sorted(of_cohort, key=lambda row: order.index(row["group"]))]  # fmt: skip
        rows += [row | {"series": row["group"] or ALL} for row in self.levels(measure, cohort)]
        summary = _summary(rows, percent) + self.said_of_levels(measure)
        rows += [row | {"kind": LOSS} for row in cohort.loss()]
        rows += [row | {"kind": TRAINING} for row in cohort.loss(training=True)]
        figure = learning_chart.curves(
            name, title, summary, rows, figures.looks([group or ALL for group in order]),
            unit=cohort.unit, y=wording.measure(measure.metric), percent=percent, height=300,
            also=self.beside(measure, cohort),
        )  # fmt: skip
        return replace(figure, examples=examples(cohort, measure, lambda group: group or ALL))

    def by_many_groups(self, measure: Measure, cohort: Cohort, of_cohort: list[Row]) -> Figure:
        """Too many for lines: a heat-map over steps, with each group's level beside its name."""
        (name, title), percent = self.name(measure, cohort), self.is_share(measure)
        level = {row["group"]: f" ({wording.number(row['value'], percent)})" for row in self.levels(measure, cohort)}
        rows = [row | {"series": (row["group"] or ALL) + level.get(row["group"], "")} for row in of_cohort]
        summary = _summary(rows, percent) + self.said_of_levels(measure).replace("Dotted levels", "In brackets")
        y = ("series", wording.group(measure.probe))
        return learning_chart.heat_map(name, title, summary, _thinned(rows), y=y, percent=percent)

    def by_layer(self, measure: Measure, cohort: Cohort, rows: list[Row]) -> Iterator[Figure]:
        """Layers × steps, a map for each group; of many groups layers × groups, at the start and at the end."""
        (name, title), percent = self.name(measure, cohort), self.is_share(measure)
        groups = list(dict.fromkeys(row["group"] for row in rows))
        if "" in groups and len(groups) > 1:  # all together is another thing than each of them
            yield from self.by_layer(measure, cohort, [row for row in rows if not row["group"]])
            rows = [row for row in rows if row["group"]]
            groups.remove("")
        if len(groups) > 3 or groups[0].startswith("layer "):
            numbered = all(isinstance(_number(group), int) for group in groups)
            what = groups[0].rsplit(" ", 1)[0] if numbered else wording.group(measure.probe)
            if what == "head":
                means = [_mean(same) for same in _same(rows)]
                yield _over_steps(f"{name}-mean", f"{title}, mean over {what}s", means, percent)
            for when, step in (("start", rows[0]["step"]), ("end", rows[-1]["step"])):
                yield _by_group_and_layer(f"{name}-{when}", f"{title}, at the {when}", rows, step, what, percent)
        else:
            for group in groups:
                own = [row for row in rows if row["group"] == group]
                whole = title + (f", {group}" if group else "")
                drawn = _over_steps(f"{name}-{slug(group, 'layers')}", whole, own, percent)
                yield replace(drawn, summary=drawn.summary + self.levels_in_words(measure, cohort))

    # --------------------------------------------------------------------------------------------- parts
    def name(self, measure: Measure, cohort: Cohort) -> tuple[str, str]:
        """The name and the title of a figure that shows one cohort."""
        several = len(self.found) > 1
        title = wording.measure(measure.metric) + self.whose(cohort).rstrip(",")
        return slug(self.anchor, measure.metric, cohort.stem if several else ""), title

    def whose(self, cohort: Cohort) -> str:
        return f", {cohort.label}," if len(self.found) > 1 else ""

    def is_share(self, measure: Measure) -> bool:
        """Whether it is a share: of things asked, by its name, or as its interval never leaves 0 to 1."""
        members = [member for cohort in self.found for member in cohort.members]
        asked = {one for member in members for one in member.shares}
        if {measure, measure._replace(metric=_plain(measure))} & asked or wording.is_share(measure.metric):
            return True
        rows = [row for member in members for row in member.values.get(measure, ())]
        return all(row["low"] is not None and row["low"] >= 0 and row["high"] <= 1 for row in rows)

    def base_of(self, measure: Measure) -> tuple[Measure, str] | None:
        """The measure in whose chart this one is drawn, and what it is there: a level, or the `confidence` of bins."""
        for base in self.own:
            before, _, end = measure.metric.partition(f"{base.metric}_")
            if not before and (end in wording.LEVELS or end == CONFIDENCE):
                return base, end
        return None

    def with_base(self, measure: Measure) -> dict[str, Measure]:
        """What is drawn in the chart of this measure, by what it is there."""
        found = ((one, self.base_of(one)) for one in self.own)
        return {base[1]: one for one, base in found if base and base[0] == measure}

    def levels(self, measure: Measure, cohort: Cohort) -> list[Row]:
        """The last value of every measure that is a level for this one, for each group."""
        last: dict[tuple[str, str], Row] = {}
        for level, one in self.with_base(measure).items():
            for row in cohort.curve(one):
                if row["layer"] == NO_LAYER:
                    named = {"kind": LEVEL, "group": row["group"], "level": wording.LEVELS[level]}
                    last[level, row["group"]] = named | {"value": row["value"]}
        return list(last.values())

    def said_of_levels(self, measure: Measure) -> str:
        """What the thin level lines of its chart are."""
        levels = [wording.LEVELS[level] for level in self.with_base(measure)]
        return f" Dotted levels: {', '.join(levels)}." if levels else ""

    def levels_in_words(self, measure: Measure, cohort: Cohort) -> str:
        """The same for a heat-map, which has no place for them."""
        percent = self.is_share(measure)
        told = [f"{row['level']} {wording.number(row['value'], percent)}" for row in self.levels(measure, cohort)]
        return f" To compare with: {', '.join(told)}." if told else ""

    def beside(self, measure: Measure, cohort: Cohort) -> list[float]:
        """The numbers of the same measure at any or at matched word frequencies, which are drawn to one scale."""
        same = [one for one in self.own if _plain(one) == _plain(measure)]
        return [value for one in same for value in learning_chart.values(cohort.curve(one))]


def slug(*parts: str) -> str:
    """A name for a file and a place in the page, short enough to have ends of its own set to it.

    Other parts may have the same: the report tells them apart.
    """
    whole = "-".join(filter(None, (re.sub(r"[^a-z0-9]+", "-", part.lower()).strip("-") for part in parts)))
    return whole[:LONGEST].rstrip("-")


def _about(probe: str) -> list[str]:
    if probe not in PROBES:
        return []
    text = importlib.import_module(PROBES[probe]).__doc__ or ""
    return [" ".join(paragraph.split()) for paragraph in text.strip().split("\n\n")]


def _constant(rows: Sequence[Row]) -> bool:
    """Whether this is one number that training does not change."""
    single = len({(row["group"], row["layer"]) for row in rows}) == 1
    return single and len(rows) > 1 and max(r["value"] for r in rows) - min(r["value"] for r in rows) < 1e-9


def _plain(measure: Measure) -> str:
    """What a measure is of, whichever words it was asked about."""
    return measure.metric.removesuffix("_matched")


def _in_order(groups: Sequence[str]) -> list[str]:
    """Word classes in the order in which they were found to be learned; all together last."""
    known = list(wording.CLASSES)
    return sorted(groups, key=lambda group: (not group, known.index(group) if group in known else len(known)))


def _over_steps(name: str, title: str, rows: list[Row], percent: bool) -> Figure:
    summary = f"At the end {_least_and_most(rows, percent)}"
    return learning_chart.heat_map(name, title, summary, _thinned(rows), percent=percent)


def _by_group_and_layer(name: str, title: str, rows: list[Row], step: int, what: str, percent: bool) -> Figure:
    """At one step, which layer has how much of which group."""
    here = [row | {"group": _number(row["group"])} for row in rows if row["step"] == step]
    summary = f"At step {step:,} {_least_and_most(here, percent)}"
    return learning_chart.heat_map(name, title, summary, here, x=("group", what), percent=percent)


def _thinned(rows: list[Row]) -> list[Row]:
    """The rows of as many steps as a heat-map has room for, without what is not known."""
    kept = set(learning_chart.thinned_steps(sorted({row["step"] for row in rows})))
    return [
        {key: value for key, value in row.items() if value not in (None, "")} for row in rows if row["step"] in kept
    ]


def _same(rows: list[Row]) -> Iterator[list[Row]]:
    """The rows of each step and each layer, in this order."""

    def place(row: Row) -> tuple[int, int]:
        return row["step"], row["layer"]

    for _, same in groupby(sorted(rows, key=place), key=place):
        yield list(same)


def _mean(same: Sequence[Row]) -> Row:
    return same[0] | {"group": "", "value": math.fsum(row["value"] for row in same) / len(same)}


def _number(group: str) -> int | str:
    """`head 3` as 3, so that it stands after 2 and before 10."""
    last = group.split(" ")[-1]
    return int(last) if last.isdigit() else group


def _summary(rows: Sequence[Row], percent: bool) -> str:
    """The first and the last value of every series, with its own steps where these differ."""
    series: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        if "step" in row:
            series[row["series"]].append(row)
    spans = {name: _span([row["step"] for row in own]) for name, own in series.items()}
    alike = len(set(spans.values())) == 1
    said = []
    for name, own in islice(series.items(), MOST_LINES):
        ends = " → ".join(wording.number(row["value"], percent) for row in (own[0], own[-1]))
        where = "" if alike else f" ({spans[name]})"
        said.append(f"{name} {ends}{where}" if len(series) > 1 else ends)
    begin = f"{spans[rows[0]['series']].capitalize()}: " if alike else ""
    return f"{begin}{'; '.join(said)}."


def _span(steps: Sequence[int]) -> str:
    first, last = min(steps), max(steps)
    return f"from step {first:,} to {last:,}" if first < last else f"at step {first:,}"


def _least_and_most(rows: Sequence[Row], percent: bool) -> str:
    """The layers with the least and the most at the last step."""
    last = [row for row in rows if row["step"] == rows[-1]["step"]]
    least, most = (f"{wording.number(row['value'], percent)} (layer {row['layer']})"
                   for row in (choose(last, key=lambda row: row["value"]) for choose in (min, max)))  # fmt: skip
    embeddings = " Layer 0 are the embeddings." if any(row["layer"] == 0 for row in last) else ""
    return f"from {least} to {most}.{embeddings}"
