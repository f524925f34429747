"""Labelled texts in tables: TSV, CSV and JSON lines, also gzipped. Read with the line of every example, and written.

TSV has a header and no quoting, as GLUE's files have it: a text may hold any character but a tab and a line end. CSV
has a header and standard quoting (RFC 4180), so a text may hold line ends. All files are UTF-8.
"""

import csv
import io
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from sesame import config
from sesame.errors import UserError, nearest
from sesame.tasks import files
from sesame.tasks.base import Notes

LONGEST = 2**31 - 1
"""Characters that a field of a CSV file may have; `csv` by itself refuses texts of more than 131,072."""
_NOT_UTF8 = re.compile("[\udc80-\udcff]")
"""What `surrogateescape` makes of bytes that are not UTF-8; valid UTF-8 never decodes to these."""


@dataclass(frozen=True)
class TextExample:
    """A text, or a pair of texts, and what is known of it."""

    key: str
    """From the key column, or the number of the line (CSV: of the row's first line)."""
    where: str
    """`file:line`."""
    text: str
    pair: str | None = None
    label: str | None = None
    row: Mapping[str, Any] = field(default_factory=dict, compare=False, repr=False)
    """All columns of its row as they stand in the file, to be written again; empty of what comes from no file."""


# ------------------------------------------------------------------------------------------- reading
def read(columns: config.Table, path: Path, notes: Notes, labelled: bool = True) -> list[TextExample]:
    """The examples of one file, in its order. `labelled=False`: the label's column may be missing or empty.

    A faulty row goes to `notes`. Raises UserError where the file as a whole cannot be read, lacks a column, or has no
    examples.
    """
    kind = _kind(path)
    lines = _lines(path)
    header, rows = _FORMATS[kind](path, lines)
    needed = [name for name in (columns.text, columns.pair, columns.key, columns.label if labelled else "") if name]
    if header is not None:
        _check_header(path, header, lines, needed, columns)
    examples: list[TextExample] = []
    lines_of_keys: dict[str, int] = {}
    for row in rows:
        try:
            _check_utf8(row, lines)
            example = _example(_record(row, header), f"{path}:{row.first}", columns, labelled)
            earlier = lines_of_keys.setdefault(example.key, row.first)
            if earlier != row.first:
                raise _Fault(
                    "duplicate key",
                    f"the key {example.key!r} stands in line {earlier} already. Give every row a key of its own.",
                )
        except _Fault as fault:
            notes.fault(f"{path}:{fault.line or row.first}", fault.reason, str(fault))
        else:
            examples.append(example)
    if not examples:
        raise UserError(f"{path}: the file has no {'usable ' if notes.skip else ''}examples.")
    return examples


class _Fault(Exception):
    """A row that is no example."""

    def __init__(self, reason: str, message: str, line: int = 0):
        super().__init__(message)
        self.reason, self.line = reason, line


@dataclass(frozen=True)
class _Row:
    """A row as the file has it: fields in order, or a line of JSON."""

    first: int
    last: int
    """Its lines, from 1."""
    raw: list[str] | str


def _example(record: Mapping[str, Any], where: str, columns: config.Table, labelled: bool) -> TextExample:
    label = _field(record, columns.label).strip() if labelled or record.get(columns.label) is not None else ""
    if labelled and not label:
        raise _Fault("no label", f"the column {columns.label!r} is empty. Give the row a label, or leave it out.")
    key = _field(record, columns.key) if columns.key else where.rpartition(":")[2]
    if not key.strip():
        raise _Fault("no key", f"the column {columns.key!r} is empty. Give every row a key of its own.")
    return TextExample(
        key,
        where,
        _text(record, columns.text),
        _text(record, columns.pair) if columns.pair else None,
        label or None,
        record,
    )


def _text(record: Mapping[str, Any], column: str) -> str:
    text = _present(record, column)
    if not isinstance(text, str):
        raise _Fault("no text", f"the field {column!r} holds {text!r}, not a text. Write it in quotes.")
    if not text.strip():
        raise _Fault("empty text", f"the text in {column!r} is empty. Leave the row out.")
    return text


def _field(record: Mapping[str, Any], column: str) -> str:
    """A label or a key: JSON may write it as a text, a number, true or false."""
    value = _present(record, column)
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()  # as JSON has it
    if isinstance(value, float) and value.is_integer():
        return str(int(value))  # 1.0 is 1, in JSON as in Python
    if isinstance(value, str | int | float):
        return str(value)
    raise _Fault("not a plain value", f"the field {column!r} holds {value!r}. A text or a number was expected.")


def _present(record: Mapping[str, Any], column: str) -> Any:
    if column not in record:  # only JSON: the header of a table is checked before
        raise _Fault("no such field", f"there is no field {column!r}.{nearest(column, record)}")
    return record[column]


def _record(row: _Row, header: _Row | None) -> Mapping[str, Any]:
    if header is None:
        assert isinstance(row.raw, str)
        try:
            record = msgspec.json.decode(row.raw)
        except msgspec.DecodeError as error:
            raise _Fault("malformed JSON line", f"the line is not JSON ({error}).") from None
        if not isinstance(record, dict):
            raise _Fault("malformed JSON line", "the line is not a JSON object.")
        return record
    if len(row.raw) != len(header.raw):
        few = len(row.raw) < len(header.raw)
        raise _Fault(
            f"too {'few' if few else 'many'} columns",
            f"the row has {len(row.raw)} columns, and the header has {len(header.raw)}. "
            + ("Is a column missing?" if few else "Does a text hold a separator?"),
        )
    return dict(zip(header.raw, row.raw, strict=True))


def _check_header(path: Path, header: _Row, lines: list[str], needed: list[str], columns: config.Table) -> None:
    names, where = list(header.raw), f"{path}:{header.first}"
    try:
        _check_utf8(header, lines)
    except _Fault as fault:
        raise UserError(f"{path}:{fault.line}: {fault} Convert the file.") from None
    for name in needed:
        if name not in names:
            raise UserError(
                f"{where}: there is no column {name!r}.{nearest(name, names)} "
                "Name the columns of the text, the pair and the label."
            )
    for name in (*needed, columns.label):
        if names.count(name) > 1:
            raise UserError(f"{where}: the column {name!r} stands there {names.count(name)} times. Rename the others.")


def _check_utf8(row: _Row, lines: list[str]) -> None:
    for number in range(row.first, row.last + 1):
        if bad := _NOT_UTF8.search(lines[number - 1]):
            byte, column = ord(bad.group()) - 0xDC00, bad.start() + 1
            raise _Fault("not UTF-8", f"the line is not UTF-8 (byte 0x{byte:02x} at column {column}).", number)


# ------------------------------------------------------------------------------------------- formats
def _kind(path: Path) -> str:
    kind = (path.with_suffix("") if path.suffix == ".gz" else path).suffix.removeprefix(".")
    if kind not in _FORMATS:
        raise UserError(
            f"{path}: a table of texts is a .tsv, .csv or .jsonl file, or one of these with .gz at the end. "
            "Rename or convert the file."
        )
    return kind


def _lines(path: Path) -> list[str]:
    """The lines of a file without their ends; bytes that are not UTF-8 are kept as surrogates, for `_check_utf8`."""
    data = files.contents(path)
    if not data.strip():
        raise UserError(f"{path}: the file is empty.")
    if b"\0" in data:
        line = data.count(b"\n", 0, data.index(b"\0")) + 1
        raise UserError(f"{path}:{line}: there is a NUL byte, so this is not UTF-8 text. Convert the file.")
    return data.decode(errors="surrogateescape").split("\n")


def _tsv(path: Path, lines: list[str]) -> tuple[_Row, Iterator[_Row]]:
    """A blank line is a row like any other, but for those at the end of the file."""
    end = len(lines)
    while not lines[end - 1].strip("\r"):
        end -= 1
    rows = (_Row(n, n, line.removesuffix("\r").split("\t")) for n, line in enumerate(lines[:end], 1))
    return next(rows), rows


def _csv(path: Path, lines: list[str]) -> tuple[_Row, Iterator[_Row]]:
    """Blank lines between rows are none: a row of one empty text is written `""`."""
    csv.field_size_limit(LONGEST)
    reader = csv.reader((line + "\n" for line in lines), strict=True)

    def rows() -> Iterator[_Row]:
        first = 1
        try:
            for raw in reader:
                if raw:
                    yield _Row(first, reader.line_num, raw)
                first = reader.line_num + 1
        except csv.Error as error:
            # Where a quote went wrong nobody can tell where the next row starts, so this is no row to leave out.
            raise UserError(f"{path}:{first}: not valid CSV ({error}). Is a quote missing, or not doubled?") from None

    found = rows()
    return next(found), found


def _jsonl(path: Path, lines: list[str]) -> tuple[None, Iterator[_Row]]:
    return None, (_Row(number, number, line) for number, line in enumerate(lines, 1) if line.strip())


_FORMATS: dict[str, Callable[[Path, list[str]], tuple[_Row | None, Iterator[_Row]]]] = {
    "tsv": _tsv,
    "csv": _csv,
    "jsonl": _jsonl,
}


# ------------------------------------------------------------------------------------------- writing
def write(
    columns: config.Table, examples: Sequence[TextExample], added: Sequence[Mapping[str, str | float]], path: Path
) -> None:
    """A table of `examples` with the columns `added`, in the format that the name of `path` says.

    The rows are those that were read, unchanged. Of examples that come from no file they have the names that `columns`
    gives them, so `read` reads the file: a label that is not known is left empty (JSON: null), and there is no such
    column where no label is known. Raises UserError where a row has a column of an added one's name already, and for a
    text with a tab or a line end in a TSV file, which cannot hold it.
    """
    kind = _kind(path)
    labelled = any(example.label is not None for example in examples)
    records: list[dict[str, Any]] = []
    for example, more in zip(examples, added, strict=True):
        record = dict(example.row) or _row_of(example, columns, labelled)
        for name in more:
            if name in record:
                raise UserError(f"{example.where}: there is a column {name!r} already. Rename it, or leave it out.")
        records.append({**record, **more})
    if kind == "jsonl":
        written = b"".join(msgspec.json.encode(record) + b"\n" for record in records)
    else:
        names = list(dict.fromkeys(name for record in records for name in record))  # JSON lines may have fields apiece
        rows = [names, *([_cell(record.get(name)) for name in names] for record in records)]
        written = (_as_tsv(rows, path) if kind == "tsv" else _as_csv(rows)).encode()
    files.write(path, written)


def _row_of(example: TextExample, columns: config.Table, labelled: bool) -> dict[str, Any]:
    row: dict[str, Any] = {columns.key or "key": example.key, columns.text: example.text}
    if columns.pair:
        row[columns.pair] = example.pair
    if labelled:
        row[columns.label] = example.label
    return row


def _cell(value: Any) -> str:
    """What a table has for a value of JSON: a text as it is, null as nothing, all else as JSON writes it."""
    if value is None:
        return ""
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()


def _as_tsv(rows: list[list[str]], path: Path) -> str:
    for number, row in enumerate(rows, 1):
        if any(re.search(r"[\t\n\r]", value) for value in row):
            raise UserError(
                f"{path}:{number}: a text has a tab or a line end in it, which TSV cannot hold. "
                "Write a .csv or .jsonl file."
            )
    return "".join("\t".join(row) + "\n" for row in rows)


def _as_csv(rows: list[list[str]]) -> str:
    file = io.StringIO()
    csv.writer(file).writerows(rows)
    return file.getvalue()
