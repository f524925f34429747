"""A grid: arms that differ in what is compared, what is equal between them, and what each of them is asked.

An arm is a ready-made recipe with some of its fields changed, under the names that `sesame pretrain` has for them. A
grid is a plain value; a user's own stands in a JSON or TOML file.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct

from sesame import config, recipes
from sesame.config import FineTune, Recipe
from sesame.errors import UserError, nearest

Equal = Literal["tokens", "steps", "seconds"]
Name = Annotated[str, Meta(min_length=1)]
DECIDED = {
    "steps": "--steps",
    "max_tokens": "--tokens",
    "max_minutes": "--seconds",
    "seed": "--seeds",
    "data.store": "--data",
    "data.source": "--data",
}
"""Fields that no arm can change, for they are the same for all, and the option that sets them."""


class Arm(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One of what is compared."""

    name: Name
    recipe: str
    changes: dict[str, Any] = {}
    """Fields of the recipe under their dotted names, and their values: {"pretext.rate": 0.3}."""


class HeldOut(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="kind", tag="held-out"):
    """What an arm says of held-out examples that one and the same pretext task makes, whatever it trained with."""

    name: Name
    pretext: config.Pretext
    """How the examples are made, and what is asked of them; its weights play no part."""
    term: str
    """The term of its loss that is looked at: masked_lm, next_sentence, sentence_order …"""
    metric: Literal["accuracy", "loss", "perplexity"] = "accuracy"
    head: Literal["own", "fitted"] = "own"
    """Of a question about sentence pairs: own is the head that the arm was trained with, for this question or for the
    other one (class 0 is the true pair in both); without either it gives no answer. fitted is a logistic regression
    on its frozen [CLS] states, for every arm alike."""
    rows: config.Positive = 2048
    """Held-out rows that are read at most."""
    fit_rows: config.Positive = 4096
    """Rows of training text that a head is fitted on at most."""


class FineTuned(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="kind", tag="finetune"):
    """The score on test of the arm fine-tuned on a labelled task (of an encoder-decoder, its encoder)."""

    name: str = ""
    """Empty for the task's own."""
    task: Name
    """As `sesame finetune` takes it: pydocs/NAME, a folder, a task file, hf:NAME."""
    examples: config.Count = 0
    """Training examples at most, by a keyed choice; 0 for all."""
    settings: FineTune = FineTune()

    @property
    def title(self) -> str:
        return self.name or self.task


Measurement = HeldOut | FineTuned


class Grid(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is compared, and how."""

    name: Name
    about: str = ""
    """What it is about, in a sentence."""
    changes: dict[str, Any] = {}
    """Of all arms; what an arm changes itself outweighs it."""
    arms: Annotated[tuple[Arm, ...], Meta(min_length=1)]
    reference: str = ""
    """The arm that the others are compared with; empty for the first."""
    equal: Equal = "tokens"
    """What every arm has the same amount of; tokens are positions of the batches, seconds are of training."""
    amount: config.Above0
    seeds: config.Positive = 3
    """How often each arm is trained, with the seeds 0, 1, 2 …; with the same seed arms read the text in one order."""
    measurements: Annotated[tuple[Measurement, ...], Meta(min_length=1)]


def title(measurement: Measurement) -> str:
    """What a table calls it."""
    return measurement.title if isinstance(measurement, FineTuned) else measurement.name


# --------------------------------------------------------------------------------------------------- reading
def read(path: Path) -> Grid:
    """The grid of a JSON or TOML file. Raises UserError with the place of what is wrong."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise UserError(f"{path}: {error.strerror or error}.") from None
    decode = msgspec.toml.decode if path.suffix == ".toml" else msgspec.json.decode
    try:
        return checked(decode(content, type=Grid), str(path))
    except msgspec.ValidationError as error:
        what, _, place = str(error).partition(" - at `$")
        where = f" (at {place.strip('`.')})" if place.strip("`.") else ""
        raise UserError(f"{path}{where}: {what[0].lower() + what[1:]}.") from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise UserError(f"{path} is no {'TOML' if path.suffix == '.toml' else 'JSON'}: {error}.") from None


def checked(grid: Grid, where: str) -> Grid:
    """The grid, if its names can be told apart and its reference is one of its arms."""
    for what, names in (
        ("arms", [arm.name for arm in grid.arms]),
        ("measurements", [title(m) for m in grid.measurements]),
    ):
        stems = [stem(name) for name in names]
        if twice := next((n for n, s in zip(names, stems, strict=True) if stems.count(s) > 1), None):
            raise UserError(f"{where}: two {what} are called {twice!r}, or nearly so. Rename one.")
    if grid.reference and grid.reference not in (names := [arm.name for arm in grid.arms]):
        raise UserError(
            f"{where}: the reference {grid.reference!r} is none of its arms.{nearest(grid.reference, names)}"
        )
    if grid.equal != "seconds" and grid.amount != int(grid.amount):
        raise UserError(f"{where}: {grid.amount:g} {grid.equal} were asked for. Give a whole number.")
    return grid


def stem(name: str) -> str:
    """A name as a part of a file's name: 80/10/10 -> 80-10-10."""
    return re.sub(r"[^\w.+%]+", "-", name).strip("-.") or "arm"


# ------------------------------------------------------------------------------------------ what is chosen of it
def chosen(grid: Grid, arms: Sequence[str] = (), measurements: Sequence[str] = ()) -> Grid:
    """The grid with only these arms and measurements; empty for all.

    Where the reference is not among them, the first one takes its place.
    """
    names, titles = [arm.name for arm in grid.arms], [title(m) for m in grid.measurements]
    for what, given, known in (("arm", arms, names), ("measurement", measurements, titles)):
        for name in given:
            if name not in known:
                raise UserError(f"{grid.name} has no {what} {name!r}.{nearest(name, known)}")
    kept = tuple(arm for arm in grid.arms if not arms or arm.name in arms)
    reference = grid.reference or names[0]
    return msgspec.structs.replace(
        grid,
        arms=kept,
        reference=reference if reference in [arm.name for arm in kept] else kept[0].name,
        measurements=tuple(m for m in grid.measurements if not measurements or title(m) in measurements),
    )


# --------------------------------------------------------------------------------------------------- recipes
def recipe_of(arm: Arm, grid: Grid, given: Mapping[str, Any] | None = None, known: Sequence[str] = ()) -> Recipe:
    """The recipe of an arm of `grid`: with what the grid changes for all, then what is `given` for all, then its own.

    Raises UserError, which names the option, for a field that there is not, for a value that it cannot have, and for
    one of `given` that the arm sets itself. `known` are further options that may have been meant.
    """
    try:
        recipe = recipes.find(arm.recipe)
    except UserError as error:
        raise UserError(f"arm {arm.name}: {error}") from None
    of_all, now, own = map(_plain, (grid.changes, given or {}, arm.changes))
    for name in now:
        if name in own:
            raise UserError(f"--{name.replace('_', '-')}: the arm {arm.name} sets it itself. Leave the option out.")
    for name, value in {**of_all, **now, **own}.items():
        recipe = _changed(recipe, name, value, arm.name, known)
    return recipe


def _plain(changes: Mapping[str, Any]) -> dict[str, Any]:
    return {name.replace("-", "_"): value for name, value in changes.items()}


def _changed(recipe: Recipe, name: str, value: Any, arm: str, known: Sequence[str]) -> Recipe:
    option = "--" + name.replace("_", "-")
    if name in DECIDED:
        raise UserError(f"arm {arm}: {option} is the same for all arms. Set it with {DECIDED[name]}.")
    told = msgspec.to_builtins(recipe)
    *path, last = name.split(".")
    place: Any = told
    for part in path:
        place = place.get(part) if isinstance(place, dict) else None
    if not isinstance(place, dict) or last not in place:
        names = ["--" + field.replace("_", "-") for field in _fields(told)]
        raise UserError(f"arm {arm}: {recipe.name} has no option {option}.{nearest(option, [*known, *names])}")
    place[last] = msgspec.to_builtins(value)
    try:
        return msgspec.convert(told, Recipe, strict=False)  # a value of the command line comes as text
    except msgspec.ValidationError as error:
        what = str(error).partition(" - at `$")[0]
        raise UserError(f"arm {arm}: {option} {value}: {what[0].lower() + what[1:]}.") from None


def _fields(told: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    for name, value in told.items():
        if isinstance(value, dict):
            yield from _fields(value, f"{prefix}{name}.")
        elif name not in ("type", "name"):
            yield prefix + name


def options(words: Sequence[str]) -> dict[str, Any]:
    """`--field value` as changes; a field alone is switched on, `--no-field` off, and several values are a list."""
    found: dict[str, Any] = {}
    at = 0
    while at < len(words):
        word, at = words[at], at + 1
        if not word.startswith("--"):
            raise UserError(f"{word!r} belongs to no option. Sources are given with --data, the folder with --out.")
        name, given, value = word[2:].partition("=")
        values = [value] if given else []
        while not given and at < len(words) and not words[at].startswith("--"):
            values.append(words[at])
            at += 1
        head, _, last = name.rpartition(".")
        if not values and last.startswith("no-"):
            found[f"{head}.{last[3:]}" if head else last[3:]] = False
        else:
            found[name] = (values if len(values) > 1 else values[0]) if values else True
    return found
