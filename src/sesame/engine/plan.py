"""How many steps: from the recipe, from a number of tokens, or from minutes and the speed that is measured.

Also how many seconds of the run may be spent on probes, where it has some.
"""

import logging
import math
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from sesame.config import Recipe, Watch
from sesame.engine import machine
from sesame.engine.artifact import artifact_of
from sesame.engine.hooks import evaluate, save
from sesame.engine.loop import Training, batches, set_up, take_step
from sesame.engine.run import Config, Run

log = logging.getLogger(__name__)

_EVALUATIONS, _SAVES = 20, 10
"""In a run whose recipe does not say how often."""
_EVALUATING = 0.1
"""Share of a run of given minutes that evaluations may take."""
_BUSY = 0.25
"""Share of their time that threads stand in line for a core, from which on the machine is busy with other work."""
_AGAIN = 3
"""Measurements at most, where it is."""
_NOMINAL = 1_000_000
"""Steps that a measured run pretends to have, so that every phase of its schedule can be visited."""


class Speed(NamedTuple):
    """What was measured on the real thing, in seconds."""

    a_step: float
    an_evaluation: float
    a_save: float
    measuring: float
    """What measuring it took."""
    in_line: float = 0.0
    """Share of the time that threads stood in line for a core, meanwhile: other work was on the machine."""


def plan(recipe: Recipe, data: Any, out: Path) -> Recipe:
    """The recipe with `steps`, `eval_every`, `save_every` and `watch.seconds` decided for good.

    `max_minutes` comes before `max_tokens`, and that before `steps`.
    """
    evaluations = _EVALUATIONS
    if recipe.max_minutes:
        steps, evaluations, watched = _steps_in(recipe, data, out)
        recipe = msgspec.structs.replace(recipe, steps=steps, watch=watched)
    elif recipe.max_tokens:
        recipe = msgspec.structs.replace(recipe, steps=math.ceil(recipe.max_tokens / positions(recipe)))
    watch = recipe.watch
    if not recipe.max_minutes and watch.probes and watch.budget and not (watch.seconds or watch.every or watch.at):
        seconds = recipe.steps * _speed(recipe, data, out, least=1.0).a_step
        recipe = msgspec.structs.replace(recipe, watch=_within(watch, seconds))
    return msgspec.structs.replace(
        recipe,
        eval_every=recipe.eval_every or max(1, math.ceil(recipe.steps / evaluations)),
        save_every=recipe.save_every or max(1, math.ceil(recipe.steps / _SAVES)),
    )


def _within(watch: Watch, seconds: float) -> Watch:
    """With the seconds that probes may take of so many; what is set stays."""
    return msgspec.structs.replace(watch, seconds=watch.seconds or round(watch.budget * seconds, 3))


def positions(recipe: Recipe) -> float:
    """Positions (images) in an optimiser step; the mean one, under a schedule of lengths."""
    return sum(phase.share * phase.rows * phase.length for phase in recipe.data.schedule)


def _steps_in(recipe: Recipe, data: Any, out: Path) -> tuple[int, int, Watch]:
    """How many steps fit into `max_minutes`, evaluations, checkpoints, probes and this measurement included; how many
    evaluations there are, where the recipe leaves it open: at most a tenth of a short run is spent on them; and when
    to probe, with the seconds it may take.
    """
    least = min(3.0, 6 * recipe.max_minutes / len(recipe.data.schedule))  # a tenth of the time
    speed = _calm_speed(recipe, data, out, least)
    left = 60 * recipe.max_minutes - speed.measuring
    watch = recipe.watch
    if watch.probes:
        watch = _within(watch, max(left, 0.0))
        left -= watch.seconds
    evaluations = min(_EVALUATIONS, max(1, int(_EVALUATING * left / max(speed.an_evaluation, 1e-9))))
    a_step, an_evaluation, a_save = speed[:3]
    steps = _fit(recipe, left, a_step, an_evaluation, a_save, evaluations)
    log.info(
        "%.0f ms a step, %.1f s an evaluation, %.1f s a checkpoint: %d steps fit into %g minutes",
        1000 * a_step, an_evaluation, a_save, steps, recipe.max_minutes,
    )  # fmt: skip
    return steps, evaluations, watch


def _calm_speed(recipe: Recipe, data: Any, out: Path, least: float) -> Speed:
    """The speed, measured again while other work is on the machine, but for no more than a third of the run."""
    found = _speed(recipe, data, out, least)
    spent, times = found.measuring, 1
    while found.in_line > _BUSY and times < _AGAIN and spent + found.measuring < 20 * recipe.max_minutes:
        again = _speed(recipe, data, out, least)
        spent, times = spent + again.measuring, times + 1
        found = min(found, again, key=lambda speed: speed.a_step)
    if found.in_line > _BUSY:
        log.warning(
            "Other work keeps this machine busy: threads waited %.0f%% of the time for a core while the speed of a"
            " step was measured. The steps planned by it may be far too few; start again when it is calm, or say how"
            " many with --steps.",
            100 * found.in_line,
        )
    return found._replace(measuring=spent)


def _speed(recipe: Recipe, data: Any, out: Path, least: float) -> Speed:
    """How fast the recipe's own model trains on its own data, the same on all processes.

    It is measured in a scratch run beside the real one, thrown away afterwards, for at least `least` seconds in every
    phase of the schedule.
    """
    began = time.monotonic()
    scratch = out.parent / f".{out.name}.measured"
    trial = msgspec.structs.replace(recipe, steps=_NOMINAL, eval_every=_NOMINAL, save_every=_NOMINAL, max_minutes=0.0)
    training = set_up(trial, Run(scratch, Config(recipe=trial, machine={})), data)
    line = machine.Line()
    try:
        if (pretext := training.objective.pretext).recalls:  # its targets are made of it; the run finds it there
            pretext.recall(artifact_of(out / "artifacts", pretext, recipe, data))
        a_step, start = 0.0, 0.0
        for phase in recipe.data.schedule:
            a_step += phase.share * _seconds_a_step(training, start, least)
            start += phase.share
        an_evaluation = _seconds_of(lambda: evaluate(training), training, least)
        if training.team.rank == 0:
            scratch.mkdir(parents=True, exist_ok=True)
        a_save = _seconds_of(lambda: save(training), training, least)
    finally:
        if training.team.rank == 0:
            shutil.rmtree(scratch, ignore_errors=True)
    # Rank 0's clock is everybody's: all processes must plan the same steps.
    mine = [a_step, an_evaluation, a_save, time.monotonic() - began, line.share()]
    return Speed(*training.team.total([x * (training.team.rank == 0) for x in mine]))


def _seconds_of(work: Callable[[], object], training: Training, enough: float) -> float:
    """How long it takes; the second time, where the first was short: that one fills caches."""

    def timed() -> float:
        began = time.monotonic()
        work()
        machine.wait_for(training.device)
        return time.monotonic() - began

    first = timed()
    short = training.team.total([float(first < enough and training.team.rank == 0)])[0]
    return min(first, timed()) if short else first


def _fit(
    recipe: Recipe, left: float, a_step: float, an_evaluation: float, a_save: float, evaluations: int = _EVALUATIONS
) -> int:
    """Steps in `left` seconds, when evaluations and checkpoints take theirs."""
    left -= an_evaluation + a_save  # before step 0
    for every, cost, default in ((recipe.eval_every, an_evaluation, evaluations), (recipe.save_every, a_save, _SAVES)):
        if every:
            a_step += cost / every
        else:
            left -= default * cost
    if recipe.save_minutes:
        left -= a_save * left / (60 * recipe.save_minutes)
    return max(1, int(left / a_step))


def _seconds_a_step(training: Training, start: float, least: float) -> float:
    """Mean time of a step from the share `start` of the run on, over at least `least` seconds and five steps."""
    training.step = round(start * _NOMINAL)
    steps, began = 0, 0.0
    for batch in batches(training, _NOMINAL):
        if steps == 2:  # the first ones fill caches and the loader's queue
            machine.wait_for(training.device)
            began = time.monotonic()
        take_step(training, batch, training.agree(batch)[0])
        steps += 1
        if steps > 2:
            machine.wait_for(training.device)
            enough = steps >= 7 and time.monotonic() - began >= least
            if training.team.total([float(enough and training.team.rank == 0)])[0]:
                break
    return (time.monotonic() - began) / (steps - 2)
