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
from sesame.models.upstream import SAMPLE_RATE, upstream_in
from sesame.pretext.base import Objective, Pretext
from sesame.processes import cores


@dataclass(frozen=True)
class Model:
    """Trained weights, with what is needed to use them."""

    objective: Objective
    vocabulary: Vocabulary | None
    recipe: Recipe | None
    """None for a published model."""
    step: int
    hears: config.SpeechData | None = None
    """How a published model of speech hears."""
    writes: config.Generate | None = None
    """How a published model that writes text is to do so, where it says."""


def build(recipe: Recipe, data: Any) -> Objective:
    """Backbone and pretext task with fresh weights, which depend on the recipe and its seed alone."""
    return _build(recipe, vocabulary_of(data))


def _build(recipe: Recipe, vocabulary: Vocabulary | None) -> Objective:
    check_vocabulary(recipe.backbone, vocabulary)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed_for("weights", recipe.seed))
        backbone = models.build(recipe.backbone)
        objective = Objective(backbone, pretext.build(recipe.pretext, backbone, vocabulary))
    return objective.to(dtype_of(recipe))


def vocabulary_of(data: Any) -> Vocabulary | None:
    """The tokenizer of text; images and speech have none."""
    return getattr(data, "vocabulary", None)


def identity_of(data: Any) -> str:
    """Hash of what a run learns from: the same wherever it is kept, another if anything in it is another."""
    return str(data.hash)


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
    check_positions(recipe)
    device = machine.device_of(recipe).type
    if recipe.device == "cuda" and device != "cuda":
        raise UserError("--device cuda: torch finds no CUDA device here. Choose --device cpu or auto.")
    precision = recipe.precision
    if precision == "auto":
        precision = "bf16" if device == "cuda" else "fp32"
    return msgspec.structs.replace(
        recipe,
        backbone=_sized(recipe.backbone, data.facts),
        threads=recipe.threads or cores(),
        device=device,
        precision=precision,
    )


def _sized(backbone: config.Backbone, known: dict[str, int]) -> config.Backbone:
    """The backbone with what the data know (a vocabulary, the width of frames, the size of images) where it leaves it
    open."""
    if isinstance(backbone, config.EncoderDecoder):
        encoder, decoder = _sized(backbone.encoder, known), _sized(backbone.decoder, known)
        return msgspec.structs.replace(backbone, encoder=encoder, decoder=decoder)
    return msgspec.structs.replace(backbone, **{k: v for k, v in known.items() if getattr(backbone, k, None) == 0})


def _stacks(backbone: config.Backbone) -> tuple[config.Backbone, ...]:
    return (backbone.encoder, backbone.decoder) if isinstance(backbone, config.EncoderDecoder) else (backbone,)


def check_positions(recipe: Recipe) -> None:
    """Raise UserError where rows are longer than the table of learned positions."""
    data = recipe.data
    if isinstance(data, config.ImageData):
        return
    phases = data.phases if isinstance(data, config.TextData) else ()
    longest = data.longest if isinstance(data, config.SpeechData) else data.length
    length = max((phase.length for phase in phases), default=longest)
    for stack in _stacks(recipe.backbone):
        if isinstance(stack, config.Transformer) and stack.position == "learned" and stack.positions < length:
            raise UserError(
                f"rows of {length} were asked for (--data.length), and the model has {stack.positions} positions. "
                f"Choose a length of at most {stack.positions}, or more positions (--backbone.positions {length})."
            )


def check_vocabulary(backbone: config.Backbone, vocabulary: Vocabulary | None) -> None:
    """Raise UserError where the text has tokens that the embedding has no row for."""
    for stack in _stacks(backbone):
        if not isinstance(stack, config.Transformer | config.WordVectors | config.Elmo):
            continue
        if vocabulary is not None and stack.vocab < vocabulary.size:
            raise UserError(
                f"--backbone.vocab is {stack.vocab} but the tokenizer has {vocabulary.size} tokens. "
                "Leave it at 0, which takes the tokenizer's size, or prepare the data with a smaller --vocab."
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
        if upstream := upstream_in(interop.locate(str(path))):
            objective = Objective(models.build(upstream), Pretext())
            return Model(objective.eval(), None, None, 0, config.SpeechData(sample_rate=SAMPLE_RATE))
        published = interop.open_model(path)
        objective, writes = published.objective().eval(), interop.settings_in(published.folder)
        return Model(objective, published.vocabulary, None, 0, writes=writes)
    run = Run.open(path)
    vocabulary = Vocabulary.open(run.path / TOKENIZER) if isinstance(run.recipe.data, config.TextData) else None
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
