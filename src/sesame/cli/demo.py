"""`sesame demo`: the whole way from text to a model that is put to work, on text that every Python carries."""

import contextlib
import logging
import shlex
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from sesame.cli import demo_steps
from sesame.cli.options import options_of
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
    options = options_of(Demo, argv, "sesame demo")
    if options.seconds <= 0:
        raise UserError(f"--seconds {options.seconds:g}: pretraining takes time. Give a number above 0.")
    if options.seeds < 1 or options.examples < 1:
        raise UserError(f"--seeds {options.seeds}, --examples {options.examples}: give numbers above 0.")
    began = time.monotonic()
    data, run, tuned, page = (options.out / name for name in ("data", "run", "tasks", "report.html"))
    tasks = [f"pydocs/{task}" for task in options.tasks]
    demo_steps.check_place(tasks, tuned)
    with contextlib.redirect_stdout(sys.stderr) if options.json else contextlib.nullcontext():
        _prepare(data)
        probes = [word for probe in PROBES for word in ("--probe", probe)]
        minutes = f"{options.seconds / 60:.4g}"
        demo_steps.pretrain("bert-tiny", run, "--data", data, "--max-minutes", minutes, *probes)
        if tasks:
            chosen = ("--train-on", str(options.examples), "--seeds", str(options.seeds), *TUNING)
            demo_steps.finetune(run, tasks, tuned, *chosen)
        demo_steps.report([run, tuned] if tasks else [run], page)

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
        "tasks": demo_steps.results_of(tuned) if tasks else {},
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


def _prepare(data: Path) -> None:
    from sesame.cli.data import prepare_command
    from sesame.data.sources import is_store

    if not is_store(data):
        demo_steps.run_shown(prepare_command, "data prepare", "pydocs", "--held-out", "0.05", "--out", data)
