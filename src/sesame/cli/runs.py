"""`sesame runs [DIR]`: what runs there are, and how to go on with those that stopped."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tyro.conf import Positional

from sesame.cli.options import options_of
from sesame.cli.output import emit, table
from sesame.errors import UserError


@dataclass(frozen=True)
class Runs:
    """List the runs of a folder: state, steps, loss, speed, disk."""

    folder: Positional[Path] = Path(".")
    """A run folder, or a folder of runs."""
    result: Path = Path("result.json")
    """Where the numbers are written; replaces an older result, never another file."""
    json: bool = False
    """Print the result alone on stdout, as JSON."""


def runs_command(argv: list[str]) -> int:
    options = options_of(Runs, argv, "sesame runs")
    if not options.folder.is_dir():
        raise UserError(f"{options.folder} is no folder. Give the folder of a run, or one that holds runs.")
    from sesame.engine.run import found_in

    found = [describe(run) for run in found_in(options.folder)]
    rows = [
        (Path(r["run"]).resolve().name, r["recipe"], r["state"], f"{r['step']:,} of {r['steps']:,}", r["loss"],
         r["held_out_loss"], r["tokens_per_second"], _size(r["bytes"]))
        for r in found
    ]  # fmt: skip
    columns = ["run", "recipe", "state", "steps", "loss", "held-out", "tokens/s", "disk"]
    shown: list[Any] = (
        [table(f"Runs in {options.folder}", columns, rows)] if rows else [f"No runs in {options.folder}."]
    )
    shown += [f"Go on: {r['resume']}" for r in found if r["resume"]]
    emit("runs", {"runs": found}, *shown, as_json=options.json, path=options.result)
    return 0


def describe(run: Any) -> dict[str, Any]:
    """One run in numbers. One that says it is running but whose process is gone was killed."""
    said = run.state()
    state = said.state if said else "killed"
    if state == "running" and not run.is_live():
        state = "killed"
    logged = list(run.events("log"))
    evaluated = list(run.events("evaluate"))
    unfinished = state in ("killed", "interrupted", "failed")
    return {
        "run": str(run.path),
        "recipe": run.recipe.name,
        "state": state,
        "reason": said.reason if said else "",
        "step": max(said.step if said else 0, *(event["step"] for event in logged[-1:]), 0),
        "steps": run.recipe.steps,
        "loss": logged[-1]["loss"] if logged else None,
        "held_out_loss": evaluated[-1]["loss"] if evaluated else None,
        "tokens_per_second": logged[-1]["tokens_per_second"] if logged else None,
        "bytes": sum(path.stat().st_size for path in run.path.rglob("*") if path.is_file()),
        "resume": run.resuming if unfinished else None,
    }


def _size(count: int | float) -> str:
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.0f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"
