"""`sesame fill RUN "Return the [MASK] of the list."`"""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

import tyro
from tyro.conf import FlagCreatePairsOff, Positional, arg

from sesame.cli.output import emit, table


@dataclass(frozen=True)
class Fill:
    """Fill the [MASK]s of a text: the most probable tokens for each, with probabilities."""

    run: Annotated[Positional[str], arg(metavar="RUN")]
    """A run, one of its checkpoints, a model folder, or the hub name of a model."""
    text: Annotated[Positional[str], arg(metavar="TEXT")]
    """Text with one or more [MASK]s."""
    k: int = 5
    """How many tokens to show for each [MASK]."""
    result: Path = Path("result.json")
    """Where the numbers are written; replaces an older result, never another file."""
    json: bool = False
    """Print the result alone on stdout, as JSON."""


def fill_command(argv: list[str]) -> int:
    options = tyro.cli(Fill, args=argv, prog="sesame fill", config=(FlagCreatePairsOff,))
    from sesame.engine.build import load
    from sesame.tasks.fill import fill

    filled = fill(load(options.run), options.text, options.k)
    several = len(filled.masks) > 1
    rows = [
        (*((number,) if several else ()), guess.token, guess.probability)
        for number, guesses in enumerate(filled.masks, 1)
        for guess in guesses
    ]
    columns = [*(["[MASK]"] if several else []), "token", "probability"]
    result = {"run": options.run, "text": options.text, **asdict(filled)}
    emit("fill", result, table(filled.text, columns, rows), as_json=options.json, path=options.result)
    return 0
