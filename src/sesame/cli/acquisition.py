"""`sesame acquisition RUN…`"""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from tyro.conf import Positional, arg

from sesame.cli.options import options_of
from sesame.cli.output import emit, table
from sesame.errors import UserError

if TYPE_CHECKING:
    import pyarrow as pa

    from sesame.probes.acquisition import Acquisition
    from sesame.probes.answers import Answered
    from sesame.probes.exposure import Exposure


@dataclass(frozen=True)
class When:
    """When a run learned what, in tokens: where each group reached half, and nine tenths, of its final score.

    Several runs are seeds of one recipe: they are combined, and their orders compared.
    """

    runs: Annotated[Positional[tuple[Path, ...]], arg(metavar="RUN…")]
    """Runs that were measured: pretrain --probe, or sesame watch."""
    probe: str = "word-classes"
    """The probe whose items are looked at."""
    metric: str = ""
    """One of its metrics; otherwise mask_prediction, or next_word for a causal LM."""
    source: str | None = None
    """What the probe was measured on, where that was several things."""
    rise: float = 0.25
    """A rise between two measurements counts as sudden above this share of the final score."""
    words: Path | None = None
    """Write a CSV of when each word was learned and how often it had been seen by then (one run; its text is read)."""
    result: Path = Path("result.json")
    """Where the numbers are written; replaces an older result, never another file."""
    json: bool = False
    """Print the result alone on stdout, as JSON."""


def acquisition_command(argv: list[str]) -> int:
    options = options_of(When, argv, "sesame acquisition")
    if not options.runs:
        raise UserError("of what? Name runs: sesame acquisition RUN… `sesame runs` lists them.")
    if options.words and len(options.runs) > 1:
        raise UserError("--words is of one run: each sees its words in another order. Name one.")
    from sesame.probes.acquisition import acquired
    from sesame.probes.answers import opened

    probe = Path(options.probe).name  # a file of the user's goes by its name
    metric = options.metric or metric_of(options.runs[0], probe)
    answered = [opened(run, probe, metric, options.source) for run in options.runs]
    found = acquired(answered, rise=options.rise)
    shown: list[Any] = [_order(found, metric)]
    shown += [f"Not learned: {group.name} ({group.not_learned})." for group in found.groups if group.not_learned]
    if found.left_out:
        shown.append(f"Not measured often enough in every run: {', '.join(found.left_out)}.")
    shown += _compared(found, options.runs)
    result: dict[str, Any] = {"runs": list(map(str, options.runs)), "probe": probe, "metric": metric}
    result |= _plain(found)
    if options.words:
        exposed, learned = _words(options.runs[0], answered[0], options.words)
        result["exposure"] = [asdict(one) for one in exposed]
        shown.append(_exposure(exposed))
        shown.append(f"{learned:,} words: {options.words}")
    emit("acquisition", result, *shown, as_json=options.json, path=options.result)
    return 0


def metric_of(run: Path, probe: str) -> str:
    """The metric that is meant where none is named."""
    from sesame.probes.table import ITEM_SCHEMA, ITEMS, read

    items = read(run / ITEMS, ITEM_SCHEMA)
    found = {m for p, m in zip(items["probe"].to_pylist(), items["metric"].to_pylist(), strict=True) if p == probe}
    known = [name for name in ("mask_prediction", "next_word", *sorted(found)) if name in found]
    return known[0] if known else "mask_prediction"


def _order(found: "Acquisition", metric: str) -> Any:
    unit = "tokens" if found.counted else "step"
    rows = [
        (
            group.name,
            f"{group.final:.1%}",
            *(f"{_short(r.tokens)} ({_short(r.tokens_low)} to {_short(r.tokens_high)})" for r in group.reached),
            round(group.reached[0].step),
            f"{group.reached[0].rank:g} ({group.reached[0].rank_low:g} to {group.reached[0].rank_high:g})",
        )
        for group in found.groups
        if group.reached
    ]
    columns = ["group", "final", f"half, {unit}", f"nine tenths, {unit}", "half, step", "rank"]
    from sesame.probes.acquisition import LAST

    if not rows:
        return f"{metric}: no group counts as learned yet. The final score is the mean of the last {LAST} measurements."
    title = f"{metric}: when it was learned, with 95% intervals (final: the mean of the last {LAST} measurements)"
    return table(title, columns, rows)


def _compared(found: "Acquisition", runs: tuple[Path, ...]) -> list[Any]:
    """With the published order, with other seeds; sudden rises."""
    shown: list[Any] = []
    if (fit := found.published) is not None:
        shown.append(
            f"The published order (Chiang et al. 2020): {fit.agreeing} of {fit.pairs} pairs agree, Kendall's tau "
            f"{fit.tau:.2f} ({fit.low:.2f} to {fit.high:.2f})."
        )
    pairs = [(a, b) for a in range(len(runs)) for b in range(a)]
    if pairs:
        said = ", ".join(f"{found.seeds[a, b]:.2f} ({runs[b].name}, {runs[a].name})" for a, b in pairs)
        shown.append(f"Kendall's tau between the orders of two runs: {said}.")
    if found.rises:
        rows = [
            (one.run, one.group, f"{one.step[0]:,} to {one.step[1]:,}", f"{one.score[0]:.1%} to {one.score[1]:.1%}",
             f"{one.low:+.1%} to {one.high:+.1%}")
            for one in found.rises
        ]  # fmt: skip
        shown.append(table("Sudden rises", ["run", "group", "steps", "score", "rise, 95% interval"], rows))
    return shown


def _words(run: Path, answered: "Answered", out: Path) -> tuple[list["Exposure"], int]:
    import pyarrow.csv

    from sesame.engine.run import Run
    from sesame.probes.exposure import exposures, ledger

    if out.exists() or not out.parent.is_dir():
        what = "exists; it is left as it is" if out.exists() else f"cannot be written: there is no folder {out.parent}"
        raise UserError(f"{out} {what}. Choose another place with --words.")
    found: pa.Table = ledger(Run.open(run), answered)
    pyarrow.csv.write_csv(found, out)
    return exposures(found), len(found)


def _exposure(exposed: list["Exposure"]) -> Any:
    rows = [(one.group, one.words, one.learned, one.seen, one.seen_unlearned) for one in exposed]
    columns = ["group", "words", "learned", "seen by then", "others, seen in all"]
    return table("How often words had been seen when they were learned (medians)", columns, rows)


def _plain(found: "Acquisition") -> dict[str, Any]:
    """As JSON has it."""
    return {
        "counted_in": "tokens" if found.counted else "steps",
        "groups": [asdict(group) for group in found.groups],
        "learned": list(found.learned),
        "left_out": list(found.left_out),
        "before": {str(share): matrix for share, matrix in found.before.items()},
        "published": asdict(found.published) if found.published else None,
        "between_runs": [[None if tau != tau else tau for tau in row] for row in found.seeds.tolist()],
        "rises": [asdict(rise) for rise in found.rises],
    }


def _short(number: float) -> str:
    """12,345,678 as 12.3M."""
    for size, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if number >= 0.9995 * size:  # what is rounded to 1,000 of one unit is 1 of the next
            return f"{number / size:.3g}{unit}"
    return f"{number:.3g}"
