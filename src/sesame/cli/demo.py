"""`sesame demo`: the whole way from text to a model that is put to work, on text that every Python carries."""

import contextlib
import json
import logging
import shlex
import shutil
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import tyro
from tyro.conf import FlagCreatePairsOff

from sesame.cli.output import emit, table
from sesame.errors import UserError

log = logging.getLogger(__name__)

SENTENCES = (
    "Return the [MASK] of the list.",
    "Raise an exception if the file does not [MASK].",
    "The default [MASK] is None.",
    "If the argument is a string, it is [MASK] to an integer.",
    "This module [MASK] functions for reading and writing files.",
)
TUNING = ("--epochs", "8", "--min-steps", "0", "--rows", "16", "--evaluations", "3", "--sweep", "1e-3", "3e-3")
"""Few examples, small steps, few looks at dev: some ten seconds a training on one core. Every arm has the better of
two rates, and scratch the better of two starts."""

PROBES = ("word-classes", "rank")
"""What is measured while it trains, within a twentieth of the time; the report shows when it learned which words."""


@dataclass(frozen=True)
class Demo:
    """Prepare, pretrain, fill, and four tasks with and without pretraining, on the documentation inside Python.

    Offline, in about eight minutes on two cores. Each command is shown before it runs, so that the same can be done on
    other text. What an earlier demo left behind is gone on with.
    """

    out: Path = Path("demo")
    """Folder for the data, the run, the tasks, report.html and result.json."""
    seconds: float = 150.0
    """How long to pretrain."""
    seeds: int = 5
    """How often each task is learned, from pretrained and from fresh weights; the seeds are paired."""
    examples: int = 300
    """Labelled examples that each task is learned from: where labels are few, pretraining pays."""
    tasks: tuple[str, ...] = ("area", "names", "match", "params")
    """Which of the built-in tasks; none for none."""
    json: bool = False
    """Print the result alone on stdout, as JSON."""


def demo_command(argv: list[str]) -> int:
    options = tyro.cli(Demo, args=argv, prog="sesame demo", config=(FlagCreatePairsOff,))
    if options.seconds <= 0:
        raise UserError(f"--seconds {options.seconds:g}: pretraining takes time. Give a number above 0.")
    if options.seeds < 1 or options.examples < 1:
        raise UserError(f"--seeds {options.seeds}, --examples {options.examples}: give numbers above 0.")
    began = time.monotonic()
    data, run, tuned, page = (options.out / name for name in ("data", "run", "tasks", "report.html"))
    with contextlib.redirect_stdout(sys.stderr) if options.json else contextlib.nullcontext():
        _pretrain(options, data, run)
        if options.tasks:
            _tune(options, run, tuned)
        _report([run, tuned] if options.tasks else [run], page)

    from sesame.engine.build import load
    from sesame.tasks.fill import fill

    model = load(run)
    found = [(text, fill(model, text)) for text in SENTENCES]
    rows = [(text, "  ".join(f"{g.token} {g.probability:.0%}" for g in filled.masks[0])) for text, filled in found]
    result = {
        "seconds": round(time.monotonic() - began, 1),
        "run": run,
        "step": model.step,
        "examples": [{"said": text, **asdict(filled)} for text, filled in found],
        "tasks": _results(tuned) if options.tasks else {},
    }
    emit(
        "demo",
        result,
        table(f"What the model expects, after {model.step} steps", ["text", "guesses"], rows),
        f"All of it, with curves: open {page} in a browser.\n"
        f'Try your own: sesame fill {shlex.quote(str(run))} "Write the [MASK] to the file."',
        as_json=options.json,
        path=options.out / "result.json",
    )
    return 0


def _pretrain(options: Demo, data: Path, run: Path) -> None:
    from sesame.cli.data import prepare_command
    from sesame.cli.pretrain import pretrain_command
    from sesame.engine.run import Run

    if not (data / "store.json").exists():
        run_shown(prepare_command, "data prepare", "pydocs", "--held-out", "0.05", "--out", data)
    state = Run.open(run).state() if isrun_shown(run) else None
    if state and state.state == "finished":
        log.info("%s is finished, and used as it is", run)
    elif isrun_shown(run):
        run_shown(pretrain_command, "pretrain", "--resume", run)
    else:
        minutes = f"{options.seconds / 60:.4g}"
        run_shown(
            pretrain_command, "pretrain", "bert-tiny", "--data", data, "--out", run, "--max-minutes", minutes,
            *(word for probe in PROBES for word in ("--probe", probe)),
        )  # fmt: skip


def _tune(options: Demo, run: Path, tuned: Path) -> None:
    from sesame.cli.finetune import finetune_command

    names = [f"pydocs/{task}" for task in options.tasks]
    if set(_results(tuned)) >= set(names):
        log.info("%s has all of the tasks, and is used as it is", tuned)
        return
    if tuned.exists():
        log.info("%s was not finished: its tasks begin anew", tuned)
        shutil.rmtree(tuned)
    chosen = ("--train-on", str(options.examples), "--seeds", str(options.seeds), *TUNING)
    run_shown(finetune_command, "finetune", run, *names, "--out", tuned, *chosen)


def _report(runs: list[Path], page: Path) -> None:
    from sesame.cli.report import report_command

    run_shown(report_command, "report", *runs, "--out", page)


def _results(tuned: Path) -> dict[str, object]:
    """The tasks that an earlier `finetune` has finished."""
    try:
        return dict(json.loads((tuned / "result.json").read_text(encoding="utf-8"))["tasks"])
    except (OSError, ValueError, KeyError, TypeError):
        return {}


def run_shown(command: Callable[[list[str]], int], verb: str, *words: str | Path) -> None:
    """Show one command line as a user would write it, and run it."""
    argv = [str(word) for word in words]
    log.info("\n$ sesame %s %s", verb, shlex.join(argv))
    if status := command(argv):
        raise SystemExit(status)
