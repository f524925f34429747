"""The command that repeats a run, from the settings that its folder froze."""

import shlex
from itertools import chain
from pathlib import Path
from typing import Any

import msgspec

from sesame import recipes
from sesame.config import FineTune, Recipe, TextData
from sesame.report.reading import FineTuning, Pretraining
from sesame.tasks.arms import HEAD_ALONE
from sesame.tasks.opening import SPEECH

_DECIDED = {"max_minutes", "max_tokens", "eval_every", "save_every", "data.store", "data.source", "backbone.vocab"}
"""What the number of steps and the data already say, or what changes no weight."""


def pretrain_command(run: Pretraining) -> str:
    """The line to type, or where to look when no single line says it all."""
    recipe, origin, out = run.run.recipe, run.run.config.origin, shlex.quote(run.run.path.name)
    if run.state == "imported":
        return f"sesame import {shlex.quote(origin)} --out {out}"
    changed = differing(recipe)
    if changed is None or any(isinstance(value, dict | list) for value in changed.values()):
        return f"# {run.run.path}/config.json holds the recipe; read it into sesame.Recipe and call sesame.pretrain"
    data = recipe.data.store if isinstance(recipe.data, TextData) else recipe.data.source
    words = ["sesame", "pretrain", recipe.name, "--data", data, "--out", run.run.path.name]
    words += ["--from", origin] if origin else []
    words += ["--steps", str(recipe.steps)]
    for name, value in changed.items():
        words += option(name, value)
    return shlex.join(words)


def differing(recipe: Recipe) -> dict[str, Any] | None:
    """Every setting in which a recipe differs from the ready-made one of its name; None where there is none."""
    if recipe.name not in recipes.RECIPES:
        return None
    ready, own = flat(msgspec.to_builtins(recipes.find(recipe.name))), flat(msgspec.to_builtins(recipe))
    if ready.keys() != own.keys():  # another kind of data, network or task
        return None
    return {key: value for key, value in own.items() if value != ready[key] and key not in _DECIDED | {"steps"}}


def option(name: str, value: Any) -> list[str]:
    """A setting as the command line takes it."""
    written = name.replace("_", "-")
    if isinstance(value, bool):
        head, _, last = written.rpartition(".")
        prefix = f"{head}." if head else ""
        return [f"--{prefix}{'' if value else 'no-'}{last}"]
    values = value if isinstance(value, list | tuple) else [value]
    return [f"--{written}", *map(str, values)]


def finetune_command(tuning: FineTuning) -> str:
    """The line to type; empty where the folder does not say what it was made of.

    A task that was read from files is named by the folder of its training file.
    """
    said = tuning.settings
    if not said.get("tasks") or not tuning.run:
        return ""
    words = [
        "sesame",
        "finetune",
        tuning.run,
        *chain.from_iterable(_task(name, task) for name, task in said["tasks"].items()),
    ]
    words += ["--out", tuning.path.name, "--seeds", str(said.get("seeds", 1))]
    alone = {("scratch",): ["--from-scratch"], ("pretrained",): ["--alone"], HEAD_ALONE: ["--frozen"]}
    words += alone.get(tuple(said.get("arms", [])), [])
    words += ["--loss-curve"] if any(event["event"] == "loss_curve" for event in tuning.events) else []
    ready = msgspec.to_builtins(FineTune())
    for name, value in said.get("settings", {}).items():
        if value != ready.get(name):
            words += option(name, value)
    return shlex.join(words)


def _task(name: str, settings: Any) -> list[str]:
    train = settings.get("train") if isinstance(settings, dict) else ""
    if not train or name.startswith(("pydocs/", "espeak/")):
        return [name]
    if settings.get("kind") not in SPEECH:
        return [str(Path(train).parent)]
    said = {
        option: settings[option] for option in ("kind", "label", "pattern", "apart", "metric") if option in settings
    }
    return [train, *(word for option, value in said.items() for word in (f"--{option}", str(value)))]


def flat(value: Any, prefix: str = "") -> dict[str, Any]:
    """Nested settings under dotted names."""
    if not isinstance(value, dict) or not value:
        return {prefix: value}
    return {k: v for key, inner in value.items() for k, v in flat(inner, f"{prefix}.{key}" if prefix else key).items()}
