"""Checkpoints in a row: those of a run, of a folder of model folders, or of a model's revisions on the hub.

Series are published in two layouts. Pythia (Biderman et al. 2023) keeps one model with a revision for every checkpoint,
`step0` to `step143000`; MultiBERTs (Sellam et al. 2022) keeps a model for each, `multiberts-seed_0-step_20k`. Folders
whose names end like these, or in `step-100`, are such a series too.
"""

import hashlib
import logging
import math
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sesame.config import Data, Recipe
from sesame.data import open_data
from sesame.engine import build as building
from sesame.engine import checkpoint
from sesame.engine.run import Run, is_run
from sesame.errors import UserError
from sesame.interop import hub

log = logging.getLogger(__name__)

_NAME = re.compile(r"(?:.*[-_])?step[-_]?(\d+)(k?)")
_MODEL = ("config.json", "*.safetensors", "*.bin", "tokenizer*", "vocab.txt")
"""What a published model is made of."""


@dataclass(frozen=True)
class Saved:
    """One checkpoint."""

    step: int
    model: str
    """What `engine.build.load` opens, with `at`: a run, a model folder, or a name on the hub with its revision."""
    at: int | None
    """The step that is asked of a run; None for a model by itself."""
    made_from: str
    """Changes when the weights do."""
    tokens: int = -1
    seconds: float = math.nan


@dataclass(frozen=True)
class Series:
    """Checkpoints in the order of their steps."""

    name: str
    saved: tuple[Saved, ...]
    home: Path | None
    """Where its tables belong; None for one on the hub."""
    recipe: Recipe | None = None
    """None for published models, which are text models."""
    data: str = ""
    """Hash of what the run learned from."""
    faults: tuple[str, ...] = ()
    """A line for each checkpoint that is damaged or missing."""

    @property
    def kind(self) -> str:
        """What its models read: "text", "images" or "speech"."""
        return str(self.recipe.data.__struct_config__.tag) if self.recipe else "text"

    def only(self, steps: Iterable[int]) -> tuple[Saved, ...]:
        """The checkpoints of these steps, or all where none is named. UserError for a step that is not there."""
        wanted = set(steps)
        if missing := sorted(wanted - {saved.step for saved in self.saved}):
            known = ", ".join(str(saved.step) for saved in self.saved)
            raise UserError(f"{self.name} has no checkpoint of step {missing[0]} (--steps). There are: {known}.")
        return tuple(saved for saved in self.saved if not wanted or saved.step in wanted)


def open_series(name: str) -> Series:
    """The series called `name`: a run, a folder, or a hub name. Raises UserError where there is no checkpoint in it."""
    path = Path(name).expanduser()
    series = _of_run(path) if is_run(path) else _of_folder(path) if path.is_dir() else _of_hub(name)
    for fault in series.faults:
        log.warning("%s It is passed over.", fault)
    if not series.saved:
        raise UserError(f"{name} holds no checkpoint that can be measured.")
    return series


# --------------------------------------------------------------------------------------------------- runs
def reopened(data: Data, identity: str) -> Any:
    """What a run was trained on. `identity` is the hash that the run keeps of it. Raises UserError where that can no
    longer be read, or is something else by now."""
    found = open_data(data)
    if other := building.altered(found, identity):
        raise UserError(other)
    return found


def _of_run(path: Path) -> Series:
    run = Run.open(path)
    saved: list[Saved] = []
    faults: list[str] = []
    folders = checkpoint.listed(run.checkpoints)
    for folder in folders:
        try:
            manifest = checkpoint.read_manifest(folder)
            if not (folder / checkpoint.OBJECTIVE).is_file():
                raise UserError(f"{folder / checkpoint.OBJECTIVE} is missing.")
        except UserError as error:
            faults.append(str(error))
            continue
        tensors = sorted(manifest.tensors.get(checkpoint.OBJECTIVE, {}).items())
        seconds = math.nan if manifest.seconds is None else manifest.seconds
        saved.append(Saved(manifest.step, str(path), manifest.step, _hash(tensors), manifest.size, seconds))
    known = {folder.name for folder in folders}
    newest = max((one.step for one in saved), default=-1)
    every, twin = run.recipe.save_every or max(newest, 0) + 1, getattr(run.recipe.data, "twin", None)
    begin = -(-twin.at // every) * every if twin else 0  # a twin saves nothing before the step it goes on from
    for step in range(begin, newest, every):
        folder = checkpoint.folder_of(run.checkpoints, step)
        if folder.name not in known:
            faults.append(f"{folder} is missing: the run saved a checkpoint there.")
    return Series(str(path), tuple(saved), path, run.recipe, run.config.data, tuple(faults))


def _hash(what: object) -> str:
    return hashlib.blake2b(repr(what).encode(), digest_size=16).hexdigest()


# ------------------------------------------------------------------------------------------------ folders
def step_of(name: str) -> int | None:
    """The step in a name like step-100, step1000 or multiberts-seed_0-step_20k; None where there is none."""
    found = _NAME.fullmatch(name)
    return int(found[1]) * (1000 if found[2] else 1) if found else None


def _of_folder(path: Path) -> Series:
    for inside in (path, path.parent):
        if inside.name == "checkpoints" and is_run(inside.parent):
            raise UserError(
                f"{path} belongs to the run {inside.parent}. Watch that one: sesame watch {inside.parent}, with "
                "--steps for some of its checkpoints."
            )
    if (path / "config.json").is_file():
        return Series(str(path), (Saved(step_of(path.name) or 0, str(path), None, _stamp(path)),), path)
    there: dict[int, Path] = {}
    for folder in sorted(path.iterdir()):
        step = step_of(folder.name)
        if step is None or not folder.is_dir():
            continue
        if step in there:
            raise UserError(
                f"{there[step]} and {folder} are both of step {step}. Give each series a folder of its own."
            )
        there[step] = folder
    if not there:
        raise UserError(
            f"{path} is no run, and holds no folders step-0, step-100 … with a model each. Name a run (`sesame runs` "
            "lists them), such a folder, or a model on the hub."
        )
    faults = [
        f"{folder / 'config.json'} is missing: this is no model folder."
        for folder in there.values()
        if not (folder / "config.json").is_file()
    ]
    saved = [
        Saved(step, str(folder), None, _stamp(folder))
        for step, folder in sorted(there.items())
        if (folder / "config.json").is_file()
    ]
    return Series(str(path), tuple(saved), path, faults=tuple(faults))


def _stamp(folder: Path) -> str:
    """Of the names, sizes and times of the model's files: reading gigabytes to know that nothing changed takes long."""
    files = sorted({file for pattern in _MODEL for file in folder.glob(pattern)})
    return _hash([(file.name, file.stat().st_size, file.stat().st_mtime_ns) for file in files])


# ---------------------------------------------------------------------------------------------------- hub
def _of_hub(name: str) -> Series:
    """Revisions of a model called step…, or models called NAME-step_…; with NAME@REVISION that one alone."""
    model, _, revision = name.partition("@")
    found = [(revision, revision)] if revision else hub.revisions(model)
    steps = {step: (each, commit) for each, commit in found if (step := step_of(each)) is not None}
    if revision and not steps:
        steps = {0: (revision, revision)}
    saved = [
        Saved(step, each if "/" in each else f"{model}@{each}", None, commit)
        for step, (each, commit) in sorted(steps.items())
    ]
    if not saved:
        raise UserError(
            f"{name}: the hub has neither revisions of it called step0, step1000 …, nor models called "
            f"{model}-step_…. One revision alone is written {model}@REVISION."
        )
    return Series(name, tuple(saved), None)
