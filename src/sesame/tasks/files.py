"""The bytes of a labelled file, whatever it is packed in: read, and written."""

import csv
import gzip
import io
import zlib
from collections.abc import Sequence
from pathlib import Path

from sesame.errors import UserError


def contents(path: Path) -> bytes:
    """What is in a file, uncompressed (.gz) and without a byte order mark. UserError where it cannot be had."""
    try:
        with gzip.open(path) if path.suffix == ".gz" else open(path, "rb") as file:
            found = file.read()
    except FileNotFoundError:
        raise UserError(f"{path}: no such file.") from None
    except EOFError:
        raise UserError(f"{path}: the gzip file is cut short; its end is missing.") from None
    except (gzip.BadGzipFile, zlib.error) as error:
        raise UserError(f"{path}: not a whole gzip file ({error}).") from None
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror or error}).") from None
    if found.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise UserError(f"{path}: UTF-16 text. Convert the file to UTF-8.")
    return found.removeprefix(b"\xef\xbb\xbf")


def write(path: Path, content: bytes) -> None:
    """Make `path` a file of these bytes, compressed where its name ends in .gz."""
    # Without the time of writing in it, the same predictions are the same file.
    path.write_bytes(gzip.compress(content, mtime=0) if path.suffix == ".gz" else content)


def write_rows(path: Path, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """A TSV file with a header."""
    table = io.StringIO()
    csv.writer(table, delimiter="\t", lineterminator="\n").writerows([columns, *rows])
    write(path, table.getvalue().encode("utf-8", "surrogateescape"))
