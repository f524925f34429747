"""Tables that users bring to a probe: two texts a row, and what groups the rows."""

import csv
import json
from collections.abc import Sequence
from pathlib import Path

from sesame.config import Classification
from sesame.errors import UserError, nearest
from sesame.tasks import tables
from sesame.tasks.base import Notes
from sesame.tasks.files import contents
from sesame.tasks.tables import TextExample


def read(path: Path, text: str, pair: str, groups: Sequence[str]) -> list[TextExample]:
    """The rows of a JSONL, TSV or CSV file (also .gz) with the fields `text` and `pair`, and `label` where the file has
    one of the fields `groups`: the first of them. UserError, with file and line, for a faulty file."""
    known = fields(path)
    for name in (text, pair):
        if known and name not in known:
            raise UserError(
                f"{path}:1: there is no field {name!r}, but {text} and {pair} are needed.{nearest(name, known)}"
            )
    label = next((name for name in groups if name in known), groups[0])
    return tables.read(Classification(text=text, pair=pair, label=label), path, Notes(), labelled=False)


def fields(path: Path) -> set[str]:
    """Those of the first line; empty where it is no JSON object, of which the reader says more."""
    first = contents(path).split(b"\n", 1)[0].decode(errors="replace").strip("\r")
    if ".csv" in path.suffixes:
        return set(next(csv.reader([first]), []))
    if ".jsonl" not in path.suffixes:
        return set(first.split("\t"))
    try:
        return set(dict(json.loads(first)))
    except (ValueError, TypeError):
        return set()
