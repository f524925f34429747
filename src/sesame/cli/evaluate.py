"""`sesame evaluate DIR FILE`"""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, arg

from sesame.cli.options import options_of
from sesame.cli.output import emit, table


@dataclass(frozen=True)
class Evaluate:
    """How well a fine-tuned model does on a labelled file, in the format of its training files."""

    model: Annotated[Positional[Path], arg(metavar="DIR")]
    """A folder made by `sesame finetune`; DIR/NAME where it holds several tasks."""
    file: Annotated[Positional[Path], arg(metavar="FILE")]
    """Labelled examples."""
    skip_bad: bool = False
    """Leave faulty examples out, count and report them, instead of stopping."""
    result: Path = Path("result.json")
    """Where the numbers are written; replaces an older result, never another file."""
    json: bool = False
    """Print the result alone on stdout, as JSON."""


def evaluate_command(argv: list[str]) -> int:
    options = options_of(Evaluate, argv, "sesame evaluate")

    from sesame.tasks.base import Notes
    from sesame.tasks.tuned import open_tuned

    tuned, notes = open_tuned(options.model), Notes(skip=options.skip_bad)
    count, metrics = tuned.evaluate(options.file, notes)
    result = {
        "model": options.model,
        "task": tuned.card.name,
        "file": options.file,
        "examples": count,
        "metrics": metrics,
        "notes": dict(notes.counts),
    }
    rows = [("examples", count), *metrics.items(), *notes.counts.items()]
    shown = table(f"{tuned.card.name} on {options.file}", ["measure", "value"], rows)
    emit("evaluate", result, shown, as_json=options.json, path=options.result)
    return 0
