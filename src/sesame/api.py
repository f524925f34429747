"""Pretraining from Python, in one call."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from sesame import recipes
from sesame.config import Recipe
from sesame.data import located
from sesame.engine import start
from sesame.engine.build import Model, load
from sesame.engine.lines import Lines
from sesame.engine.run import Run
from sesame.errors import UserError, nearest
from sesame.probes import bus, named


def pretrain(
    recipe: str | Recipe,
    data: str | Path,
    out: str | Path,
    origin: str = "",
    probes: Sequence[str] = (),
    **fields: Any,
) -> Model:
    """Train `recipe` (or the recipe of that name) on `data` into the new run folder `out`, and return the model.

    `data` is a folder made by `sesame.prepare`; for images and speech, their source. `origin` is a run, a model folder
    or a hub name whose weights to start from. `probes` (NAME, NAME=FILE, my_probe.py) are measured while it trains,
    into RUN/probes.parquet. `fields` replace fields of the recipe: `steps=1000`, `seed=1`. How it goes is logged, for
    `logging.basicConfig(level="INFO")`. Ctrl-C saves and returns the model as it is then; `sesame.resume` goes on.
    """
    recipe = with_fields(recipes.find(recipe) if isinstance(recipe, str) else recipe, **fields)
    recipe = msgspec.structs.replace(recipe, data=located(recipe.data, str(data)))
    if probes:
        watch = msgspec.structs.replace(recipe.watch, probes=tuple(named(text) for text in probes))
        recipe = msgspec.structs.replace(recipe, watch=watch)
    start.start(recipe, out, origin, [Lines()], extra=bus.hooks(recipe))
    return load(out)


def resume(run: str | Path, inexact: bool = False) -> Model:
    """Go on with a run exactly where it stopped, and return the model. See `engine.start.resume`."""
    start.resume(run, inexact, [Lines()], extra=bus.hooks(Run.open(run).recipe))
    return load(run)


def with_fields(recipe: Recipe, **fields: Any) -> Recipe:
    """`recipe` with other values, checked. Steps or tokens that are asked for outweigh the recipe's minutes."""
    for name in fields:
        if name not in Recipe.__struct_fields__:
            raise UserError(f"a recipe has no field {name!r}.{nearest(name, Recipe.__struct_fields__)}")
    if {"steps", "max_tokens"} & set(fields) and "max_minutes" not in fields:
        fields["max_minutes"] = 0.0
    try:
        return msgspec.convert(msgspec.to_builtins(recipe) | msgspec.to_builtins(fields), Recipe)
    except msgspec.ValidationError as e:
        raise UserError(f"the recipe {recipe.name} with other fields: {e}.") from None
