"""The tables that measurements go into: `probes.parquet` (numbers) and `probe-items.parquet` (what they are means of).

Each is rewritten beside its name and renamed, so a reader sees the table before a measurement or after it. Rows of the
same (step, probe, source, form) replace those that were there: measuring again, or resuming, doubles nothing. A run
and a `sesame watch` beside it may write at the same time: each waits until the other is done.
"""

import fcntl
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import fields
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from sesame.errors import UserError
from sesame.probes.base import Answer, Item

VALUES, ITEMS = "probes.parquet", "probe-items.parquet"

_WHEN = [
    pa.field("step", pa.int64()),
    pa.field("tokens", pa.int64()),  # useful positions (images, frames) seen; -1 where it is not known
    pa.field("seconds", pa.float64()),  # of training until then; NaN where it is not known
    pa.field("probe", pa.string()),
    pa.field("source", pa.string()),
    pa.field("form", pa.string()),  # "live" or "full"
    pa.field("made_from", pa.string()),  # hash of the saved weights and files behind it; empty for live weights
]
VALUE_SCHEMA = pa.schema(
    [
        *_WHEN,
        pa.field("layer", pa.int32()),
        pa.field("group", pa.string()),
        pa.field("metric", pa.string()),
        pa.field("value", pa.float64()),
        pa.field("n", pa.int64()),
        pa.field("low", pa.float64()),
        pa.field("high", pa.float64()),
    ]
)
ITEM_SCHEMA = pa.schema(
    [
        *_WHEN,
        pa.field("metric", pa.string()),
        pa.field("key", pa.uint64()),
        pa.field("group", pa.string()),
        pa.field("right", pa.bool_()),
        pa.field("word", pa.string()),
        pa.field("text", pa.string()),
        pa.field("guesses", pa.list_(pa.struct([("token", pa.string()), ("probability", pa.float64())]))),
    ]
)
_SAME = ("step", "probe", "source", "form")

FULL, LIVE = "full", "live"
ENOUGH = 8
"""Measurements in full that make a curve by themselves, however many live ones there are."""


def form_of(full: int, live: int) -> str:
    """Which form a curve is made of, where it was measured in both, at so many steps each.

    The two ask different things, a few or many: a curve that went from one to the other would rise and fall by that.
    """
    return FULL if full and full >= min(live, ENOUGH) else LIVE


class Answers(NamedTuple):
    """One measurement, as rows of the two tables."""

    when: dict[str, Any]
    """Their first columns: step, tokens, seconds, probe, source, form, made_from."""
    values: pa.Table
    items: pa.Table


def rows_of(when: dict[str, Any], answers: Iterable[Answer]) -> Answers:
    """Answers as rows. Raises UserError, or what pyarrow raises, where something among them is no answer."""
    values: list[dict[str, Any]] = []
    items: list[dict[str, Any]] = []
    for answer in answers:
        if not isinstance(answer, Answer):
            raise UserError(f"it gave a {type(answer).__name__}. A probe yields `Value`s and `Item`s.")
        row = when | {field.name: getattr(answer, field.name) for field in fields(answer)}
        if isinstance(answer, Item):
            row["guesses"] = [{"token": token, "probability": p} for token, p in answer.guesses]
            items.append(row)
        else:
            values.append(row | {"value": float(answer.value)})
    return Answers(when, pa.Table.from_pylist(values, VALUE_SCHEMA), pa.Table.from_pylist(items, ITEM_SCHEMA))


class Tables:
    """The two tables in one folder."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.values, self.items = folder / VALUES, folder / ITEMS

    def write(self, answers: Answers) -> None:
        """Put one measurement in, in place of an earlier one of the same."""
        with _alone(self.folder):
            # The items first: what has its values is known to be complete.
            if len(answers.items) or self.items.exists():
                _replace(self.items, ITEM_SCHEMA, answers.when, answers.items)
            _replace(self.values, VALUE_SCHEMA, answers.when, answers.values)

    def forget_after(self, step: int) -> None:
        """Drop what was measured past `step`, where a run goes back to an older checkpoint."""
        with _alone(self.folder):
            for path, schema in ((self.values, VALUE_SCHEMA), (self.items, ITEM_SCHEMA)):
                table = read(path, schema)
                kept = table.filter(pc.less_equal(table["step"], step))
                if len(kept) < len(table):
                    _write(path, kept)

    def measured(self) -> set[tuple[int, str, str, str, str]]:
        """(step, probe, source, form, made_from) of what is there."""
        table = read(self.values, VALUE_SCHEMA).group_by([*_SAME, "made_from"]).aggregate([])
        return set(zip(*(table[name].to_pylist() for name in (*_SAME, "made_from")), strict=True))


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def read(path: Path, schema: pa.Schema) -> pa.Table:
    """The table at `path`; an empty one where there is none. UserError where it cannot be read."""
    if not path.exists():
        return schema.empty_table()
    try:
        return pq.read_table(path, schema=schema)
    except (pa.ArrowException, OSError) as error:
        raise UserError(f"{path} is damaged ({error}). Remove it and measure again: sesame watch RUN.") from None


def _replace(path: Path, schema: pa.Schema, when: dict[str, Any], rows: pa.Table) -> None:
    old = read(path, schema)
    same = None
    for name in _SAME:
        equal = pc.equal(old[name], pa.scalar(when[name], schema.field(name).type))
        same = equal if same is None else pc.and_(same, equal)
    _write(path, pa.concat_tables([old.filter(pc.invert(same)), rows]))


def _write(path: Path, table: pa.Table) -> None:
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        pq.write_table(table.combine_chunks(), beside, compression="zstd")
        os.replace(beside, path)
    finally:
        beside.unlink(missing_ok=True)
