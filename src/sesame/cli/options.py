"""The options of a command, read and looked at before anything is done."""

from pathlib import Path
from typing import TypeVar

import tyro
from tyro.conf import FlagCreatePairsOff

from sesame.cli.output import check_result
from sesame.errors import UserError

Options = TypeVar("Options")


def options_of(kind: type[Options], argv: list[str], command: str) -> Options:
    """What the command line says. A file in the way of the result is told now, and not when the work is done."""
    options = tyro.cli(kind, args=argv, prog=command, config=(FlagCreatePairsOff,))
    if isinstance(result := getattr(options, "result", None), Path):
        check_result(result)
    return options


def check_free(option: str, path: Path) -> None:
    """Raise UserError where there is something at `path` already."""
    if path.exists():
        raise UserError(f"{option} {path} exists and is left as it is. Choose another name, or remove it.")
