"""Documents from files, folders, globs, the hub and the Python installation, one at a time.

Bad input raises UserError with the file and the line; with `skip_bad` it is left out, counted and reported. A document
is held in memory, a corpus never is: what goes on for more than `LONGEST` bytes goes on as another document.
"""

import glob
import gzip
import hashlib
import re
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, Literal

import msgspec
from msgspec import Struct

from sesame.data import pydocs
from sesame.data.store import Skip
from sesame.errors import UserError, nearest

LONGEST = 8 << 20
"""Bytes after which a document is cut at the end of a line."""
_BLOCK = 1 << 20
_LINE = re.compile(rb"\n")
_BLANK = re.compile(
    rb"\n(?:[ \t\r\f\v]*\n)+(?=[ \t\r\f\v]*\S)"
)  # to the next text, so that none is cut short by a block
TRAIN = {"train", "training"}
AWAY = {"test", "testing", "t10k", "dev", "val", "valid", "validation", "eval", "evaluation"}
"""What the parts of a data set are called that are to be learned from, and those that are not."""
_ENDINGS = (".txt", ".jsonl", ".parquet", ".gz", ".zst")


class SourceOptions(Struct, frozen=True, kw_only=True):
    document: Literal["blank-line", "file"] = "blank-line"
    """In plain text: a blank line starts a new document, or a file is one document."""
    text_field: str = "text"
    """The field of JSON lines, the column of Parquet files and hub data sets that holds the text."""
    skip_bad: bool = False
    """Leave out what cannot be read, count and report it, instead of stopping."""


@dataclass(frozen=True, slots=True)
class Document:
    text: str
    source: int
    """Index into the sources."""
    where: str
    """File and line, or row."""


@dataclass
class Skips:
    """What was left out, and why; the first examples of each reason."""

    found: dict[str, tuple[int, list[str]]] = field(default_factory=dict)

    def add(self, reason: str, where: str) -> None:
        count, examples = self.found.get(reason, (0, []))
        self.found[reason] = (count + 1, examples if len(examples) >= 3 else [*examples, where])

    def report(self) -> dict[str, Skip]:
        return {reason: Skip(count, tuple(examples)) for reason, (count, examples) in sorted(self.found.items())}


Bad = Callable[[str, str], None]
"""Called with a reason and a message: raises, or counts."""


def documents(sources: Sequence[str], options: SourceOptions, skips: Skips) -> Iterator[Document]:
    """Every document of every source, in order. What has no text is skipped and counted in `skips`."""

    bad = judge(options.skip_bad, skips)
    for number, source in enumerate(sources):
        for text, where in _read_source(source, options, bad, skips):
            if text.strip():
                yield Document(text, number, where)
            else:
                skips.add("empty document", where)


def judge(skip_bad: bool, skips: Skips, option: str = "--skip-bad") -> Bad:
    """What is done about bad input: an error, or with `skip_bad` a count."""

    def bad(reason: str, message: str) -> None:
        if not skip_bad:
            raise UserError(f"{message} Mend it, or pass {option} to leave such things out and count them.")
        skips.add(reason, message)

    return bad


def fingerprint(sources: Sequence[str]) -> list[Any]:
    """What the sources are, without reading them: the paths, sizes and times of files, the version of pydocs.

    Of a data set on the hub its name alone.
    """
    told: list[Any] = []
    for source in sources:
        told.append(source)
        if _is_pydocs(source):
            package = source.partition(":")[2]
            told += [pydocs.version(), *map(stamp, pydocs.files(package) if package else ())]
        elif source.startswith("hf:"):
            told += hub_stamps(source[3:])
        else:
            told += [stamp(path) for path in files(source, Skips()) if path.exists()]
    return told


def words_in(name: str) -> set[str]:
    """The words of the name of a file, a folder or a part, in lower case."""
    return set(re.split(r"[-_. /]", name.casefold()))


def stamp(path: Path) -> list[Any]:
    """What tells a file from another one, or from itself before it was changed, without reading it."""
    status = path.stat()
    return [str(path.resolve()), status.st_size, status.st_mtime_ns]


def hash_of_files(paths: Iterable[Path]) -> str:
    """Of what files hold, and all files in folders; what is not there is passed over."""
    digest = hashlib.blake2b(digest_size=16)
    for path in paths:
        if path.exists():
            for file in sorted(path.rglob("*")) if path.is_dir() else [path]:
                if file.is_file():
                    digest.update(f"{file.relative_to(path)} ".encode())
                    digest.update(file.read_bytes())
    return digest.hexdigest()


def hub_stamps(name: str) -> list[Any]:
    """Of the files of hf:NAME[/CONFIG], where that is a folder here."""
    return [stamp(path) for folder in hub_folders(name) for path in sorted(folder.rglob("*")) if path.is_file()]


def hub_folders(name: str) -> list[Path]:
    """The folder here that hf:NAME[/CONFIG] names; none where it is on the hub."""
    return [Path(dataset) for dataset, _ in _hub_names(name) if Path(dataset).is_dir()]


# ------------------------------------------------------------------------------------- what a source is
def _is_pydocs(source: str) -> bool:
    return source == "pydocs" or source.startswith("pydocs:")


def is_store(source: str | Path) -> bool:
    """Whether it is a folder that `sesame data prepare` made."""
    return all((Path(source).expanduser() / name).is_file() for name in ("store.json", "tokens.bin"))


def _read_source(source: str, options: SourceOptions, bad: Bad, skips: Skips) -> Iterator[tuple[str, str]]:
    if _is_pydocs(source):
        package = source.partition(":")[2]
        for name in () if package else pydocs.set_aside():
            skips.add("set aside for the dev and test examples of the pydocs tasks", f"pydocs {name}")
        yield from ((text, f"pydocs {name}") for name, text in pydocs.documents(package))
    elif source.startswith("hf:"):
        yield from _hub(source[3:], options, bad)
    else:
        if is_store(source):
            raise UserError(f"{source} is prepared already and no raw text. Train on it alone: --data {source}.")
        found = False
        for path in files(source, skips):
            found = True
            yield from _read_file(path, options, bad)
        if not found:
            bad("no such file", f"{source}: no such file, or nothing there ends in {', '.join(_ENDINGS)}.")


def files(source: str, skips: Skips, endings: Sequence[str] = _ENDINGS, kind: str = "text") -> Iterator[Path]:
    """The files of a path, a folder (sorted, with its folders) or a glob; a folder's other files are counted."""
    path = Path(source).expanduser()
    if path.is_dir():
        for file in sorted(p for p in path.rglob("*") if p.is_file()):
            if file.suffix.lower() in endings:
                yield file
            else:
                skips.add(f"not a kind of {kind} file", str(file))
    elif path.exists():
        yield path
    elif glob.has_magic(source):
        for name in sorted(glob.glob(str(path), recursive=True)):
            if Path(name).is_file():
                yield Path(name)


def _read_file(path: Path, options: SourceOptions, bad: Bad) -> Iterator[tuple[str, str]]:
    try:
        if path.suffix == ".parquet":
            yield from _parquet(path, options, bad)
            return
        if path.stat().st_size == 0:
            bad("empty file", f"{path}: the file is empty.")
            return
        blocks = _not_binary(_blocks(path), path)
        if ".jsonl" in path.suffixes[-2:]:
            yield from _jsonl(path, _cut(blocks, _LINE), options, bad)
        else:
            yield from _plain(path, _cut(blocks, _BLANK if options.document == "blank-line" else None), bad)
    except FileNotFoundError:
        bad("no such file", f"{path}: no such file.")
    except OSError as error:
        bad("unreadable file", f"{path}: cannot be read ({error.strerror or error}).")
    except Broken as error:
        bad("damaged file", f"{path}: {error}")


class Broken(Exception):
    """A file whose bytes are not what its name says."""


# --------------------------------------------------------------------------------------- bytes, in blocks
def _blocks(path: Path) -> Iterator[bytes]:
    """The uncompressed bytes of a file."""
    if path.suffix == ".gz":
        try:
            with gzip.open(path) as file:
                while block := file.read(_BLOCK):
                    yield block
        except EOFError:
            raise Broken("the gzip file is cut short; its end is missing.") from None
        except (gzip.BadGzipFile, zlib.error) as error:
            raise Broken(f"not a whole gzip file ({error}).") from None
    else:
        with open(path, "rb") as file:
            yield from _zstd(file) if path.suffix == ".zst" else iter(lambda: file.read(_BLOCK), b"")


def _zstd(file: BinaryIO) -> Iterator[bytes]:
    """Frame after frame; the library's own reader does not notice a missing end."""
    import zstandard

    frame, inside = zstandard.ZstdDecompressor().decompressobj(), False
    while compressed := file.read(_BLOCK >> 4):
        while compressed:
            try:
                block, inside = frame.decompress(compressed), True
            except zstandard.ZstdError as error:
                raise Broken(f"not a whole zstd file ({error}).") from None
            if block:
                yield block
            compressed = b""
            if frame.eof:
                compressed, inside = frame.unused_data, False
                frame = zstandard.ZstdDecompressor().decompressobj()
    if inside:
        raise Broken("the zstd file is cut short; its end is missing.")


def _not_binary(blocks: Iterator[bytes], path: Path) -> Iterator[bytes]:
    """The same blocks without a byte order mark; a NUL byte means that this is no text."""
    for number, block in enumerate(blocks):
        if number == 0:
            if block.startswith((b"\xff\xfe", b"\xfe\xff")):
                raise Broken("UTF-16 text; convert the file to UTF-8.")
            block = block.removeprefix(b"\xef\xbb\xbf")
        if b"\0" in block:
            raise Broken(f"binary, not text (a NUL byte in block {number + 1} of 1 MiB).")
        yield block


def _cut(blocks: Iterator[bytes], at: re.Pattern[bytes] | None) -> Iterator[tuple[int, bytes]]:
    """(first line's number, bytes) of the pieces that end where `at` does; of everything where it is None.

    Memory is one block and the longest piece. Text beyond LONGEST is cut at the end of a line, or of a word.
    """
    held, line = b"", 1
    for block in blocks:
        held += block
        end = 0
        for gap in at.finditer(held) if at else ():
            yield line, held[end : gap.end()]
            line += held.count(b"\n", end, gap.end())
            end = gap.end()
        held = held[end:]
        while len(held) > LONGEST and at is not _LINE:
            end = 1 + held.rfind(b"\n", 0, LONGEST) or 1 + held.rfind(b" ", 0, LONGEST)
            if not end:
                break  # no white space in so much text: it stays one document
            yield line, held[:end]
            line += held.count(b"\n", 0, end)
            held = held[end:]
    if held:
        yield line, held


# ------------------------------------------------------------------------------------------- file formats
def _plain(path: Path, pieces: Iterator[tuple[int, bytes]], bad: Bad) -> Iterator[tuple[str, str]]:
    empty = True
    for line, raw in pieces:
        if not raw.strip():
            continue  # blank lines before the first document
        empty = False
        text = _decoded(raw, path, line, bad)
        if text is not None:
            yield text, f"{path}:{line}"
    if empty:
        bad("empty file", f"{path}: the file has no text.")


def _decoded(raw: bytes, path: Path, line: int, bad: Bad) -> str | None:
    try:
        return raw.decode().replace("\r\n", "\n").strip()
    except UnicodeDecodeError as error:
        before = raw[: error.start]
        column = len(before[before.rfind(b"\n") + 1 :].decode()) + 1
        line += before.count(b"\n")
        bad("not UTF-8", f"{path}: line {line} is not UTF-8 (byte 0x{raw[error.start]:02x} at column {column}).")
        return None


def _jsonl(
    path: Path, lines: Iterator[tuple[int, bytes]], options: SourceOptions, bad: Bad
) -> Iterator[tuple[str, str]]:
    empty = True
    for line, raw in lines:
        if not raw.strip():
            continue
        empty = False
        try:
            record = msgspec.json.decode(raw)
        except msgspec.DecodeError as error:
            bad("malformed JSON line", f"{path}: line {line} is not JSON ({error}).")
            continue
        except UnicodeDecodeError:
            _decoded(raw, path, line, bad)
            continue
        text = record.get(options.text_field) if isinstance(record, dict) else None
        if isinstance(text, str):
            yield text, f"{path}:{line}"
        else:
            bad("no text in JSON line", f"{path}: line {line} {_lacks(options.text_field, record)}")
    if empty:
        bad("empty file", f"{path}: the file has no text.")


def _lacks(wanted: str, record: Any) -> str:
    if not isinstance(record, dict):
        return "is not a JSON object."
    if wanted in record:
        return f"has no string in the field {wanted!r}."
    return f"has no field {wanted!r}.{nearest(wanted, record)} Pass --text-field."


def _parquet(path: Path, options: SourceOptions, bad: Bad) -> Iterator[tuple[str, str]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as file:
            if options.text_field not in file.schema_arrow.names:
                names = file.schema_arrow.names
                hint = nearest(options.text_field, names)
                bad("no such column", f"{path}: has no column {options.text_field!r}.{hint} Pass --text-field.")
                return
            row = 0
            for batch in file.iter_batches(batch_size=256, columns=[options.text_field]):
                for text in batch.column(0).to_pylist():
                    row += 1
                    if text is None or isinstance(text, str):
                        yield text or "", f"{path}: row {row}"
                    else:
                        bad("no text in row", f"{path}: row {row} has no string in the column {options.text_field!r}.")
    except pa.ArrowException as error:
        raise Broken(f"not a whole Parquet file ({str(error).splitlines()[0]}).") from None


def _hub(name: str, options: SourceOptions, bad: Bad) -> Iterator[tuple[str, str]]:
    """Rows of the training split of NAME[/CONFIG] on the hub, or of a folder that is laid out like one there."""
    rows = open_hub(name, "train", "its .parquet, .jsonl or .txt files")
    for number, row in enumerate(rows, 1):
        text = row.get(options.text_field)
        if isinstance(text, str):
            yield text, f"hf:{name} row {number}"
        else:
            bad("no text in row", f"hf:{name}: row {number} {_lacks(options.text_field, row)}")


def open_hub(name: str, split: str | None, instead: str) -> Any:
    """A split of NAME[/CONFIG] on the hub, as rows that are fetched while they are read; None: all splits, by name.

    Raises UserError where it cannot be opened; `instead` says what else can be given.
    """
    try:
        from datasets import load_dataset
    except ImportError:
        raise UserError(
            f"hf:{name}: reading data sets from the hub needs the `datasets` package. "
            f'Install it (pip install "sesame-ssl[hub]"), or give local files.'
        ) from None
    problem = ""
    for dataset, config in _hub_names(name):
        try:
            return load_dataset(dataset, config, split=split, streaming=True)
        except Exception as error:  # the library raises whatever its readers and its network layer raise
            problem = f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else 'no reason given'}"
    raise UserError(
        f"hf:{name}: the data set could not be opened ({problem}). Check the name and the connection, "
        f"or download it elsewhere and give {instead}."
    )


def _hub_names(name: str) -> Iterator[tuple[str, str | None]]:
    """What NAME[/CONFIG] may mean, most likely first: names on the hub may themselves hold one slash."""
    if Path(name).expanduser().is_dir():
        yield str(Path(name).expanduser()), None
        return
    first, _, last = name.rpartition("/")
    if Path(first).expanduser().is_dir() and first:
        yield str(Path(first).expanduser()), last
    elif name.count("/") >= 2:
        yield first, last
    else:
        yield name, None
        if first:
            yield first, last
