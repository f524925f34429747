"""The training loop: the whole life of a run, from top to bottom."""

import logging
import math
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from sesame.config import Recipe
from sesame.data.batch import Cursor, Stream
from sesame.data.chance import seed_for
from sesame.engine import build as building
from sesame.engine import checkpoint, distributed, machine, products
from sesame.engine.artifact import artifact_of
from sesame.engine.checkpoint import Checkpoint, Manifest
from sesame.engine.distributed import Team
from sesame.engine.loader import Ready, ahead
from sesame.engine.optim import Average, Optimizer, rate_at
from sesame.engine.run import PICTURE, Run
from sesame.engine.signals import StopSignal
from sesame.engine.window import Window
from sesame.errors import UserError
from sesame.models.collective import join_batch_norm
from sesame.pretext.base import Objective

log = logging.getLogger(__name__)


class NotFinite(UserError):
    """The loss or the gradient was NaN or infinite: another learning rate is needed, not another try."""


Hook = Callable[["Training"], None]
"""Called before step 0 and after every step, on every process; decides for itself whether now. It may read anything
and change nothing: dropout is keyed, so not even the generators need to be left alone."""


@dataclass
class Training:
    """Everything there is while a run is trained. `step`, `cursor` and the tensors are all there is to resume."""

    recipe: Recipe
    run: Run
    data: Any
    objective: Objective
    optimizer: Optimizer
    average: Average | None
    stream: Stream
    team: Team
    device: torch.device
    step: int = 0
    """Optimiser steps done."""
    cursor: Cursor = field(default_factory=Cursor)
    size: int = 0
    """Useful positions (images) seen."""
    gained: int = 0
    """Those of the last step."""
    window: Window = field(default_factory=Window)
    began: float = 0.0
    """When this sitting's first step did, by `time.monotonic`."""
    clock: float = 0.0
    """Seconds since this sitting began, the same on all processes, so that hooks agree on what is due."""
    earlier: float = 0.0
    """Seconds of the sittings before, up to the checkpoint that this one goes on from; NaN where it does not say."""
    ending: bool = False
    """This is the last step of this sitting: the run is finished, or was asked to stop."""
    flops: float = 0.0
    """Floating-point operations of one useful position, forward and backward; 0 until counted."""
    recent: deque[tuple[int, tuple[int, ...]]] = field(default_factory=deque)
    """(step, example keys) since the numbers were last known to be finite."""

    @property
    def seconds(self) -> float:
        """Of training, over all sittings."""
        return self.earlier + self.clock

    @contextmanager
    def as_model(self) -> Iterator[Objective]:
        """The objective as it will be used: averaged weights where the recipe asks for them, no dropout, no graph."""
        with ExitStack() as stack:
            stack.enter_context(torch.no_grad())
            if self.average:
                stack.enter_context(self.average.applied())
            self.objective.eval()
            stack.callback(self.objective.train)
            stack.callback(distributed.reshard, self.objective)
            yield self.objective

    def autocast(self) -> torch.autocast:
        """bf16 products where the recipe's precision asks for them."""
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.recipe.precision == "bf16")

    def agree(self, batch: Ready, *numbers: float) -> tuple[dict[str, float], list[float]]:
        """How many things each term of the loss is summed over in the whole step, and `numbers`, over all processes."""
        names = sorted(batch.parts[0].count)
        mine = [sum(part.count[name] for part in batch.parts) for name in names]
        total = self.team.total([*mine, *numbers])
        return dict(zip(names, total, strict=False)), total[len(names) :]

    def check_finite(self) -> None:
        """Raise NotFinite with the step and its examples where a loss or a gradient norm was NaN or infinite.

        Waits for the device, so it is called where somebody reads numbers anyway: at log steps and before saving.
        """
        bad = self.window.first_bad()
        # A NaN loss on one process is a NaN norm on all, but an overflowing one need not be: let all hear of it.
        if self.team.total([float(bad is not None)])[0]:
            keys = dict(self.recent).get(bad if bad is not None else -1, ())
            shown = ", ".join(f"{key:016x}" for key in keys[:8])
            more = f" and {len(keys) - 8} more" if len(keys) > 8 else ""
            raise NotFinite(
                f"{self.run.path}: the loss or the gradient of step {bad} is not finite. Its examples: "
                f"{shown or 'on another process'}{more}. Earlier checkpoints are whole. Try a lower --optimizer.lr, a "
                "longer --optimizer.warmup, or --precision fp32."
            )
        self.recent.clear()

    def state(self) -> tuple[Manifest, dict[str, Tensor], dict[str, Tensor]]:
        """What a checkpoint holds: (manifest, the model, what only training needs). All processes together."""
        only_training = self.optimizer.state()
        if self.average:
            only_training |= {f"live.{name}": parameter for name, parameter in self.objective.named_parameters()}
        only_training = distributed.whole(only_training)
        with self.as_model() as objective:
            model = distributed.whole(objective.state_dict())
            if self.average:  # the averages leave the module again when this block ends
                model = {name: value.clone() for name, value in model.items()}
        manifest = Manifest(
            step=self.step,
            cursor=self.cursor,
            config=self.run.config_hash,
            world=self.team.world,
            size=self.size,
            seconds=self.seconds,  # NaN is written as null
            window=self.window.read(self.team),
            window_size=self.window.size,
            window_steps=self.window.steps,
        )
        return manifest, model, only_training

    def restore(self, found: Checkpoint) -> None:
        """Go back to where `found` was saved."""
        live = {k.removeprefix("live."): v for k, v in found.optimizer.items() if k.startswith("live.")}
        distributed.fill(self.objective, found.objective)
        if self.average:
            self.average = Average(self.objective, self.recipe.ema)
            distributed.fill(self.objective, found.objective | live)
        self.optimizer.load({k: v for k, v in found.optimizer.items() if not k.startswith("live.")})
        saved = found.manifest
        self.step, self.cursor, self.size = saved.step, saved.cursor, saved.size
        self.earlier = math.nan if saved.seconds is None else saved.seconds
        self.window = Window.of(saved.window, saved.window_size, saved.window_steps, self.device, self.team)


def pretrain(run: Run, data: Any, hooks: Sequence[Hook], weights: dict[str, Tensor] | None = None) -> StopSignal:
    """Train the run's recipe until its last step, from wherever the run stopped. The caller holds the run's lock.

    `weights` are what to begin with where the run has no checkpoint yet; None for fresh ones. Returns the signal that
    ended training early, if any. Raises UserError where numbers stop being finite or a checkpoint cannot be written;
    what was saved stays.
    """
    training = set_up(run.recipe, run, data)
    first = training.team.rank == 0
    try:
        with StopSignal() as stop:
            _train(training, hooks, weights, stop)
    except BaseException as error:
        if first:
            run.set_state("failed", training.step, str(error) or type(error).__name__)
        raise
    if first:
        finished = training.step >= training.recipe.steps
        run.set_state("finished" if finished else "interrupted", training.step, stop.name if stop.requested else "")
    return stop


def set_up(recipe: Recipe, run: Run, data: Any) -> Training:
    """Everything a training needs, with fresh weights, before its first step."""
    torch.set_num_threads(recipe.threads)
    products.use("onednn" if recipe.products == "onednn" else "torch")
    machine.keep_freed_memory()
    if recipe.deterministic:
        torch.use_deterministic_algorithms(True)
    device = machine.device_of(recipe)
    team = Team.join(device)
    objective = building.build(recipe, data).to(device).train()
    if objective.pretext.whole_batch and recipe.accumulate > 1:
        raise UserError(
            f"{recipe.name} compares all examples of a step with each other: it cannot be trained in "
            f"{recipe.accumulate} micro-batches. Choose --accumulate 1; more processes can share a step."
        )
    if recipe.compile:
        for name, module in objective.named_modules():
            if distributed.is_block(name):
                module.compile()
    if team.world > 1:
        join_batch_norm(objective)
        distributed.shard(objective, device, team.world)
    return Training(
        recipe=recipe,
        run=run,
        data=data,
        objective=objective,
        optimizer=Optimizer(objective, recipe.optimizer),
        average=Average(objective, recipe.ema) if recipe.ema else None,
        stream=objective.pretext.stream(data, recipe.seed, team.rank, team.world),
        team=team,
        device=device,
    )


def begin(training: Training, weights: dict[str, Tensor] | None) -> None:
    """Step 0: what the data has to say first, or somebody else's weights."""
    objective, kept = training.objective, {}
    if weights is None or objective.pretext.recalls:
        kept = artifact_of(training.run.artifacts, objective.pretext, training.recipe, training.data)
        objective.pretext.recall(kept)
    if weights is not None:
        distributed.fill(objective, weights)
    else:
        # `start` may look at any weight, so where the weights are sharded it is given whole ones.
        whole = building.build(training.recipe, training.data) if training.team.world > 1 else objective
        whole.pretext.start(whole.backbone, kept)
        if whole is not objective:
            distributed.fill(objective, whole.state_dict())
    if training.average:
        training.average = Average(objective, training.recipe.ema)


def _train(training: Training, hooks: Sequence[Hook], weights: dict[str, Tensor] | None, stop: StopSignal) -> None:
    recipe, run, team = training.recipe, training.run, training.team
    found = run.newest()
    if not found and checkpoint.listed(run.checkpoints):
        raise UserError(
            f"{run.checkpoints} holds no whole checkpoint to go on with, only damaged ones. Put one back, or begin a "
            f"new run (--out); with weights that are whole, if there are any: --from {run.path}."
        )
    if found:
        training.restore(found)
        building.recall(training.objective, run)
    else:
        begin(training, weights)
        if team.rank == 0 and (picture := training.objective.pretext.picture(training.stream)):
            picture.save(run.path / PICTURE)
    if team.rank == 0:
        checkpoint.clear_unfinished(run.checkpoints)
        run.forget_after(training.step if found else -1)
        run.set_state("running", training.step)
    training.ending = training.step >= recipe.steps
    if not found:
        _call(hooks, training)
    training.began = time.monotonic()
    for batch in batches(training, recipe.steps - training.step):
        # One message between the processes before the forward pass: how many things the whole step's loss is a mean
        # of, what rank 0's clock says, and whether any of them was asked to stop.
        clock = (time.monotonic() - training.began) * (team.rank == 0)
        counts, (training.clock, stopping) = training.agree(batch, clock, float(stop.requested))
        take_step(training, batch, counts)
        training.ending = bool(stopping) or training.step >= recipe.steps
        _call(hooks, training)
        if training.ending:
            break


def batches(training: Training, count: int) -> Iterator[Ready]:
    """The next `count` steps' data, made ahead of time."""
    recipe, pretext = training.recipe, training.objective.pretext
    steps = training.stream.train(training.cursor, training.step, recipe.steps, recipe.accumulate)
    with ahead(steps, pretext.split, count, building.dtype_of(recipe), pin=training.device.type == "cuda") as ready:
        yield from ready


def take_step(training: Training, batch: Ready, counts: dict[str, float]) -> None:
    """One optimiser step. `counts` says over how many things each term of the loss is a mean, in the whole step."""
    recipe, objective, step = training.recipe, training.objective, training.step
    for number, part in enumerate(batch.parts):
        machine.seed(training.device, seed_for("dropout", recipe.seed, step, number, training.team.rank))
        if training.team.world > 1:  # gradients travel once a step, with the last micro-batch
            distributed.sync_gradients(objective, number == len(batch.parts) - 1)
        with training.autocast():
            loss = objective(part.to(training.device))
        # Each micro-batch brings its sum over the whole step's count: added up, the exact mean over the step.
        over = dict.fromkeys(counts, 1.0) if objective.pretext.summed else counts
        total = sum(term.weight / max(over[name], 1.0) * term.sum for name, term in loss.items())
        total.backward()
        training.window.add(loss)
    norm = training.optimizer.clip()
    training.optimizer.step(rate_at(recipe.optimizer, step, recipe.steps))
    objective.pretext.after_step(objective.backbone, step, recipe.steps)
    if training.average:
        training.average.update()
    training.recent.append((step, batch.keys))
    training.window.close_step(step, batch.size, norm)
    training.step, training.cursor = step + 1, batch.cursor
    training.gained, training.size = batch.size, training.size + batch.size


def _call(hooks: Sequence[Hook], training: Training) -> None:
    for hook in hooks:
        hook(training)
