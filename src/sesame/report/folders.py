"""Paths that a user names, as what they are: pretraining runs, fine-tuning, measured checkpoints."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from sesame.engine.run import Run, found_in, is_run
from sesame.errors import UserError
from sesame.report.probe_reading import Watched, is_watched, watched
from sesame.report.reading import FineTuning, Pretraining, fine_tuning, is_tuning, pretraining


class Folders(NamedTuple):
    """What a report is about."""

    runs: list[Pretraining]
    tunings: list[FineTuning]
    measured: list[Watched]
    """What probes measured of these runs, and of series of published checkpoints."""


def open_folders(paths: Sequence[Path]) -> Folders:
    """Each of `paths` as what it is, in the order given. UserError for one that is neither, or given twice."""
    resolved = [path.resolve() for path in paths]
    for number, path in enumerate(resolved):
        if path in resolved[:number]:
            raise UserError(f"{paths[number]} is given twice. Name every run once.")
    found = Folders([], [], [])
    for path, label in zip(paths, labels(resolved), strict=True):
        run = None
        if is_run(path):
            run = pretraining(Run.open(path), label)
            found.runs.append(run)
        elif is_tuning(path):
            found.tunings.append(fine_tuning(path, label))
        elif not is_watched(path):
            raise _no_run(path)
        if is_watched(path):
            found.measured.append(watched(path, label, run))
    return found


def labels(paths: Sequence[Path]) -> list[str]:
    """The shortest ends of `paths` that tell all of them apart."""
    for parts in range(1, max((len(path.parts) for path in paths), default=0) + 1):
        ends = ["/".join(path.parts[-parts:]) for path in paths]
        if len(set(ends)) == len(ends):
            return ends
    return [str(path) for path in paths]


def _no_run(path: Path) -> UserError:
    if not path.exists():
        return UserError(f"{path} does not exist. Give folders of sesame pretrain, sesame finetune or sesame watch.")
    inside = [str(run.path) for run in found_in(path) if run.path != path]
    folders = [p for p in sorted(path.iterdir()) if p.is_dir()] if path.is_dir() else []
    inside += [str(p) for p in folders if is_tuning(p) or (is_watched(p) and not is_run(p))]
    hint = (
        f" There are some in it: {', '.join(inside[:6])}." if inside else " `sesame runs DIR` lists those of a folder."
    )
    return UserError(f"{path} is neither a run, nor a fine-tuning folder, nor one that `sesame watch` wrote.{hint}")
