"""A recipe into the one module that is trained; a run, a checkpoint or a published folder into a model."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import torch

from sesame import config, interop, models, pretext
from sesame.config import Recipe
from sesame.data.chance import seed_for
from sesame.data.tokenizer import Vocabulary
from sesame.engine import checkpoint, distributed, machine
from sesame.engine.run import TOKENIZER, Run, is_run
from sesame.errors import UserError
from sesame.models import fitting
from sesame.pretext.base import Objective
from sesame.processes import cores


@dataclass(frozen=True)
class Model:
    """Trained weights, with what is needed to use them."""

    objective: Objective
    vocabulary: Vocabulary | None
    recipe: Recipe | None
    """None for a published model."""
    step: int
    published: config.Data | None = None
    """How what a published model reads is prepared, where that is no text."""
    writes: config.Generate | None = None
    """How a published model that writes text is to do so, where it says."""

    @property
    def data(self) -> config.Data | None:
        """How what it reads is prepared; None of a published model of text, whose tokenizer says all."""
        return self.recipe.data if self.recipe else self.published


def build(recipe: Recipe, data: Any) -> Objective:
    """Backbone and pretext task with fresh weights, which depend on the recipe and its seed alone."""
    return _build(recipe, vocabulary_of(data))


def _build(recipe: Recipe, vocabulary: Vocabulary | None) -> Objective:
    if vocabulary is not None:
        fitting.check_vocabulary(recipe.backbone, vocabulary.size)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed_for("weights", recipe.seed))
        backbone = models.build(recipe.backbone)
        objective = Objective(backbone, pretext.build(recipe.pretext, backbone, vocabulary))
    return objective.to(dtype_of(recipe))


def vocabulary_of(data: Any) -> Vocabulary | None:
    """The tokenizer of data that have one."""
    return getattr(data, "vocabulary", None)


def identity_of(data: Any) -> str:
    """Hash of what a run learns from: the same wherever it is kept, another if anything in it is another."""
    return str(data.hash)


def libraries_of(data: Any) -> dict[str, str]:
    """The versions of what examples are computed with, besides torch: their last bits depend on it."""
    return dict(getattr(data, "libraries", {}))


def altered(data: Any, identity: str) -> str:
    """In words that `data` are not those of `identity`; "" where they are, or where that is not known: an earlier
    version kept no identity of images and sounds."""
    return str(data.altered) if identity not in ("", identity_of(data)) else ""


def dtype_of(recipe: Recipe) -> torch.dtype:
    """The type of the weights. bf16 is the type of products only (autocast); the weights stay in fp32."""
    return torch.float64 if recipe.precision == "fp64" else torch.float32


def product_dtype_of(recipe: Recipe) -> torch.dtype:
    """The type that matrix products are computed in."""
    return torch.bfloat16 if recipe.precision == "bf16" else dtype_of(recipe)


def freeze(recipe: Recipe, data: Any) -> Recipe:
    """The recipe with every choice made that is left to the data or the machine, except the number of steps."""
    fitting.check_positions(recipe.backbone, recipe.data.longest)
    device = machine.device_of(recipe).type
    if recipe.device == "cuda" and device != "cuda":
        raise UserError("--device cuda: torch finds no CUDA device here. Choose --device cpu or auto.")
    precision = recipe.precision
    if precision == "auto":
        precision = "bf16" if device == "cuda" else "fp32"
    return msgspec.structs.replace(
        recipe,
        backbone=fitting.sized(recipe.backbone, data.facts),
        threads=recipe.threads or cores(),
        device=device,
        precision=precision,
    )


def load(path: Path | str, step: int | None = None) -> Model:
    """The model of a run (its newest whole checkpoint, or the one of `step`), of one checkpoint, or of a folder that
    another library published. Raises UserError where there is none or it is damaged.
    """
    path = Path(path)
    if path.parent.name == "checkpoints" and is_run(path.parent.parent):
        return load(path.parent.parent, checkpoint.read_manifest(path).step)
    if not is_run(path):
        if step is not None:
            raise UserError(f"{path} is no run folder, so it has no step {step}.")
        ready = interop.ready(path)
        return Model(ready.objective.eval(), ready.vocabulary, None, 0, ready.data, ready.writes)
    run = Run.open(path)
    vocabulary = Vocabulary.open(run.path / TOKENIZER) if run.recipe.data.tokenized else None
    found = run.at(step)
    objective = _build(run.recipe, vocabulary)
    try:
        distributed.fill(objective, found.objective)
    except (KeyError, RuntimeError) as error:
        raise UserError(f"{run.path}: the checkpoint of step {found.manifest.step} does not fit ({error}).") from None
    recall(objective, run)
    objective.eval()
    writes = interop.settings_in(run.path)
    return Model(objective, vocabulary, run.recipe, found.manifest.step, writes=writes)


def recall(objective: Objective, run: Run) -> None:
    """Give the pretext task what it prepared when the run began, if its targets are made of that."""
    if not objective.pretext.recalls:
        return
    files = list(run.artifacts.glob("*.npz"))
    if not files:
        raise UserError(f"{run.artifacts} is gone, and with it what the run prepared. Begin a new run.")
    newest = max(files, key=lambda path: path.stat().st_mtime_ns)  # others are of data that it did not go on with
    with np.load(newest, allow_pickle=False) as file:
        objective.pretext.recall(dict(file))
