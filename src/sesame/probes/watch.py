"""The full forms of probes over saved checkpoints: what is known already is not measured again.

Checkpoints are measured side by side, one process a core: the matrix products of one model are too short, and too much
of a probe is no matrix product, for several threads to be shared well.
"""

import hashlib
import logging
import shlex
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import torch

from sesame import config
from sesame.data import open_data
from sesame.data.chance import seed_for
from sesame.data.sources import hash_of_files
from sesame.engine import machine, products
from sesame.engine.build import Model, load
from sesame.errors import UserError
from sesame.probes import PROBES, Ask, Opened, find_all, named
from sesame.probes.changes import Change, changes
from sesame.probes.measuring import FULL, measure
from sesame.probes.series import Saved, Series, open_series, reopened
from sesame.probes.table import Answers, Tables
from sesame.processes import Pool, cores

log = logging.getLogger(__name__)

DEFAULTS = {
    "text": ("word-classes", "frequency", "calibration", "minimal-pairs", "linear", "attention", "rank", "geometry"),
    "images": ("neighbours", "collapse", "rank"),
    "speech": ("frames", "rank"),
}
"""What is measured where nobody says what, besides what the run itself was watched with."""


@dataclass(frozen=True)
class Watched:
    """What `watch` did with one series."""

    name: str
    tables: Path
    """The folder of `probes.parquet` and `probe-items.parquet`."""
    probes: tuple[str, ...]
    checkpoints: int
    measured: int
    """Measurements made now: a probe on a checkpoint each."""
    known: int
    """Those that were there already."""
    faults: tuple[str, ...]
    """Checkpoints that were passed over, and probes that could not measure: a line each."""
    changes: tuple[Change, ...]
    """From the first checkpoint to the last."""


@dataclass(frozen=True)
class _Job:
    """One checkpoint and what is to be measured of it."""

    saved: Saved
    probes: tuple[tuple[int, str], ...]
    """Numbers of probes, and `made_from` of their rows."""
    before: tuple[Saved, ...]
    """The checkpoints of smaller steps, in order."""


def watch(
    name: str | Path,
    probes: Sequence[str] = (),
    out: str | Path | None = None,
    steps: Sequence[int] = (),
    threads: int = 0,
) -> Watched:
    """Measure the checkpoints of a run, of a folder of model folders, or of a model on the hub.

    `probes` (NAME, NAME=FILE, my_probe.py) are the run's own and a default set where none is given; `steps` chooses
    among the checkpoints. The tables go into the run or folder itself, or into `out`. Checkpoints that are damaged or
    missing are named and passed over. Raises UserError where nothing can be measured.
    """
    series = open_series(str(name))
    chosen = series.only(steps)
    if out is None and series.home is None:
        raise UserError(f"{name} is on the hub: where do its numbers go? Name a folder with --out DIR.")
    folder = Path(out or series.home or "")
    opened = find_all([named(probe) for probe in probes] or _usual(series), series.kind)
    folder.mkdir(parents=True, exist_ok=True)
    tables = Tables(folder)
    data = series.recipe.data if series.recipe and _has_data(series) else None
    gone = series.recipe is not None and data is None
    jobs, known = _jobs(series, chosen, opened, gone, tables.measured())
    faults, measured, began = list(series.faults), 0, time.monotonic()
    if jobs:
        what = ", ".join(probe.name for probe in opened)
        log.info("%s: %s of %d checkpoint%s …", series.name, what, len(jobs), "s" * (len(jobs) > 1))
    for job, answers in _measured(series, opened, data, jobs, threads or cores()):
        if isinstance(answers, str):
            faults.append(answers)
            log.warning("%s It is passed over.", answers)
            continue
        for each in answers:
            if isinstance(each, Answers):
                tables.write(each)
                measured += 1
            elif each not in faults:
                faults.append(each)
                log.warning("step %d: %s", job.saved.step, each)
        done = jobs.index(job) + 1
        left = (time.monotonic() - began) / done * (len(jobs) - done)
        said = f", about {timedelta(seconds=round(left))} left" if left else ""
        log.info("%s: step %d is measured (%d of %d%s)", series.name, job.saved.step, done, len(jobs), said)
    if not measured and not known:
        raise UserError(faults[-1] if faults else f"{name}: there is nothing to measure.")
    names = tuple(dict.fromkeys(probe.name for probe in opened))
    asked = [(probe.name, probe.config.source) for probe in opened]
    last = changes(tables, asked, {saved.step for saved in chosen})
    return Watched(series.name, folder, names, len(chosen), measured, known, tuple(faults), last)


def _usual(series: Series) -> list[config.Probe]:
    own = series.recipe.watch.probes if series.recipe else ()
    there = {probe.name for probe in own}
    return [*own, *(config.Probe(name=name) for name in DEFAULTS[series.kind] if name in PROBES and name not in there)]


# ---------------------------------------------------------------------------------------------- what is left
def _jobs(
    series: Series,
    chosen: Sequence[Saved],
    probes: Sequence[Opened],
    gone: bool,
    measured: set[tuple[int, str, str, str, str]],
) -> tuple[list[_Job], int]:
    """What is not measured yet, and how much is.

    What was measured while the run's data were `gone` lacks what needs them, so it is known only as long as they are.
    A probe may look at the first checkpoint and the one before, so where another stands there it is measured again.
    """
    files = [_contents(probe) for probe in probes]
    sample = "" if series.kind == "text" else " by content"  # before, another part of what is held out was measured
    jobs, known = [], 0
    for number, saved in enumerate(series.saved):
        if saved not in chosen:
            continue
        left = []
        beside = f" after {series.saved[0].made_from} … {series.saved[number - 1].made_from}" if number else ""
        for which, probe in enumerate(probes):
            told = [f"{saved.made_from} {files[which]}{sample}{beside}"]
            told += [f"{told[0]} without its data"] if gone else []
            made_from = [hashlib.blake2b(one.encode(), digest_size=16).hexdigest() for one in told]
            if any((saved.step, probe.name, probe.config.source, FULL, one) in measured for one in made_from):
                known += 1
            else:
                left.append((which, made_from[-1]))
        if left:
            jobs.append(_Job(saved, tuple(left), series.saved[:number]))
    return jobs, known


def _contents(probe: Opened) -> str:
    """Hash of the files that the user gave: a probe of their own, and what it is measured on."""
    source = probe.config.source
    return hash_of_files((Path(probe.config.name), *(probe.files(source) if source else ())))


# ------------------------------------------------------------------------------------------------ measuring
def _measured(
    series: Series, probes: Sequence[Opened], data: config.Data | None, jobs: Sequence[_Job], threads: int
) -> Iterator[tuple[_Job, list[Answers | str] | str]]:
    """Each job with the answers of its probes, or why one has none; or why the checkpoint cannot be read."""
    if not jobs:
        return
    count = max(1, min(threads, len(jobs)))
    make = partial(_begin, [probe.config for probe in probes], series.kind, data, max(1, threads // count))
    if count == 1:
        before = torch.get_num_threads()
        try:
            with products.using(products.in_use()):
                yield from zip(jobs, map(make(), jobs), strict=True)
        finally:
            torch.set_num_threads(before)
    else:
        make = partial(make, level=log.getEffectiveLevel())
        with Pool(count, make, "measuring a checkpoint", f"Give fewer than --threads {threads}.") as pool:
            yield from zip(jobs, pool.map(jobs), strict=True)


def _has_data(series: Series) -> bool:
    """Whether what the run was trained on is still there."""
    assert series.recipe is not None
    try:
        reopened(series.recipe.data, series.data)
    except UserError as error:
        log.warning(
            "%s: its data are gone (%s), so probes go without what is held out and word counts.", series.name, error
        )
        return False
    return True


def _begin(
    probes: Sequence[config.Probe], kind: str, data: config.Data | None, threads: int, level: int | None = None
) -> Callable[[_Job], list[Answers | str] | str]:
    """What a process needs for all of its checkpoints. A new process speaks from `level` on."""
    if level is not None:
        logging.basicConfig(level=level, format="%(message)s")
    torch.set_num_threads(threads)
    products.use(products.fastest(threads))
    machine.keep_freed_memory()
    return partial(_measure, find_all(probes, kind), None if data is None else open_data(data), threads, {})


def _measure(
    probes: Sequence[Opened], data: Any, threads: int, kept: dict[Any, Any], job: _Job
) -> list[Answers | str] | str:
    saved = job.saved
    try:
        model = _open(saved)
    except UserError as error:
        return str(error)
    found = []
    for which, made_from in job.probes:
        ask = Ask(
            source=probes[which].config.source,
            full=True,
            data=data,
            step=saved.step,
            cores=threads,
            first=partial(_open_one_of, job.before) if job.before else None,
            previous=partial(_open_one_of, job.before[::-1]) if job.before else None,
            kept=kept,
        )
        found.append(measure(probes[which], model, ask, saved.tokens, saved.seconds, made_from))
    return found


def _open(saved: Saved) -> Model:
    """The checkpoint; heads that a published one lacks are the same whenever it is opened."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed_for("weights", 0))
        return replace(load(saved.model, saved.at), step=saved.step)


def _open_one_of(several: Sequence[Saved]) -> Model:
    """The first of them that can be read."""
    faults: list[UserError] = []
    for saved in several:
        try:
            return _open(saved)
        except UserError as error:
            faults.append(error)
    raise faults[0]


def next_command(watched: Sequence[Watched]) -> str:
    """The command line that shows what was measured."""
    return f"sesame report {' '.join(shlex.quote(str(each.tables)) for each in watched)}"
