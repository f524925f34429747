"""What a command says: a table for people, `result.json` on disk, and with --json that JSON alone on stdout."""

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from sesame.errors import UserError


def table(title: str, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> Any:
    """A rich table under its title. A column of nothing but numbers (or None, shown as a dash) is right-aligned."""
    from rich import box
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    rows = [tuple(row) for row in rows]
    made = Table(box=box.SIMPLE_HEAD, show_header=any(columns), pad_edge=False)
    for i, name in enumerate(columns):
        numeric = bool(rows) and all(row[i] is None or isinstance(row[i], int | float) for row in rows)
        made.add_column(Text(name), justify="right" if numeric else "left", overflow="fold")
    for row in rows:
        made.add_row(*(Text(_cell(value)) for value in row))  # Text, because "[MASK]" is markup to rich otherwise
    return Group(Text(title, "bold"), made)


def emit(command: str, result: Mapping[str, Any], *shown: Any, as_json: bool, path: Path | str | None) -> None:
    """Report `result`: written to `path` (no file for None), and on stdout as JSON alone or as what is `shown`.

    The JSON starts with `"command": command`, by which `write_result` later knows the file for its own.
    """
    result = {"command": command, **result}
    if path is not None:
        write_result(Path(path), result)
    if as_json:
        print(_dumps(result), flush=True)
        return
    from rich.console import Console

    console = Console()
    for part in shown:
        console.print(part, markup=False, highlight=False, soft_wrap=isinstance(part, str))


def write_result(path: Path, result: Mapping[str, Any]) -> None:
    """Write `result` as JSON, beside its final name first. Replaces an older result, never another file."""
    check_result(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        beside.write_text(_dumps(result) + "\n", encoding="utf-8")
        os.replace(beside, path)
    finally:
        beside.unlink(missing_ok=True)


def check_result(path: Path) -> None:
    """Raise UserError where `path` is a file that is no result."""
    if path.exists() and not _is_result(path):
        raise UserError(
            f"{path} exists and is not a result of sesame; it is left as it is. Choose another place with --result."
        )


def _is_result(path: Path) -> bool:
    try:
        return "command" in json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, TypeError):
        return False


def _dumps(result: Mapping[str, Any]) -> str:
    return json.dumps(result, indent=2, ensure_ascii=False, default=_plain, allow_nan=False)


def _plain(value: Any) -> Any:
    """Numpy numbers and arrays, and paths, as JSON has them."""
    if isinstance(value, Path):
        return str(value)
    if hasattr(value, "tolist"):
        return value.tolist()
    raise TypeError(f"{type(value).__name__} has no place in a result")


def _cell(value: Any) -> str:
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:,.4g}" if abs(value) < 1000 else f"{value:,.0f}"
    return str(value)
