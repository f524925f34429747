"""The things behind the points of a curve: sentences with a hidden word, and what the model put there then."""

import math
from collections import defaultdict
from collections.abc import Callable, Iterable
from typing import Any

from sesame.report.learning_chart import thinned_steps
from sesame.report.probe_reading import Cohort, Measure
from sesame.report.reading import Row

MOST_STEPS, MOST_GUESSES = 24, 5


def examples(cohort: Cohort, measure: Measure, series_of: Callable[[str], str]) -> dict[str, Any] | None:
    """What the page needs to show the examples behind every point; None where no text was kept.

    `steps` and `tokens` of the measurements, `runs` by name, and for each series its things: `text` with the word in
    ⟦brackets⟧, `word`, and `of`: for a run and a step (both as places in these lists) whether it was `right` and the
    guesses as [token, per cent, token, per cent, …], written as [run, step, right, guesses]; per cent is None where the
    probability of what was said is not known.
    """
    runs = [member for member in cohort.members if member.examples.get(measure)]
    if not runs:
        return None
    of_runs = [member.examples[measure] for member in runs]
    rows = [row for found in of_runs for row in found]
    steps = thinned_steps(sorted({row["step"] for row in rows}), MOST_STEPS)
    place = {step: number for number, step in enumerate(steps)}
    tokens = {row["step"]: row["tokens"] for row in rows}
    things: dict[str, dict[int, Row]] = defaultdict(dict)
    for number, found in enumerate(of_runs):
        for row in found:
            if row["step"] in place:
                thing = things[series_of(row["group"])].setdefault(
                    row["key"], {"text": row["text"], "word": row["word"], "of": []}
                )
                thing["of"].append([number, place[row["step"]], int(row["right"]), _guesses(row["guesses"])])
    return {
        "unit": cohort.unit,
        "steps": steps,
        "tokens": [tokens[step] for step in steps],
        "runs": [member.label for member in runs],
        "series": {name: list(of_series.values()) for name, of_series in things.items()},
    }


def _guesses(guesses: Iterable[Row] | None) -> list[str | float | None]:
    best = list(guesses or ())[:MOST_GUESSES]
    return [part for guess in best for part in (guess["token"], _per_cent(guess["probability"]))]


def _per_cent(probability: float) -> float | None:
    return round(100 * probability, 1) if math.isfinite(probability) else None  # tags and answers have none
