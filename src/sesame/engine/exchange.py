"""Published models as runs, and runs as folders that other libraries open."""

import os
import shutil
from pathlib import Path

import torch
from safetensors import SafetensorError

from sesame import interop
from sesame.config import Recipe, TextData
from sesame.data.batch import Cursor
from sesame.data.chance import seed_for
from sesame.engine import build as building
from sesame.engine import checkpoint
from sesame.engine.checkpoint import Manifest
from sesame.engine.run import Config, Run
from sesame.errors import UserError
from sesame.interop import generation


def import_model(model: Path | str, out: Path | str) -> Run:
    """Open a published model (a folder or a hub name) as the run folder `out`, with one checkpoint at step 0.

    Heads that the model lacks start fresh, and it is said. Raises UserError where the model cannot be opened whole
    or `out` is taken; `out` appears complete or not at all.
    """
    out = Path(out)
    _check_free(out)
    published = interop.open_model(model)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed_for("weights", 0))
        objective = published.objective()
    recipe = Recipe(
        name=Path(model).name,
        data=TextData(length=published.length),
        backbone=published.backbone,
        pretext=published.pretext,
        steps=0,
    )

    def export(folder: Path) -> None:
        interop.save_model(objective, published.vocabulary, folder / "model", like=published.folder)

    beside = out.with_name(f".{out.name}.{os.getpid()}")
    try:
        run = Run.create(beside, Config(recipe=recipe, machine={}, origin=str(model)), published.vocabulary)
        manifest = Manifest(step=0, cursor=Cursor(), config=run.config_hash)
        checkpoint.save(run.checkpoints, manifest, objective.state_dict(), {}, export)
        if (says := published.folder / generation.NAME).is_file():
            shutil.copyfile(says, run.path / generation.NAME)
        run.set_state("imported", 0)
        run.close()
        beside.rename(out)
    finally:
        shutil.rmtree(beside, ignore_errors=True)
    return Run.open(out)


def export_model(model: Path | str, out: Path | str, step: int | None = None) -> Path:
    """Write a run (its newest checkpoint, or that of `step`) as a model folder that `transformers` opens.

    Raises UserError where that library has no such model or `out` is taken.
    """
    out = Path(out)
    _check_free(out)
    loaded = building.load(model, step)
    if reason := interop.obstacle(loaded.objective, loaded.vocabulary):
        raise UserError(
            f"{model} cannot be written for `transformers`: {reason}. Its weights are in objective.safetensors of its "
            "checkpoints, and Sesame's own commands use them from there."
        )
    try:
        interop.save_model(loaded.objective, loaded.vocabulary, out, like=_origin(Path(model)))
    except SafetensorError as error:
        raise UserError(f"{out}: the model cannot be written ({error}). Nothing was left there.") from None
    return out


def _origin(model: Path) -> Path:
    """The run of a checkpoint; a run or a folder itself."""
    return model.parent.parent if model.parent.name == "checkpoints" else model


def _check_free(out: Path) -> None:
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UserError(f"{out} exists and is not empty. Nothing was written: choose another --out.")
