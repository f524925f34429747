"""Manifests: a line an utterance, tab-separated under a header, or JSON. Paths are seen from the manifest's folder."""

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from sesame.data.sources import Bad
from sesame.data.utterance import Span, Utterance
from sesame.errors import UserError, nearest

SUFFIXES = (".tsv", ".jsonl")
PATHS = ("path", "file")
"""What the column with the path may be called."""


class _Fault(Exception):
    """A line that is no utterance."""


def read(path: Path, label: str, bad: Bad) -> Iterator[Utterance]:
    """The utterances of a manifest in its order; `label` names the column that is the label."""
    try:
        lines = path.read_bytes().splitlines()
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror or error}).") from None
    columns: set[str] = set()
    records = list((_jsonl if path.suffix == ".jsonl" else _tsv)(path, lines, bad))
    for _, record in records:
        columns.update(record)
    if records and not columns & set(PATHS):
        raise UserError(f"{path}: no column is called path; there are {', '.join(sorted(columns))}. Rename one.")
    if records and label != "label" and label not in columns:
        raise UserError(f"{path}: no column {label!r} (--data.label).{nearest(label, sorted(columns - set(PATHS)))}")
    for where, record in records:
        try:
            yield _utterance(path.parent, where, record, label)
        except _Fault as fault:
            bad("faulty line", f"{where}: {fault}")


def _tsv(path: Path, lines: list[bytes], bad: Bad) -> Iterator[tuple[str, dict[str, Any]]]:
    header: list[str] | None = None
    for number, line in enumerate(lines, 1):
        where = f"{path}:{number}"
        if not (text := _decoded(line, where, bad)):
            continue
        cells = text.split("\t")
        if header is None:
            header = cells
        elif len(cells) == len(header):
            yield where, dict(zip(header, cells, strict=True))
        else:
            bad("faulty line", f"{where}: {len(cells)} cells, and the header has {len(header)}. Separate them by tabs.")


def _jsonl(path: Path, lines: list[bytes], bad: Bad) -> Iterator[tuple[str, dict[str, Any]]]:
    for number, line in enumerate(lines, 1):
        where = f"{path}:{number}"
        if not (text := _decoded(line, where, bad)):
            continue
        try:
            record = json.loads(text)
        except json.JSONDecodeError as error:
            bad("faulty line", f"{where}: not JSON ({error.msg} at column {error.colno}).")
            continue
        if isinstance(record, dict):
            yield where, record
        else:
            bad("faulty line", f'{where}: not an object. Write {{"path": …}}.')


def _decoded(line: bytes, where: str, bad: Bad) -> str:
    try:
        return line.decode("utf-8-sig" if where.endswith(":1") else "utf-8").rstrip("\r\n")
    except UnicodeDecodeError as error:
        bad("faulty line", f"{where}: not UTF-8 (byte 0x{line[error.start]:02x}). Convert the file.")
        return ""


def _utterance(folder: Path, where: str, record: Mapping[str, Any], label: str) -> Utterance:
    name = next((record[key] for key in PATHS if record.get(key)), None)
    if not isinstance(name, str):
        raise _Fault("the path is missing.")
    start, end = _seconds(record, "start") or 0.0, _seconds(record, "end")
    if end is not None and end <= start:
        raise _Fault(f"it ends at {end:g} s, and begins at {start:g} s. An end comes after its start.")
    fields = {key: _text(value) for key, value in record.items() if not isinstance(value, list | dict)}
    return Utterance(
        path=folder / name,
        start=start,
        end=end,
        text=fields.get("text", ""),
        speaker=fields.get("speaker", ""),
        label=fields.get(label, ""),
        split=fields.get("split", ""),
        fields={key: value for key, value in fields.items() if key not in (*PATHS, "start", "end")},
        phones=_spans(record, "phones"),
        words=_spans(record, "words"),
        where=where,
    )


def _text(value: Any) -> str:
    return "" if value is None else str(value)


def _seconds(record: Mapping[str, Any], name: str) -> float | None:
    value = record.get(name)
    if value is None or value == "":
        return None
    if not isinstance(value, bool) and re.fullmatch(r"\d+(\.\d*)?([eE][+-]?\d+)?", str(value).strip()):
        return float(value)
    raise _Fault(f"{name} is {value!r}, and should be seconds: 1.25.")


def _spans(record: Mapping[str, Any], name: str) -> tuple[Span, ...]:
    try:
        return tuple(Span(str(what), float(start), float(end)) for what, start, end in record.get(name) or ())
    except (TypeError, ValueError):
        raise _Fault(f'{name} should be a list of ["name", start, end] in seconds.') from None
