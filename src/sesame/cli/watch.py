"""`sesame watch RUN…`"""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from tyro.conf import Positional, UseAppendAction, arg

from sesame.cli.options import options_of
from sesame.cli.output import emit, table
from sesame.errors import UserError

if TYPE_CHECKING:
    from sesame.probes.watch import Watched


@dataclass(frozen=True)
class Watch:
    """Measure what saved checkpoints know: each probe's full form, on every checkpoint of a run or of a series."""

    runs: Annotated[Positional[tuple[str, ...]], arg(metavar="RUN…")]
    """Runs; folders of model folders step-0, step-100 …; models on the hub with such revisions (NAME, NAME@step100)."""
    probe: UseAppendAction[tuple[str, ...]] = ()
    """A probe, or PROBE=FILE for what it is measured on; may be given several times. Otherwise the usual ones."""
    out: Path | None = None
    """Where the tables go, instead of into the run; for several runs, each into a folder of its own there."""
    steps: tuple[int, ...] = ()
    """Only the checkpoints of these steps."""
    threads: int = 0
    """Threads in all; 0 for as many as there are cores. Each measures a checkpoint, if there are enough."""
    json: bool = False
    """Print the result alone on stdout, as JSON."""


def watch_command(argv: list[str]) -> int:
    try:
        options = options_of(Watch, argv, "sesame watch")
    except SystemExit:
        if {"-h", "--help"} & set(argv):
            print(_probes())
        raise
    if not options.runs:
        raise UserError("watch what? Name a run: sesame watch RUN --probe word-classes. `sesame runs` lists them.")
    if options.threads < 0:
        raise UserError(f"--threads {options.threads}: give a number above 0, or 0 for all cores.")
    from sesame.probes.watch import next_command, watch

    names = [Path(run).name for run in options.runs]
    if options.out and len(set(names)) < len(names):
        raise UserError(
            f"--out: {max(names, key=names.count)} is the name of two runs. Watch them one after the other."
        )
    watched = []
    for run in options.runs:
        out = options.out / Path(run).name if options.out and len(names) > 1 else options.out
        watched.append(watch(run, options.probe, out, options.steps, options.threads))
    shown: list[Any] = [_changed(each) for each in watched]
    shown.append(f"All numbers: {', '.join(str(each.tables / 'probes.parquet') for each in watched)}")
    shown.append(f"Curves: {next_command(watched)}")
    emit("watch", {"watched": [asdict(each) for each in watched]}, *shown, as_json=options.json, path=None)
    return 0


def _changed(watched: "Watched") -> Any:
    """What the first and the last checkpoint that a probe measured say."""
    title = (
        f"{watched.name}: {watched.measured} measurements of {watched.checkpoints} checkpoints, {watched.known} known "
        "before"
    )
    found = watched.changes
    if not found:
        return f"{title}. No number changed."
    if all(one.first_step == one.last_step for one in found):
        return table(title, ["probe", "what", "step", "value"], [(c.probe, c.what, c.last_step, c.last) for c in found])
    rows = [(one.probe, one.what, one.first_step, one.first, one.last_step, one.last) for one in found]
    return table(title, ["probe", "what", "step", "first", "step", "last"], rows)


def _probes() -> str:
    """Every probe, with the data whose models it measures and the first line of its help."""
    from sesame.config import Probe
    from sesame.probes import PROBES, find

    found = [find(Probe(name=name)) for name in sorted(PROBES)]
    width = max((len(probe.name) for probe in found), default=0)
    lines = [f"  {probe.name:<{width}}  {probe.about} ({', '.join(sorted(probe.reads))})" for probe in found]
    own = "A file of your own with measure(model, ask) is a probe too: --probe my_probe.py"
    return "\n".join(["Probes (--probe NAME, --probe NAME=FILE):", "", *lines, "", own])
