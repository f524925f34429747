"""`sesame compare GRID --data SOURCE… --out DIR`"""

import logging
import shlex
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import msgspec
import tyro
from tyro.conf import FlagCreatePairsOff

from sesame.cli.output import emit, table
from sesame.errors import UserError
from sesame.studies.grid import FineTuned, Grid, checked, chosen, options, recipe_of
from sesame.studies.grids import GRIDS, find

log = logging.getLogger("sesame")


@dataclass(frozen=True)
class Compare:
    """Train recipes that differ in one thing, each with the same seeds, and ask all of them the same.

    Any field of a recipe is an option too, and holds for all arms: --data.length 64, --optimizer.lr 1e-3. The same
    command again goes on with a comparison that stopped; nothing is trained or measured twice.
    """

    data: tuple[str, ...] = ()
    """A folder made by `sesame data prepare`; or files, folders, globs, hf:NAME, pydocs, which are prepared first."""
    out: Path | None = None
    """The folder to make: a run for every arm and seed, result.json, comparison.html and the figure."""
    seeds: int | None = None
    """How often each arm is trained, if not as the grid says."""
    tokens: int | None = None
    """What each arm reads, in positions of its batches; instead of what the grid says."""
    steps: int | None = None
    """What each arm has instead: optimiser steps."""
    seconds: float | None = None
    """What each arm has instead: seconds of training, as steps that are fixed at the start by the measured speed."""
    arms: tuple[str, ...] = ()
    """Only these arms of the grid."""
    measure: tuple[str, ...] = ()
    """Only these measurements of the grid."""
    tasks: tuple[str, ...] = ()
    """Also the score on these labelled tasks, as `sesame finetune` takes them."""
    examples: int = 300
    """Training examples of each of --tasks at most; 0 for all."""
    workers: int = 0
    """Runs side by side, each in a process with its share of the threads; 0: for small models as many as cores."""
    held_out: float | None = None
    """For raw text: the share of documents that training never sees; 0.02 if not given."""
    json: bool = False
    """Print the result alone on stdout, as JSON."""


def compare_command(argv: list[str]) -> int:
    if not argv or argv[0] in ("-h", "--help"):
        print(_usage())
        return 0 if argv else 2
    if argv[0].startswith("-"):
        raise UserError(f"which grid? Write it first: sesame compare GRID --data SOURCE… --out DIR. {_grids()}")
    found, words = find(argv[0]), argv[1:]
    given, unknown = tyro.cli(
        Compare, args=words, prog=f"sesame compare {argv[0]}", config=(FlagCreatePairsOff,), return_unknown_args=True
    )  # fmt: skip
    changes = options(unknown)
    grid = _asked(found, given)
    for arm in grid.arms:  # a mistake is said before anything is prepared
        recipe_of(arm, grid, changes, OPTIONS)
    if given.out is None:
        raise UserError("where to? Name the folder to make with --out DIR.")
    if not given.data:
        raise UserError("what to train on? Give --data a prepared folder, files, folders, or pydocs (built in).")
    if given.workers < 0 or given.examples < 0:
        raise UserError(f"--workers {given.workers}, --examples {given.examples}: give numbers of at least 0.")
    source = _source(given, grid, changes)

    from sesame.studies.comparing import compare
    from sesame.studies.training import Stopped

    again = shlex.join(["sesame", "compare", *argv])
    try:
        outcome = compare(grid, source, given.out, given=changes, known=OPTIONS, workers=given.workers)
    except (KeyboardInterrupt, Stopped):
        log.info("Stopped. The same command goes on where it was:\n  %s", again)
        raise KeyboardInterrupt from None

    from sesame.report.page import put
    from sesame.studies import page
    from sesame.studies.outcome import cell

    runs = f"{shlex.quote(str(given.out))}/*-seed-*"
    put(page.render(outcome, [again, f"sesame report {runs} --out report.html"]), given.out / "comparison.html")
    drawn = page.figure(outcome)
    written = drawn.export(given.out) if drawn else []
    rows = [
        (arm, *(cell(column.cells[arm], column.share) for column in outcome.columns), line.steps)
        for arm, line in outcome.arms.items()
    ]
    heads = [f"{c.name}, {c.metric}{' × 100' if c.share else ''}" for c in outcome.columns]
    caption = (f"{outcome.grid} at equal {outcome.equal}: mean ± standard error over {len(outcome.seeds)} seeds "
               f"(difference from {outcome.reference}; ≈: not resolved)")  # fmt: skip
    says = [*(f"{c.name}: {c.words}" for c in outcome.columns), *outcome.notes]
    emit(
        "compare", msgspec.to_builtins(outcome),
        table(caption, ["arm", *heads, "steps"], rows), "\n".join(says),
        f"Page and figure: {given.out / 'comparison.html'}{', ' if written else ''}{', '.join(map(str, written[:1]))}\n"
        f"How the runs went: sesame report {runs} --out report.html",
        as_json=given.json, path=given.out / "result.json",
    )  # fmt: skip
    return 0


OPTIONS = tuple("--" + field.name.replace("_", "-") for field in fields(Compare))


def _asked(grid: Grid, given: Compare) -> Grid:
    """The grid with what the command line says of it."""
    amounts = {"tokens": given.tokens, "steps": given.steps, "seconds": given.seconds}
    said = {name: value for name, value in amounts.items() if value is not None}
    if len(said) > 1:
        raise UserError(f"{' and '.join('--' + name for name in said)} were both given. One of them can be equal.")
    changed: dict[str, Any] = {}
    for name, value in said.items():
        if value <= 0:
            raise UserError(f"--{name} {value:g}: give a number above 0.")
        changed = {"equal": name, "amount": value}
    if given.seeds is not None:
        if given.seeds < 1:
            raise UserError(f"--seeds {given.seeds}: at least one is needed.")
        changed["seeds"] = given.seeds
    grid = chosen(msgspec.structs.replace(grid, **changed), given.arms, given.measure)
    tasks = tuple(FineTuned(task=task, examples=given.examples) for task in given.tasks)
    return checked(msgspec.structs.replace(grid, measurements=(*grid.measurements, *tasks)), grid.name)


def _source(given: Compare, grid: Grid, changes: dict[str, Any]) -> str:
    """The prepared text; raw text is prepared into DIR/data first. Of images and speech, their source."""
    from sesame.config import TextData
    from sesame.data.sources import is_store

    data = [recipe_of(arm, grid, changes).data for arm in grid.arms]
    if not isinstance(data[0], TextData) or is_store(given.data[0]):
        if len(given.data) > 1:
            raise UserError(f"--data {shlex.join(given.data)}: of prepared data, give one folder.")
        if given.held_out is not None:
            raise UserError(
                f"--held-out: {given.data[0]} is prepared already, with its own. Give the raw text to --data."
            )
        return given.data[0]
    from sesame.cli.data import prepare_first

    kinds = sorted({f"{d.tokenizer} {d.vocab}" for d in data if isinstance(d, TextData)})
    if len(kinds) > 1:
        raise UserError(f"the arms ask for different tokenizers ({', '.join(kinds)}), and all read the same text. "
                        "Prepare it first (sesame data prepare), and give its folder to --data.")  # fmt: skip
    assert given.out is not None
    if given.out.exists() and any(given.out.iterdir()) and not (given.out / "data").exists():
        raise UserError(f"{given.out} exists and holds something else. Nothing was changed. Choose another --out.")
    log.info("preparing the text")
    prepare_first(
        given.data,
        given.out / "data",
        tokenizer=data[0].tokenizer,
        vocab=data[0].vocab,
        held_out=0.02 if given.held_out is None else given.held_out,
    )
    return str(given.out / "data")


def _grids() -> str:
    return f"Grids: {', '.join(GRIDS)}, or a file (.json, .toml)."


def _usage() -> str:
    grids = []
    for grid in GRIDS.values():
        arms = ", ".join(arm.name for arm in grid.arms)
        grids += [f"  {grid.name}", f"      {grid.about}"]
        grids += [f"      {arms}; {grid.seeds} seeds, {grid.amount:,.0f} {grid.equal} each"]
    return "\n".join(
        [
            "usage: sesame compare GRID --data SOURCE… --out DIR [--tokens N | --steps N | --seconds S] [--seeds N]",
            "           [--arms ARM…] [--measure NAME…] [--tasks TASK…] [any field of a recipe, for all arms]",
            "",
            "GRID is one of these, or a file of your own (.json, .toml; see docs/how-to.md):",
            "",
            *grids,
            "",
            "`sesame compare GRID --help` explains the options.",
        ]
    )
