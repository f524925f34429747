"""`sesame fork RUN --at STEP --without SOURCE… | --with SOURCE… --out TWIN`"""

import logging
import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from tyro.conf import Positional, arg

from sesame.cli.options import options_of
from sesame.cli.output import emit
from sesame.errors import UserError

if TYPE_CHECKING:
    from sesame.engine.fork import Forked

log = logging.getLogger("sesame")


@dataclass(frozen=True)
class Fork:
    """Train a twin of a run: the same order and masks, without some documents, or with some in addition.

    With neither --without nor --with it is the run once more, bit for bit; both together exchange documents.
    """

    run: Annotated[Positional[Path], arg(metavar="RUN")]
    """The run to go on from."""
    at: int
    """The step to go on from: one whose checkpoint has the optimizer's state (--keep), or 0 for the very beginning."""
    out: Path
    """The run folder to make."""
    without: tuple[str, ...] = ()
    """Files, folders, globs, pydocs:PACKAGE … whose documents are left out; known by their whole text."""
    with_: Annotated[tuple[str, ...], arg(name="with")] = ()
    """Files, folders, globs … whose documents are read in addition, as often as the run reads its own from there on."""
    document: Literal["blank-line", "file"] = "blank-line"
    """In plain text: a blank line starts a new document, or a file is one document."""
    text_field: str = "text"
    """Field of JSON lines, column of Parquet files, that holds the text."""
    inexact: bool = False
    """Train it although the machine or torch have changed; more than those documents then differs."""
    json: bool = False
    """Print the result alone on stdout, as JSON."""


def fork_command(argv: list[str]) -> int:
    options = options_of(Fork, argv, "sesame fork")
    from sesame.cli.pretrain import probe_hooks, report, shows
    from sesame.data.sources import SourceOptions
    from sesame.engine import start
    from sesame.engine.fork import fork
    from sesame.engine.run import Run
    from sesame.probes import schedule
    from sesame.probes.table import ITEMS, VALUES, Tables

    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise UserError("A twin is made by one process. Run sesame fork without torchrun; it says how to go on.")
    cut = SourceOptions(document=options.document, text_field=options.text_field)
    probes = probe_hooks(Run.open(options.run).recipe)
    made = fork(options.run, options.out, options.at, options.without, options.with_, cut)
    for name in (VALUES, ITEMS, schedule.PLAN):  # what was measured before they part is true of both
        if (options.run / name).exists():
            shutil.copy(options.run / name, options.out)
    Tables(options.out).forget_after(options.at)
    log.info("%s is made: %s", options.out, _said(made))
    if (processes := made.run.config.machine.get("processes", "1")) != "1":
        result = {"run": str(options.out), "state": "interrupted", "step": options.at}
        says = f"The run had {processes} processes. Go on with: {made.run.resuming}"
        emit("fork", result, says, as_json=options.json, path=None)
        return 0
    try:
        with shows(options.out, tensorboard=False) as told:
            ended = start.resume(options.out, options.inexact, told, probes)
    except UserError:
        if (state := made.run.state()) and state.step == options.at:  # it never began: its name is free again
            shutil.rmtree(options.out)
        raise
    return report(ended, options.json)


def _said(made: "Forked") -> str:
    """What it does otherwise."""
    said = [f"{made.left_out:,} of {made.documents:,} documents are left out"] if made.left_out else []
    if made.added:
        times = "once" if made.times == 1 else f"{made.times} times"
        said.append(f"{made.added:,} documents are added, each read {times} in the steps that are left")
    return "; ".join(said) or "nothing is otherwise"
