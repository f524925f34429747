"""A comparison from start to end: the plan, every arm with every seed, the measurements, the outcome.

The folder holds `comparison.json` (what was decided at the start: the arms' recipes with their steps), a run folder for
every arm and seed, `data` where text was prepared for it, and at the end `result.json`, `comparison.html` and
the figure.
"""

import logging
import math
import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from sesame.config import Recipe
from sesame.data import open_data
from sesame.engine.build import Model, build, freeze, identity_of, vocabulary_of
from sesame.engine.plan import positions
from sesame.engine.run import differences
from sesame.errors import UserError
from sesame.processes import cores
from sesame.report import wording
from sesame.studies.grid import FineTuned, Grid, HeldOut, recipe_of, stem, title
from sesame.studies.measuring import Measured, check, common
from sesame.studies.outcome import Line, Outcome, amount, column
from sesame.studies.training import Done, Job, moved, placed, steps_in, work
from sesame.tasks.folder import SMALL
from sesame.tasks.workers import Workers

log = logging.getLogger(__name__)

PLAN = "comparison.json"


class Plan(Struct, frozen=True, kw_only=True):
    """What `comparison.json` holds: what a comparison that goes on must not decide anew."""

    grid: str
    equal: str
    amount: float
    data: str
    """Hash of what the arms learn from; empty where an earlier version compared images or speech."""
    threads: int
    """Of each run."""
    recipes: dict[str, Recipe]
    """By arm, with the steps that were decided; the seed is that of the first run."""


def compare(
    grid: Grid,
    source: str,
    out: Path,
    *,
    given: Mapping[str, Any] | None = None,
    known: Sequence[str] = (),
    workers: int = 0,
) -> Outcome:
    """Train every arm of `grid` with every seed on `source`, measure all alike, and say what shows.

    `source` is a prepared folder, or of images and speech their source; `given` changes of all arms' recipes;
    `workers` runs are trained side by side, each in a process with its share of the threads, 0 leaves their number to
    the size of the models. What is in `out` of the same comparison is gone on with: nothing is trained twice. Raises
    UserError for anything that can be found wrong before the first training, and where `out` holds another comparison.
    """
    recipes = {arm.name: placed(recipe_of(arm, grid, given, known), source) for arm in grid.arms}
    reference = grid.reference or grid.arms[0].name
    threads = max(recipe.threads for recipe in recipes.values())
    recipes, largest, notes = _ready(grid, recipes, reference)
    on_cpu = all(recipe.device == "cpu" for recipe in recipes.values())
    count = min(workers or (cores() if largest < SMALL and on_cpu else 1), len(recipes) * grid.seeds)
    plan = _planned(grid, recipes, out, count, threads or max(1, cores() // count))
    asked_data = common([recipe.data for recipe in plan.recipes.values()], plan.recipes[reference].data)
    jobs = [
        Job(arm, seed, msgspec.structs.replace(plan.recipes[arm], seed=seed), out / f"{stem(arm)}-seed-{seed}",
            grid.measurements, asked_data, os.getpid())
        for seed in range(grid.seeds) for arm in recipes
    ]  # fmt: skip
    log.info(
        "%d arms with %d seeds: %d runs%s", len(recipes), grid.seeds, len(jobs),
        f", {count} side by side, {plan.threads} thread{'s' * (plan.threads != 1)} each" if count > 1 else "",
    )  # fmt: skip
    done: dict[tuple[str, int], Done] = {}
    began = time.monotonic()
    with Workers(count, plan.threads * count, "comparing") as crew:
        for number, (job, came) in enumerate(zip(jobs, crew.map(work, jobs), strict=True), 1):
            done[job.arm, job.seed] = came
            left = (time.monotonic() - began) / number * (len(jobs) - number)
            log.info("%d of %d: %s%s", number, len(jobs), _told(job, came),
                     f" (about {left / 60:.0f} minutes left)" if left > 60 else "")  # fmt: skip
    return _outcome(grid, plan, reference, done, [*_notes(grid, plan, done, count), *notes])


# ------------------------------------------------------------------------------------------------- before training
def _ready(grid: Grid, recipes: dict[str, Recipe], reference: str) -> tuple[dict[str, Recipe], int, list[str]]:
    """The recipes with all that the data and the machine decide, except steps and threads; everything is checked.

    Also the parameters of the largest model, and what was cut or left out of labelled tasks, as the reference reads
    them.
    """
    kinds = {type(recipe.data).__name__ for recipe in recipes.values()}
    if len(kinds) > 1:
        raise UserError(f"{grid.name}: its arms read different kinds of data ({', '.join(sorted(kinds))}).")
    frozen, largest, notes = {}, 0, list[str]()
    for arm, recipe in recipes.items():
        frozen[arm] = freeze(recipe, open_data(recipe.data))
    data = common([recipe.data for recipe in frozen.values()], frozen[reference].data)
    for arm, recipe in frozen.items():
        opened = open_data(recipe.data)
        model = Model(build(recipe, opened).eval(), vocabulary_of(opened), recipe, 0)
        largest = max(largest, sum(p.numel() for p in model.objective.parameters()))
        for asked in grid.measurements:
            found = check(asked, model, data, arm)
            if arm == reference:
                notes += [f"{title(asked)}: {what}: {number:,}" for what, number in found.items()]
    return frozen, largest, notes


def _planned(grid: Grid, recipes: dict[str, Recipe], out: Path, count: int, threads: int) -> Plan:
    """What was decided at the start: read where the comparison has begun, else decided now and written down."""
    path = out / PLAN
    here = next(iter(recipes.values())).data
    identity = identity_of(open_data(here))
    there = _read(path) if path.exists() else None
    if there is None and out.exists() and (others := sorted(p.name for p in out.iterdir() if p.name != "data")):
        raise UserError(
            f"{out} exists and holds something else ({others[0]}). Nothing was changed. Choose another --out."
        )
    if there is not None:
        for what, then, now in (
            ("grid", there.grid, grid.name), ("--data", there.data or identity, identity),
            ("equal", f"{there.amount:g} {there.equal}", f"{grid.amount:g} {grid.equal}"),
        ):  # fmt: skip
            if then != now:
                said = f"{then} there, {now} here" if what != "--data" else "it was made on other data"
                raise UserError(f"{out} holds another comparison ({what}: {said}). Nothing was changed. "
                                "Choose another --out.")  # fmt: skip
        for arm, recipe in recipes.items():
            if arm in there.recipes and (differing := _differing(there.recipes[arm], recipe)):
                raise UserError(f"{out}: the arm {arm} was begun with other settings ({differing}). Nothing was "
                                "changed. Choose another --out.")  # fmt: skip
    threads, known = (there.threads, there.recipes) if there else (threads, {})
    known = {arm: moved(recipe, here) for arm, recipe in known.items()}
    fresh = {
        arm: msgspec.structs.replace(recipe, threads=threads) for arm, recipe in recipes.items() if arm not in known
    }
    decided = {**known, **_with_steps(grid, fresh, out, count)}
    made_on = there.data if there else identity
    plan = Plan(grid=grid.name, equal=grid.equal, amount=grid.amount, data=made_on, threads=threads, recipes=decided)
    if fresh:
        out.mkdir(parents=True, exist_ok=True)
        beside = path.with_name(f".{path.name}.{os.getpid()}")
        beside.write_bytes(msgspec.json.format(msgspec.json.encode(plan), indent=2) + b"\n")
        os.replace(beside, path)
    return plan


def _read(path: Path) -> Plan:
    try:
        return msgspec.json.decode(path.read_bytes(), type=Plan)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise UserError(f"{path} is damaged, or written by another version of sesame ({error}).") from None


def _differing(there: Recipe, here: Recipe) -> str:
    """Settings in which an arm that was begun differs from what is asked for now; steps and threads were decided, and
    where the data lie is no matter: that they are the same is known by their hash."""
    decided = {"steps": there.steps, "threads": there.threads, "max_minutes": 0.0, "max_tokens": 0}
    return differences(there, msgspec.structs.replace(moved(here, there.data), **decided))


def _with_steps(grid: Grid, recipes: dict[str, Recipe], out: Path, count: int) -> dict[str, Recipe]:
    """The recipes with the number of steps that makes them equal, fixed before anything is trained."""
    if grid.equal == "seconds" and recipes:
        out.mkdir(parents=True, exist_ok=True)
        log.info("measuring the speed of %d arms", len(recipes))
        told = [(recipe, out, grid.amount) for recipe in recipes.values()]
        threads = next(iter(recipes.values())).threads
        with Workers(count, threads * count, "comparing") as crew:  # as many at once as will be trained at once
            steps = list(crew.map(steps_in, told))
    elif grid.equal == "tokens":
        steps = [math.ceil(grid.amount / positions(recipe)) for recipe in recipes.values()]
    else:
        steps = [int(grid.amount)] * len(recipes)
    return {
        arm: msgspec.structs.replace(recipe, steps=n, max_minutes=0.0, max_tokens=0)
        for (arm, recipe), n in zip(recipes.items(), steps, strict=True)
    }


# ------------------------------------------------------------------------------------------------- afterwards
def _told(job: Job, done: Done) -> str:
    said = [f"{n} {amount(m.value, None, m.share)}" for n, m in done.measured.items() if m.value is not None]
    return f"{job.label}: {', '.join(said) or 'nothing that could be measured'}"


def _outcome(
    grid: Grid, plan: Plan, reference: str, done: Mapping[tuple[str, int], Done], notes: Sequence[str]
) -> Outcome:
    seeds = tuple(range(grid.seeds))
    arms = {arm.name: arm for arm in grid.arms}
    columns = []
    for asked in grid.measurements:
        name = title(asked)
        found = _by_arm(grid, name, done)
        first = next((m for own in found.values() for m in own if m), None)
        if first is None:
            continue
        values = {arm: [m.value if m else None for m in own] for arm, own in found.items()}
        columns.append(column(name, first.metric, first.share, values, _how(found), reference))
    lines = {}
    for name, arm in arms.items():
        recipe = plan.recipes[name]
        times = [seconds for seed in seeds if (seconds := done[name, seed].seconds) is not None]
        lines[name] = Line(
            recipe=arm.recipe,
            changes=arm.changes,
            steps=recipe.steps,
            positions=round(recipe.steps * positions(recipe)),
            seconds=round(sum(times) / len(times), 1) if times else None,
        )
    return Outcome(
        grid=grid.name,
        about=grid.about,
        equal=grid.equal,
        amount=grid.amount,
        reference=reference,
        seeds=seeds,
        arms=lines,
        columns=tuple(columns),
        notes=tuple(notes),
    )


def _by_arm(grid: Grid, name: str, done: Mapping[tuple[str, int], Done]) -> dict[str, list[Measured | None]]:
    """What came of one measurement, by arm and seed."""
    return {arm.name: [done[arm.name, seed].measured.get(name) for seed in range(grid.seeds)] for arm in grid.arms}


def _how(found: Mapping[str, Sequence[Measured | None]]) -> dict[str, str]:
    """Of each arm how it was asked, where that is worth saying."""
    return {arm: next((m.how for m in own if m and m.how), "") for arm, own in found.items()}


def _notes(grid: Grid, plan: Plan, done: Mapping[tuple[str, int], Done], count: int) -> list[str]:
    """What must be borne in mind with the table."""
    notes = [reason for one in done.values() for reason in one.broken]
    for name in map(title, grid.measurements):
        by: dict[str, list[str]] = {}
        for arm, how in _how(_by_arm(grid, name, done)).items():
            if how:
                by.setdefault(how, []).append(arm)
        notes += [f"{name}: {wording.several(own)} had {how}." for how, own in by.items()]
    if fitted := [title(m) for m in grid.measurements if isinstance(m, HeldOut) and m.head == "fitted"]:
        notes.append(
            f"{wording.several(fitted)}: a logistic regression on the frozen [CLS] states of each arm, fitted on pairs "
            "of training text. Words alone tell something: it is the difference from the reference that counts."
        )
    if count > 1 and grid.equal == "seconds":
        notes.append(f"Speed was measured, and runs were trained, {count} side by side with {plan.threads} thread"
                     f"{'s' * (plan.threads != 1)} each: a run alone would have got further.")  # fmt: skip
    asked = (len(grid.arms) - 1) * len(grid.measurements)
    if asked >= 20 and grid.seeds > 1:
        notes.append(f"{asked} differences are shown with 95% intervals: about {asked // 20} would seem resolved if no "
                     "arm differed.")  # fmt: skip
    frozen = [title(m) for m in grid.measurements if isinstance(m, FineTuned) and m.settings.freeze]
    if frozen:
        notes.append(f"{', '.join(frozen)}: the backbone is frozen and the head alone is trained.")
    return notes
