"""`sesame predict DIR FILE --out OUT`"""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, arg

from sesame.cli.options import check_free, options_of
from sesame.cli.output import emit, table


@dataclass(frozen=True)
class Predict:
    """What a fine-tuned model says of the examples of a file, in the format of its training files."""

    model: Annotated[Positional[Path], arg(metavar="DIR")]
    """A folder made by `sesame finetune`; DIR/NAME where it holds several tasks."""
    file: Annotated[Positional[Path], arg(metavar="FILE")]
    """Examples in the format of the training files; labels may be missing."""
    out: Path
    """Where the predictions go. An existing file is not replaced."""
    skip_bad: bool = False
    """Leave faulty examples out, count and report them, instead of stopping."""
    result: Path = Path("result.json")
    """Where the numbers are written; replaces an older result, never another file."""
    json: bool = False
    """Print the result alone on stdout, as JSON."""


def predict_command(argv: list[str]) -> int:
    options = options_of(Predict, argv, "sesame predict")
    check_free("--out", options.out)

    from sesame.tasks.base import Notes
    from sesame.tasks.tuned import open_tuned

    tuned, notes = open_tuned(options.model), Notes(skip=options.skip_bad)
    options.out.parent.mkdir(parents=True, exist_ok=True)
    count = tuned.predict(options.file, options.out, notes)
    result = {
        "model": options.model,
        "task": tuned.card.name,
        "file": options.file,
        "out": options.out,
        "examples": count,
        "notes": dict(notes.counts),
    }
    rows = [("examples", count), *notes.counts.items()]
    emit("predict", result, table(str(options.out), ["", "count"], rows), as_json=options.json, path=options.result)
    return 0
