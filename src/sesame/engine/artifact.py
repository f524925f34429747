"""What a pretext task computes from the data beforehand, computed once and kept under a hash of what made it."""

import os
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from sesame.config import Recipe
from sesame.engine import build
from sesame.engine.checkpoint import config_hash
from sesame.pretext.base import Pretext, Teacher


def artifact_of(folder: Path, pretext: Pretext, recipe: Recipe, data: Any) -> dict[str, np.ndarray]:
    """`pretext.prepare(data)`, from `folder` where the same data, task and backbone left it there.

    The file is put in place in one go: a reader sees all of it or none.
    """
    made_of = [build.identity_of(data), *map(msgspec.to_builtins, (recipe.data, recipe.backbone, recipe.pretext))]
    path = folder / f"{config_hash(made_of)}.npz"
    if path.exists():
        path.touch()  # it is the one that the run goes on with: `build.recall` takes the newest
        with np.load(path, allow_pickle=False) as file:
            return dict(file)
    artifact = pretext.prepare(data, *teachers(pretext))
    if artifact:
        folder.mkdir(parents=True, exist_ok=True)
        unfinished = path.with_suffix(f".{os.getpid()}.tmp")
        with unfinished.open("wb") as file:
            np.savez(file, allow_pickle=False, **artifact)
        unfinished.replace(path)
    return artifact


def teachers(pretext: Pretext) -> tuple[Teacher, ...]:
    """Whom `prepare` asks: the model of the run that the task names, or nobody."""
    if not pretext.teacher:
        return ()
    model = build.load(pretext.teacher)
    return (Teacher(model.objective.backbone, model.recipe.data if model.recipe else None),)
