"""What the demos do alike: commands that are shown and then run; what an earlier demo has done is gone on with."""

import json
import logging
import shlex
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from sesame.errors import UserError

log = logging.getLogger(__name__)


def run_shown(command: Callable[[list[str]], int], verb: str, *words: str | Path) -> None:
    """Show one command line as a user would write it, and run it."""
    argv = [str(word) for word in words]
    log.info("\n$ sesame %s %s", verb, shlex.join(argv))
    if status := command(argv):
        raise SystemExit(status)


def pretrain(recipe: str, run: Path, *words: str | Path) -> None:
    """`sesame pretrain`, unless the run is finished; one that was begun is gone on with."""
    from sesame.cli.pretrain import pretrain_command
    from sesame.engine.run import Run, is_run

    state = Run.open(run).state() if is_run(run) else None
    if state and state.state == "finished":
        log.info("%s is finished, and used as it is", run)
    elif is_run(run):
        run_shown(pretrain_command, "pretrain", "--resume", run)
    else:
        run_shown(pretrain_command, "pretrain", recipe, *words, "--out", run)


def finetune(run: Path, tasks: Sequence[str], tuned: Path, *words: str) -> None:
    """`sesame finetune`, unless all of the tasks are there; what is unfinished begins anew."""
    from sesame.cli.finetune import finetune_command

    check_place(tasks, tuned)
    if set(results_of(tuned)) >= set(tasks):
        log.info("%s has all of the tasks, and is used as it is", tuned)
        return
    if tuned.exists():
        log.info("%s was not finished: its tasks begin anew", tuned)
        shutil.rmtree(tuned)
    run_shown(finetune_command, "finetune", run, *tasks, "--out", tuned, *words)


def check_place(tasks: Sequence[str], tuned: Path) -> None:
    """Raise UserError unless `tuned` is free, has all of the tasks, or is what an unfinished `finetune` of
    the same tasks left there."""
    free = not tuned.exists() or (tuned.is_dir() and not any(tuned.iterdir()))
    if free or set(results_of(tuned)) >= set(tasks):
        return
    if set(_read(tuned / "config.json").get("tasks", ())) != set(tasks):
        raise UserError(
            f"{tuned} exists and holds something else than the tasks {', '.join(tasks)}. Nothing was changed. "
            "Choose another --out."
        )


def report(folders: Sequence[Path], page: Path) -> None:
    """`sesame report`."""
    from sesame.cli.report import report_command

    run_shown(report_command, "report", *folders, "--out", page)


def results_of(tuned: Path) -> dict[str, Any]:
    """The tasks that an earlier `finetune` has finished."""
    return dict(_read(tuned / "result.json").get("tasks", {}))


def _read(path: Path) -> dict[str, Any]:
    """The fields of a JSON file; none where it is another file, or not there."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
