"""What happens beside training: log, evaluate, save. Each decides for itself whether now."""

import logging
import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from torch.utils.flop_counter import FlopCounterMode

from sesame import interop
from sesame.engine import build as building
from sesame.engine import checkpoint, distributed, machine
from sesame.engine.loader import ready
from sesame.engine.loop import Hook, Training
from sesame.engine.optim import rate_at
from sesame.engine.window import Window

log = logging.getLogger(__name__)

Show = Callable[[str, Training, dict[str, Any]], None]
"""Told of every event ("log", "evaluate", "save"), on the first process: a progress bar, TensorBoard."""


def standard(*shows: Show) -> list[Hook]:
    """Log, evaluate and save, in this order: a checkpoint then comes after every event of its step."""
    return [Log(shows), Evaluate(shows), Save(shows)]


def _tell(training: Training, shows: tuple[Show, ...], event: str, **values: Any) -> None:
    if training.team.rank == 0:
        training.run.log(event, training.step, **values)
        for show in shows:
            show(event, training, values)


class Log:
    """Every `log_every` steps: loss, accuracy, rate, gradient norm, speed, share of the machine's limit, time left."""

    def __init__(self, shows: tuple[Show, ...] = ()):
        self.shows = shows
        self.limit = 0.0
        self.last: tuple[int, float] | None = None

    def __call__(self, training: Training) -> None:
        recipe = training.recipe
        if self.last is None:
            began = time.monotonic()
            self.limit = machine.matmul_limit(training.device, building.product_dtype_of(recipe)) * training.team.world
            now = time.monotonic()  # a sitting that goes on has taken a step when it first comes here
            self.last = (training.step - 1, training.began + now - began) if training.step else (0, now)
        if training.step == 0 or (training.step % recipe.log_every and training.step < recipe.steps):
            return
        training.check_finite()
        window, terms = training.window, training.window.read(training.team)
        now, (since, then) = time.monotonic(), self.last
        seconds = max(now - then, 1e-9)
        steps = training.step - since  # of this sitting: a resumed run's window may have begun in the one before
        speed = window.size / window.steps * steps / seconds
        values: dict[str, float | None] = {**losses(terms)}
        values |= {
            "lr": recipe.optimizer.lr * rate_at(recipe.optimizer, training.step - 1, recipe.steps),
            "gradient_norm": float(window.norm) if window.norm is not None else 0.0,
            "tokens": training.size,
            "tokens_per_second": round(speed, 1),
            "of_limit": round(speed * training.flops / self.limit, 4) if training.flops else None,
            "eta": round((recipe.steps - training.step) * seconds / max(steps, 1), 1),
        }
        training.window = Window()
        self.last = (training.step, now)
        _tell(training, self.shows, "log", **values)


class Evaluate:
    """Held-out loss, accuracy and perplexity: the same examples and the same masks each time, no dropout."""

    def __init__(self, shows: tuple[Show, ...] = ()):
        self.shows = shows

    def __call__(self, training: Training) -> None:
        if training.step % training.recipe.eval_every and training.step < training.recipe.steps:
            return
        began = time.monotonic()
        values = evaluate(training)
        if values:
            _tell(training, self.shows, "evaluate", **values, seconds=round(time.monotonic() - began, 3))


def evaluate(training: Training) -> dict[str, float]:
    """The losses on held-out examples; empty where the data holds none out."""
    window, dtype, size = Window(), building.dtype_of(training.recipe), 0
    with training.as_model() as objective, training.autocast(), _counting(training) as counter:
        for batch in training.stream.held_out(training.recipe.eval_rows):
            window.add(objective(ready(batch, objective.pretext.split, dtype).to(training.device)))
            size += batch.size
    if counter and size:
        # The way back takes twice the way there. What is computed again to save memory is no work done.
        training.flops = 3 * counter.get_total_flops() / size
    # Every process has read all of it, so its own sums are the whole.
    return losses(window.read(distributed.Team())) if window.terms else {}


@contextmanager
def _counting(training: Training) -> Iterator[FlopCounterMode | None]:
    """Counts floating-point operations the first time; training itself is not counted, which would cost memory."""
    if training.flops:
        yield None
    else:
        with FlopCounterMode(display=False) as counter:
            yield counter


def losses(terms: dict[str, list[float]]) -> dict[str, float]:
    """The weighted loss, and per term its mean, accuracy and perplexity where they mean something.

    A term without weight is no loss: its mean is told under its name.
    """
    values: dict[str, float] = {"loss": sum(weight * s / max(n, 1) for s, n, _, _, weight in terms.values())}
    for name, (total, count, hits, counted, weight) in terms.items():
        mean = total / max(count, 1)
        values[f"{name}.loss" if weight else name] = mean
        if counted:
            values[f"{name}.accuracy"] = hits / max(count, 1)
            values[f"{name}.perplexity"] = math.exp(min(mean, 700.0))
    return values


class Save:
    """A checkpoint before step 0, every `save_every` steps, every `save_minutes`, and whenever training ends; with
    `save_early` also at the powers of two before the first of these.
    """

    def __init__(self, shows: tuple[Show, ...] = ()):
        self.shows = shows
        self.last = 0.0

    def __call__(self, training: Training) -> None:
        recipe = training.recipe
        minutes = (training.clock - self.last) / 60
        early = recipe.save_early and training.step < recipe.save_every and training.step.bit_count() == 1
        due = early or training.step % recipe.save_every == 0 or (0 < recipe.save_minutes <= minutes)
        if due or training.ending:
            self.last = training.clock
            save(training)


def save(training: Training) -> None:
    """Write a checkpoint now. All processes together; the first one writes."""
    training.check_finite()
    manifest, model, optimizer = training.state()
    if training.team.rank == 0:
        run, vocabulary = training.run, building.vocabulary_of(training.data)

        def export(folder: Path) -> None:
            interop.save_model(training.objective, vocabulary, folder / "model", model)

        folder = checkpoint.save(run.checkpoints, manifest, model, optimizer, export)
        checkpoint.retain(run.checkpoints, training.recipe.keep, folder)
        run.set_state("running", training.step)
        log.debug("saved %s", folder)
    training.team.wait()
