"""What stands on the page: the figures, fill examples, results and settings of the runs it is about."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain, count

import msgspec

from sesame.config import TextData
from sesame.data.store import StoreInfo
from sesame.engine.run import Run
from sesame.errors import UserError
from sesame.report import figures
from sesame.report.curves import ARMS
from sesame.report.figures import Figure, Look
from sesame.report.fills import Filled, fills
from sesame.report.pretraining_figures import pretraining_figures
from sesame.report.probe_figures import Part, parts, slug
from sesame.report.probe_reading import Cohort, Watched, cohorts
from sesame.report.reading import FineTuning, Pretraining, text_of
from sesame.report.reproduce import flat
from sesame.report.task_figures import gain_by_task, task_figures
from sesame.tasks.comparison import Result


@dataclass(frozen=True)
class Task:
    """One task of one fine-tuning folder."""

    name: str
    """With the folder's name, where several folders are compared."""
    anchor: str
    """Its place in the page, and what its figures' names begin with."""
    result: Result | None
    figures: list[Figure]


@dataclass(frozen=True)
class Report:
    """Everything on the page, in its order."""

    title: str
    runs: list[Pretraining]
    tunings: list[FineTuning]
    notes: list[str]
    """What is missing, or cannot be compared."""
    tasks: list[Task]
    gain: Figure | None
    looks: list[Look]
    """How each pretraining run is drawn."""
    pretraining: dict[str, list[Figure]]
    """Over `tokens` and over `time`."""
    filled: dict[str, list[Filled]]
    """Fill examples by the label of the run."""
    measured: list[Cohort]
    """Runs with measurements, those that differ by their seed alone as one."""
    learned: list[Part]
    """What was measured, probe by probe."""

    @property
    def results(self) -> list[tuple[Task, Result]]:
        return [(task, task.result) for task in self.tasks if task.result]

    @property
    def arms(self) -> set[str]:
        """What some task was learned from."""
        results = [part for _, result in self.results for part in (result, *result.labels.values())]
        return {str(e["arm"]) for tuning in self.tunings for e in tuning.events if "arm" in e} | {
            arm for arm in ARMS for part in results if getattr(part, arm) is not None
        }

    @property
    def figures(self) -> Iterator[Figure]:
        if self.gain:
            yield self.gain
        for over in self.pretraining.values():
            yield from over
        for part in self.learned:
            yield from (*part.figures, *(order.figure for order in part.orders))
        for task in self.tasks:
            yield from task.figures


Fill = Callable[[Pretraining, Sequence[str]], tuple[list[Filled], list[str]]]
Learn = Callable[[Sequence[Cohort]], list[Part]]


def compose(
    runs: Sequence[Pretraining],
    tunings: Sequence[FineTuning],
    measured: Sequence[Watched] = (),
    texts: Sequence[str] = (),
    fill: Fill = fills,
    learn: Learn = parts,
) -> Report:
    """The report on what `open_folders` found. Raises UserError for one of `texts` that cannot be filled."""
    looks = figures.looks([run.label for run in runs])
    filled, notes = {}, [f"{run.label}: {note}" for run in runs for note in run.notes]
    for run in runs:
        found, missing = fill(run, texts)
        notes += [f"{run.label}: {note}" for note in missing]
        if found:
            filled[run.label] = found
    if _apart([run.run for run in runs if run.held_out]):
        notes.append("These runs read different data, or cut texts differently: their losses cannot be compared.")
    tasks = [task for tuning in tunings for task in _tasks(tuning, several=len(tunings) > 1)]
    alike = cohorts(measured)
    learned, tasks = _told_apart(learn(alike), tasks)
    series = [one.label for one in measured if one.run is None]
    return Report(
        title=", ".join([*(run.label for run in runs), *series, *(tuning.label for tuning in tunings)]),
        runs=list(runs),
        tunings=list(tunings),
        notes=notes,
        tasks=tasks,
        gain=gain_by_task([(task.name, task.result) for task in tasks if task.result]),
        looks=looks,
        pretraining=pretraining_figures(runs, looks),
        filled=filled,
        measured=alike,
        learned=learned,
    )


def _apart(runs: Sequence[Run]) -> bool:
    """Whether they are known to have learned from different data; an earlier version kept no hash of images, sounds.

    A twin shares what its run holds out: its hash begins with the other's.
    """
    kinds, hashes = {type(run.recipe.data) for run in runs}, {run.config.data for run in runs} - {""}
    shared = {min((other for other in hashes if one.startswith(other)), key=len) for one in hashes}
    return len(kinds) > 1 or len(shared) > 1


def _tasks(tuning: FineTuning, several: bool) -> Iterator[Task]:
    for task in tuning.names:
        name = f"{task} ({tuning.label})" if several else task
        anchor = slug("task", name)
        yield Task(name, anchor, tuning.tasks.get(task), task_figures(tuning, task, anchor))


def _told_apart(learned: Sequence[Part], tasks: Sequence[Task]) -> tuple[list[Part], list[Task]]:
    """The same with a number in every name that is there already: run_1 and run-1 have one slug, 日本語 has none."""
    taken: set[str] = set()

    def own(name: str) -> str:
        free = next(one for one in chain([name], (f"{name}-{i}" for i in count(2))) if one not in taken)
        taken.add(free)
        return free

    def named(figure: Figure) -> Figure:  # itself where it can be, with what it has worked out
        name = own(figure.name)
        return figure if name == figure.name else replace(figure, name=name)

    parts = [
        replace(
            part,
            anchor=own(part.anchor),
            figures=[named(figure) for figure in part.figures],
            orders=[replace(order, figure=named(order.figure)) for order in part.orders],
        )
        for part in learned
    ]
    return parts, [replace(t, anchor=own(t.anchor), figures=[named(figure) for figure in t.figures]) for t in tasks]


# ---------------------------------------------------------------------------------------------- settings
def settings(run: Pretraining) -> dict[str, object]:
    """Every setting of a run under its dotted name, and the machine it ran on."""
    machine = {f"machine.{key}": value for key, value in run.run.config.machine.items()}
    return flat(msgspec.to_builtins(run.run.recipe)) | machine


def differences(runs: Sequence[Pretraining]) -> list[tuple[str, list[object]]]:
    """The settings in which runs differ, each with the values of all runs; None where a run has no such setting."""
    of_runs = [settings(run) for run in runs]
    names = dict.fromkeys(name for own in of_runs for name in own)
    rows = [(name, [own.get(name) for own in of_runs]) for name in names]
    return [(name, values) for name, values in rows if any(value != values[0] for value in values)]


def text_in(run: Pretraining) -> StoreInfo | None:
    """What the run's prepared text holds; None for other data, and where the text is gone."""
    if not isinstance(run.run.recipe.data, TextData):
        return None
    try:
        return text_of(run.run).info
    except UserError:
        return None
