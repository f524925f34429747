"""One run of a comparison: trained, or gone on with, and asked everything; all of it kept in its folder.

A run is a folder as `sesame pretrain` makes them, with `compared.json` beside: what was measured, under a hash of the
question. Nothing is done twice, whenever the comparison was killed.
"""

import logging
import os
import shutil
import signal
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import msgspec

from sesame import config
from sesame.config import Recipe
from sesame.data import located, open_data
from sesame.engine import start
from sesame.engine.build import freeze, identity_of, load
from sesame.engine.checkpoint import config_hash
from sesame.engine.loop import Hook, NotFinite, Training
from sesame.engine.plan import plan
from sesame.engine.run import CONFIG, Run, differences
from sesame.errors import UserError
from sesame.probes import bus
from sesame.studies.grid import Measurement, title
from sesame.studies.measuring import Measured, files_in, measure
from sesame.tasks.finetune import Diverged

log = logging.getLogger(__name__)

MEASURED = "compared.json"
_EVERY = 20.0
"""Seconds between two lines about a training."""


class Stopped(UserError):
    """A signal ended the training early; it is saved."""


class Job(NamedTuple):
    """An arm with one seed."""

    arm: str
    seed: int
    recipe: Recipe
    """With its data, its steps and its seed."""
    folder: Path
    measurements: tuple[Measurement, ...]
    data: config.Data
    """How held-out examples are cut."""
    owner: int
    """The process of the comparison: where it is gone, training stops."""

    @property
    def label(self) -> str:
        return f"{self.arm}, seed {self.seed}"


class Done(NamedTuple):
    """What came of a job."""

    measured: dict[str, Measured]
    """By the title of the measurement."""
    seconds: float | None
    """Of training."""
    broken: tuple[str, ...]
    """What did not come out: numbers that were not finite."""


def work(job: Job) -> Done:
    """Train and measure what is not there yet. Raises Stopped where a signal came."""
    try:
        run = train(job)
    except NotFinite as error:
        return Done({}, None, (f"{job.label} did not get through: {error}",))
    known, broken = _kept(job.folder / MEASURED), []
    model, found, identity = None, {}, identity_of(open_data(job.data))
    for asked in job.measurements:
        key = config_hash([asked, job.data, identity, *files_in(asked)])
        if key not in known:
            model = model or load(job.folder)
            log.info("%s: measuring %s", job.label, title(asked))
            try:
                known[key] = measure(asked, model, job.data, job.seed)
            except Diverged as error:
                broken.append(f"{job.label}, {title(asked)}: {error}")
                continue
            _keep(job.folder / MEASURED, known)
        found[title(asked)] = known[key]
    return Done(found, _seconds(run), tuple(broken))


# ------------------------------------------------------------------------------------------------- training
def train(job: Job) -> Run:
    """The finished run: trained now, gone on with, or there already."""
    if job.folder.exists() and not (job.folder / CONFIG).exists():  # killed before it was a run
        shutil.rmtree(job.folder)
    shows, extra = [_Said(job.label)], [*bus.hooks(job.recipe), _with_owner(job.owner)]
    if not job.folder.exists():
        start.start(job.recipe, job.folder, shows=shows, extra=extra)
    else:
        there = Run.open(job.folder)
        if differing := differences(there.recipe, moved(job.recipe, there.recipe.data)):
            raise UserError(
                f"{there.path} was trained with other settings ({differing}). Nothing was changed. "
                "Choose another --out."
            )
        if _state(there) != "finished":
            start.resume(job.folder, shows=shows, extra=extra)
    run = Run.open(job.folder)
    if _state(run) != "finished":
        raise Stopped(f"{job.label} was stopped and saved.")
    return run


def _state(run: Run) -> str:
    said = run.state()
    return said.state if said else ""


def steps_in(told: tuple[Recipe, Path, float]) -> int:
    """How many steps of a recipe fit into so many seconds, measured now (`engine.plan`)."""
    recipe, out, seconds = told
    data = open_data(recipe.data)
    timed = msgspec.structs.replace(recipe, max_minutes=seconds / 60, max_tokens=0)
    with TemporaryDirectory(prefix=".measured-", dir=out) as folder:  # on the disk that checkpoints will go to
        return plan(freeze(timed, data), data, Path(folder) / "run").steps


class _Said:
    """A line about a training now and then, under the name of its run."""

    def __init__(self, label: str):
        self.label, self.last = label, time.monotonic()

    def __call__(self, event: str, training: Training, values: dict[str, Any]) -> None:
        now = time.monotonic()
        if event == "log" and now - self.last >= _EVERY:
            self.last = now
            speed, left = values["tokens_per_second"], values["eta"]
            log.info(
                "%s: step %d of %d, loss %.3f; %.0f/s, %.0f seconds left",
                self.label, training.step, training.recipe.steps, values["loss"], speed, left,
            )  # fmt: skip


def _with_owner(owner: int) -> Hook:
    """Ask the training to save and stop where the comparison that started it is gone: nobody waits for it."""
    inside = os.getpid() == owner

    def look(training: Training) -> None:
        if not inside and os.getppid() != owner and not training.ending:
            signal.raise_signal(signal.SIGTERM)

    return look


def _seconds(run: Run) -> float | None:
    return next((m.seconds for m in reversed(list(run.manifests())) if m.seconds is not None), None)


# ------------------------------------------------------------------------------------------------- what was measured
def _kept(path: Path) -> dict[str, Measured]:
    try:
        return msgspec.json.decode(path.read_bytes(), type=dict[str, Measured])
    except (OSError, msgspec.DecodeError):
        return {}


def _keep(path: Path, known: dict[str, Measured]) -> None:
    """Replace the file in one go: a reader sees the old one or the new one."""
    unfinished = path.with_name(f"{path.name}.tmp")
    unfinished.write_bytes(msgspec.json.encode(known))
    os.replace(unfinished, path)


def placed(recipe: Recipe, source: str) -> Recipe:
    """The recipe with its data: a prepared folder for text, their source for images and speech."""
    return msgspec.structs.replace(recipe, data=located(recipe.data, source))


def moved(recipe: Recipe, data: config.Data) -> Recipe:
    """The recipe with its data where `data` lie, which hold the same."""
    places = {name: getattr(data, name) for name in ("store", "source") if hasattr(recipe.data, name)}
    return msgspec.structs.replace(recipe, data=msgspec.structs.replace(recipe.data, **places))
