"""`sesame demo`: the whole way from text to a model that fills gaps, on text that every Python carries."""

import contextlib
import logging
import shlex
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import tyro
from tyro.conf import FlagCreatePairsOff

from sesame.cli.output import emit, table
from sesame.errors import UserError

log = logging.getLogger(__name__)

EXAMPLES = (
    "Return the [MASK] of the list.",
    "Raise an exception if the file does not [MASK].",
    "The default [MASK] is None.",
    "If the argument is a string, it is [MASK] to an integer.",
    "This module [MASK] functions for reading and writing files.",
)


@dataclass(frozen=True)
class Demo:
    """Prepare, pretrain and fill on the documentation inside Python: offline, in a few minutes.

    Each command is shown before it runs, so that the same can be done on other text. What an earlier demo left behind
    is gone on with.
    """

    out: Path = Path("demo")
    """Folder for the data, the run and result.json."""
    seconds: float = 150.0
    """How long to pretrain."""
    json: bool = False
    """Print the result alone on stdout, as JSON."""


def demo_command(argv: list[str]) -> int:
    options = tyro.cli(Demo, args=argv, prog="sesame demo", config=(FlagCreatePairsOff,))
    if options.seconds <= 0:
        raise UserError(f"--seconds {options.seconds:g}: pretraining takes time. Give a number above 0.")
    from sesame.cli.data import prepare_command
    from sesame.cli.pretrain import pretrain_command
    from sesame.engine.run import Run, is_run

    data, run = options.out / "data", options.out / "run"
    with contextlib.redirect_stdout(sys.stderr) if options.json else contextlib.nullcontext():
        if not (data / "store.json").exists():
            _run(prepare_command, "data prepare", "pydocs", "--held-out", "0.05", "--out", data)
        state = Run.open(run).state() if is_run(run) else None
        if state and state.state == "finished":
            log.info("%s is finished, and used as it is", run)
        elif is_run(run):
            _run(pretrain_command, "pretrain", "--resume", run)
        else:
            minutes = f"{options.seconds / 60:.4g}"
            _run(pretrain_command, "pretrain", "bert-tiny", "--data", data, "--out", run, "--max-minutes", minutes)

    from sesame.engine.build import load
    from sesame.tasks.fill import fill

    model = load(run)
    found = [(text, fill(model, text)) for text in EXAMPLES]
    rows = [(text, "  ".join(f"{g.token} {g.probability:.0%}" for g in filled.masks[0])) for text, filled in found]
    result = {"run": run, "step": model.step, "examples": [{"said": text, **asdict(filled)} for text, filled in found]}
    emit(
        "demo",
        result,
        table(f"What the model expects, after {model.step} steps", ["text", "guesses"], rows),
        f'Try your own: sesame fill {shlex.quote(str(run))} "Write the [MASK] to the file."',
        as_json=options.json,
        path=options.out / "result.json",
    )
    return 0


def _run(command: Callable[[list[str]], int], verb: str, *words: str | Path) -> None:
    """Show one command line as a user would write it, and run it."""
    argv = [str(word) for word in words]
    log.info("\n$ sesame %s %s", verb, shlex.join(argv))
    if status := command(argv):
        raise SystemExit(status)
