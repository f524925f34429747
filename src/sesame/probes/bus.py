"""The probe bus: a hook of the training loop that measures what the weights know, and changes nothing.

Probes see a copy of the weights, in evaluation mode. Whatever a probe does to it, training goes on with weights that
nobody touched; and where they are sharded over processes the copy is whole, and the first process measures alone.
"""

import logging
import math
import time
from collections.abc import Hashable, Sequence
from itertools import pairwise
from typing import Any

from sesame.config import Recipe
from sesame.engine import build as building
from sesame.engine import distributed
from sesame.engine.build import Model
from sesame.engine.loop import Hook, Training
from sesame.engine.plan import positions
from sesame.errors import UserError
from sesame.pretext.base import Objective
from sesame.probes import Ask, Opened, find_all, schedule
from sesame.probes.measuring import measure
from sesame.probes.schedule import Schedule, powers_of_two
from sesame.probes.table import Tables

log = logging.getLogger(__name__)

FEW = 6
"""Steps that a message names one by one."""
COLD = 1.25
"""What a measurement between steps of training is taken to cost, as a multiple of one right after another: caches and
freed memory have gone to training in the meantime. (Of 12 in a run of 108 s, planned without: 5.4% of the time.)"""


def hooks(recipe: Recipe) -> list[Hook]:
    """What the engine is to call beside its own hooks: nothing where the recipe asks for no probes.

    Raises UserError for a probe that is not there or reads other data, and for steps that cannot be met.
    """
    watch = recipe.watch
    if not watch.probes:
        return []
    if watch.unit == "tokens" and 0 < watch.every < positions(recipe):
        raise UserError(
            f"--watch.every {watch.every} tokens: one step sees {positions(recipe):,.0f}. Give at least so many, or "
            "--watch.unit steps."
        )
    kind, pretext = (str(part.__struct_config__.tag) for part in (recipe.data, recipe.pretext))
    return [Bus(find_all(watch.probes, kind, pretext))]


class Bus:
    """Called before step 0 and after every step; measures when its schedule says so."""

    def __init__(self, probes: Sequence[Opened]):
        self.probes = list(probes)
        self.kept: dict[Hashable, Any] = {}
        self.schedule: Schedule | None = None
        self.copy: Objective | None = None

    def __call__(self, training: Training) -> None:
        measured = False
        if self.schedule is None:
            self.schedule, measured = self._begin(training)
        if self.probes and not measured and self._is_due(self.schedule, training):
            self._measure(training)

    def _is_due(self, plan: Schedule, training: Training) -> bool:
        now, gained = (training.step, 1) if plan.unit == "steps" else (training.size, training.gained)
        last = plan.last and training.step == training.recipe.steps
        return last or plan.due(now - gained if training.step else -1, now)

    def _begin(self, training: Training) -> tuple[Schedule, bool]:
        """The schedule of this run, and whether it was measured to make it: once, and read where the run goes on."""
        recipe, run = training.recipe, training.run
        watch = recipe.watch
        first = training.team.rank == 0
        if first:
            Tables(run.path).forget_after(training.step - 1)
        end = recipe.steps if watch.unit == "steps" else math.ceil(recipe.steps * positions(recipe))
        if beyond := [at for at in watch.at if at > end]:
            said = f"--watch.at {' '.join(map(str, beyond))}: the run ends at {watch.unit[:-1]} {end:,}"
            if len(beyond) == len(watch.at):
                raise UserError(f"{said}, so nothing would be measured. Name earlier ones.")
            log.warning("%s; the others are measured.", said)
        plan = schedule.read(run.path) or schedule.asked(watch, end)
        if not (known := plan is not None):
            seconds, preparing = self._measure(training)
            cost, left = seconds - preparing, watch.seconds - seconds
            if cost <= left:  # the first time also imports libraries and warms caches; the second is what it costs
                cost, _ = self._measure(training)
                left -= cost
                cost *= COLD
            plan = schedule.planned(recipe.steps, cost, max(left, 0.0), watch.seconds)
            if first:
                _say(plan, recipe.steps, watch.budget, seconds)
        if first:
            plan.write(run.path)
        return plan, not known

    def _measure(self, training: Training) -> tuple[float, float]:
        """Measure now. Seconds that it took, and those of them that were spent on what is kept; all processes agree."""
        began = time.perf_counter()
        recipe, team = training.recipe, training.team
        preparing, failed = 0.0, [0.0] * len(self.probes)
        said = "a probe failed on the first process."
        with training.as_model() as objective, training.autocast():
            weights = distributed.whole(objective.state_dict()) if team.world > 1 else objective.state_dict()
            if team.rank == 0:
                self.copy = self.copy or building.build(recipe, training.data).to(training.device)
                model = Model(self.copy, building.vocabulary_of(training.data), recipe, training.step)
                for number, probe in enumerate(self.probes):
                    distributed.fill(self.copy, weights)
                    ask = Ask(
                        source=probe.config.source,
                        data=training.data,
                        step=training.step,
                        cores=recipe.threads,
                        kept=self.kept,
                    )
                    answers = measure(probe, model, ask, training.size, training.seconds)
                    preparing += ask.preparing
                    if isinstance(answers, str):
                        said, failed[number] = answers, 1.0
                        if training.step:
                            log.warning("step %d: %s It is left out from here on.", training.step, said)
                    else:
                        Tables(training.run.path).write(answers)
        # Rank 0's clock is everybody's: all processes must plan the same steps.
        mine = [time.perf_counter() - began, preparing, *failed]
        seconds, preparing, *failed = team.total([number * (team.rank == 0) for number in mine])
        if any(failed) and not training.step:  # nothing is lost yet, and a mistake of the input is best said now
            raise UserError(said)
        self.probes = [probe for probe, fault in zip(self.probes, failed, strict=True) if not fault]
        return seconds, preparing


def _say(plan: Schedule, end: int, budget: float, begun: float) -> None:
    """What measuring costs, and when it happens; where the budget leaves out early steps, how to raise it. The first
    time and what it prepared have taken `begun` seconds.

    The powers of two above the spacing are not missing: every N is measured there, which is more.
    """
    at = plan.at
    spacing = max(b - a for a, b in pairwise(at)) if len(at) > 1 else end
    early = [step for step in powers_of_two(end) if step < min(spacing, end)]
    if set(early) <= set(at):
        log.info("probes: %.1f s each time, %d times: at steps %s", plan.cost, len(at), _steps(at))
        return
    wanted = [step for step in powers_of_two(end) if step < end]
    raised = min(budget * (begun + plan.cost * (len(wanted) + 2)) / plan.seconds, 1.0) if plan.seconds else 1.0
    raised = max(math.ceil(100 * raised), math.floor(100 * budget) + 1) / 100
    more = f"--watch.budget {raised:g}" if raised < 1 else "--watch.every N"
    log.warning(
        "probes: %.1f s at first, then %.1f s each time; all together may take %.1f s (--watch.budget %g): measured at "
        "steps %s only. "
        "For more, start the run with %s, or name the steps with --watch.at.",
        begun, plan.cost, plan.seconds, budget, _steps(at), more,
    )  # fmt: skip


def _steps(at: Sequence[int]) -> str:
    """A handful of steps, and how it goes on: `0, 1, 2 … 16, 32, then every 42 up to 9766`."""
    if len(at) <= FEW:
        return ", ".join(map(str, at))
    every = at[-2] - at[-3]
    first = next(i for i in range(len(at)) if all(b - a == every for a, b in pairwise(at[i:-1])))
    if len(at) - first < FEW:  # no stretch of equal spaces to speak of
        return f"{', '.join(map(str, at[: FEW - 2]))} … {at[-1]}"
    begin = at[: first + 1]
    said = ", ".join(map(str, begin)) if len(begin) <= FEW else f"0, 1, 2 … {begin[-2]}, {begin[-1]}"
    return f"{said}, then every {every} up to {at[-1]}" if every > 1 else f"0, 1, 2 … {at[-1]}"
