"""Images from folders, archives, tables and the hub, one at a time and not yet decoded; from arrays as their pixels.

Bad input raises UserError with the file and what is wrong with it; with `skip_bad` it is left out, counted, reported.
"""

import io
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath, PurePosixPath
from typing import Any

import msgspec
import numpy as np

from sesame.config import ImageData
from sesame.data import pixel_files
from sesame.data.sources import AWAY, TRAIN, Bad, Broken, Skips, files, hub_stamps, open_hub, stamp, words_in
from sesame.errors import UserError, nearest

ENDINGS = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm", ".pgm")
_ASIDE = {"__MACOSX", "@eaDir"}
"""Folders in which systems keep images of their own beside those of others."""
KINDS = "a folder or a .zip of images, .npz, .npy, IDX (-ubyte), CIFAR's .bin, .parquet, hf:NAME or digits"


@dataclass(frozen=True, slots=True)
class Raw:
    """One image as it was found."""

    data: bytes | Path | np.ndarray
    """The file's bytes, or where it is; or pixels, [height, width] or [height, width, channel]."""
    label: int | str | None
    where: str


def raw_images(c: ImageData, bad: Bad, skips: Skips) -> Iterator[Raw]:
    """Every image of the source, in order."""
    path = Path(c.source).expanduser()
    try:
        if c.source.startswith("hf:"):
            yield from _hub(c, bad)
        elif path.is_dir():
            yield from _folder(path, c, bad, skips)
        elif path.suffix.lower() == ".zip":
            yield from _zip(path, bad, skips)
        elif path.suffix.lower() == ".parquet":
            for file in files(c.source, skips):
                yield from _parquet(file, c, bad)
        elif pixel_files.is_one(path):
            yield from _pixels(path)
        elif path.exists():
            raise UserError(f"{path}: no kind of image source that is known. Give {KINDS}.")
        else:
            raise UserError(f"{c.source!r}: no such image source. Give {KINDS}.{_hint(c.source)}")
    except Broken as error:
        bad("damaged file", f"{path}: {error}")
    except OSError as error:
        bad("unreadable file", f"{path}: cannot be read ({error.strerror or error}).")


def _hint(word: str) -> str:
    return nearest(word, ["digits"]) if "/" not in word and "." not in word else ""


def fingerprint(c: ImageData) -> list[Any]:
    """What the source is, without reading it: the paths, sizes and times of its files."""
    if c.source.startswith("hf:"):
        return [c.source, *hub_stamps(c.source[3:])]
    path = Path(c.source).expanduser()
    found = [p for p in sorted(path.rglob("*")) if p.is_file()] if path.is_dir() else [*files(c.source, Skips())]
    with_labels = [*found, *(label for p in found if (label := pixel_files.labels_beside(p)) is not None)]
    return [stamp(p) for p in with_labels if p.exists()]


# ---------------------------------------------------------------------------------------------- folders
def _folder(folder: Path, c: ImageData, bad: Bad, skips: Skips) -> Iterator[Raw]:
    if (layout := pixel_files.in_folder(folder)) is not None:
        for path in layout:
            yield from _pixels(path)
        return
    if tables := list(_in_sight(sorted(folder.rglob("*.parquet")), folder, skips)):
        _refuse_parts(folder, tables)
        for table in tables:
            yield from _parquet(table, c, bad)
        return
    found = list(_in_sight(files(str(folder), skips, ENDINGS, "image"), folder, skips))
    if not found and (
        packed := sorted(p.name for p in folder.iterdir() if pixel_files.is_one(p) or p.suffix == ".zip")
    ):
        raise UserError(f"{folder} holds {', '.join(packed)}. Give one of these.")
    labels = _labels([PurePosixPath(p.relative_to(folder).as_posix()) for p in found], str(folder), bad)
    yield from (Raw(path, label, str(path)) for path, label in zip(found, labels, strict=True))


def _in_sight(paths: Iterable[Path], folder: Path, skips: Skips) -> Iterator[Path]:
    """Those that are not hidden below the folder, and that no system put there; the others are counted."""
    for path in paths:
        if _hidden(path.relative_to(folder)):
            skips.add(_HIDDEN, str(path))
        else:
            yield path


_HIDDEN = "hidden, or put there by a system"


def _hidden(path: PurePath) -> bool:
    return any(part.startswith(".") or part in _ASIDE for part in path.parts)


def _refuse_parts(folder: Path, tables: Sequence[Path]) -> None:
    """Raise UserError where names of tables, or of folders around them, tell training from test data."""
    names = [table.relative_to(folder) for table in tables]
    both = [[name for name in names if words_in(name.as_posix()) & kind] for kind in (AWAY, TRAIN)]
    if all(both):
        raise UserError(
            f"{folder} holds {both[0][0]} and {both[1][0]}, which are parts of one data set. Give one part: its "
            f"folder, or its names as 'train*.parquet'; hf:{folder} is the training part."
        )


def _zip(path: Path, bad: Bad, skips: Skips) -> Iterator[Raw]:
    """The same folder, packed."""
    try:
        with zipfile.ZipFile(path) as archive:
            found = []
            for name in sorted(n for n in archive.namelist() if not n.endswith("/")):
                if PurePosixPath(name).suffix.lower() not in ENDINGS:
                    skips.add("not a kind of image file", f"{path}: {name}")
                elif _hidden(PurePosixPath(name)):
                    skips.add(_HIDDEN, f"{path}: {name}")
                else:
                    found.append(name)
            labels = _labels([PurePosixPath(name) for name in found], str(path), bad)
            for name, label in zip(found, labels, strict=True):
                try:
                    data = archive.read(name)
                except (zipfile.BadZipFile, RuntimeError, NotImplementedError, EOFError) as error:
                    bad("damaged file", f"{path}: {name} cannot be unpacked ({error}).")
                    continue
                yield Raw(data, label, f"{path}: {name}")
    except zipfile.BadZipFile as error:
        raise Broken(f"not a whole .zip file ({error}).") from None


def _labels(paths: Sequence[PurePosixPath], source: str, bad: Bad) -> list[str | None]:
    """What each image's folder is called, below the one that they all share; None for all in one folder alone."""
    parents = [path.parent.parts for path in paths]
    shared = 0
    while parents and all(len(p) > shared and p[shared] == parents[0][shared] for p in parents):
        shared += 1
    if not any(len(p) > shared for p in parents):
        return [None] * len(paths)
    tops = {p[shared] for p in parents if len(p) > shared}
    parts = {top for top in tops if top.casefold() in TRAIN | AWAY}
    both = all(any(part.casefold() in kind for part in parts) for kind in (TRAIN, AWAY))
    if both or tops == parts:  # one alone among others is a class: a train, as in CIFAR-100
        raise UserError(f"{source} holds {', '.join(sorted(parts))}, which are no classes. Give one of these folders.")
    return ["/".join(p[shared:]) or None for p in parents]


# ------------------------------------------------------------------------------------- arrays and tables
def _pixels(path: Path) -> Iterator[Raw]:
    pixels, label = pixel_files.read(path)
    for i, image in enumerate(pixels):
        told = None if label is None else label[i]
        yield Raw(image, told if told is None or isinstance(told, str) else int(told), f"{path}: image {i + 1}")


def _parquet(path: Path, c: ImageData, bad: Bad) -> Iterator[Raw]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as file:
            names = file.schema_arrow.names
            if c.image_field not in names:
                hint = nearest(c.image_field, names)
                bad("no such column", f"{path}: has no column {c.image_field!r}.{hint} Pass --data.image-field.")
                return
            classes = _classes(file.schema_arrow.metadata, c.label_field)
            columns = [c.image_field, *([c.label_field] if c.label_field in names else [])]
            row = 0
            for batch in file.iter_batches(batch_size=256, columns=columns):
                for record in batch.to_pylist():
                    row += 1
                    yield from _record(record, c, classes, f"{path}: row {row}", bad)
    except pa.ArrowException as error:
        raise Broken(f"not a whole Parquet file ({str(error).splitlines()[0]}).") from None


def _classes(metadata: dict[bytes, bytes] | None, label_field: str) -> Sequence[str]:
    """The names of the classes, which the `datasets` library keeps beside the table."""
    try:
        told = msgspec.json.decode((metadata or {})[b"huggingface"])
        return tuple(told["info"]["features"][label_field]["names"])
    except (KeyError, TypeError, msgspec.DecodeError):
        return ()


def _record(record: dict[str, Any], c: ImageData, classes: Sequence[str], where: str, bad: Bad) -> Iterator[Raw]:
    image, label = record.get(c.image_field), record.get(c.label_field)
    data = image.get("bytes") if isinstance(image, dict) else image
    if not isinstance(data, bytes):
        bad("no image in row", f"{where} has no image's bytes in the column {c.image_field!r}.")
        return
    if isinstance(label, int) and 0 <= label < len(classes):
        label = classes[label]
    yield Raw(data, label if isinstance(label, int | str) else None, where)


def _hub(c: ImageData, bad: Bad) -> Iterator[Raw]:
    name = c.source[3:]
    rows = open_hub(name, "train", "its .parquet files, or a folder of images")
    features = rows.features or {}
    if c.image_field not in features:
        hint = nearest(c.image_field, features)
        raise UserError(f"hf:{name} has no column {c.image_field!r}.{hint} Pass --data.image-field.")
    from datasets import Image

    if isinstance(features[c.image_field], Image):
        rows = rows.cast_column(c.image_field, Image(decode=False))  # workers decode
    classes = tuple(getattr(features.get(c.label_field), "names", None) or ())
    for number, row in enumerate(rows, 1):
        yield from _record(row, c, classes, f"hf:{name}: row {number}", bad)


def opened(raw: Raw) -> Any:
    """Pillow's image, of which only the header has been read. Raises what Pillow raises."""
    from PIL import Image

    assert not isinstance(raw.data, np.ndarray)
    return Image.open(io.BytesIO(raw.data) if isinstance(raw.data, bytes) else raw.data)
