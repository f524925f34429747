"""The images of a source as bytes of one size, decoded once and memory-mapped: a folder named by what made it.

pixels.bin   uint8 [image, channel, size, size]
keys.npy     uint64 [image], hash of each one's content
labels.npy   int64 [image], index into the names; absent where the source has no labels
images.json  ImagesInfo
"""

import hashlib
import json
import logging
import os
import shutil
import tempfile
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from jaxtyping import Bool, Int, UInt8, UInt64
from msgspec import Struct

from sesame.config import ImageData
from sesame.data.decoding import LARGE, decoded
from sesame.data.image_sources import KINDS, fingerprint, raw_images
from sesame.data.kept import cache_folder
from sesame.data.sources import Skips, judge
from sesame.data.store import Skip
from sesame.errors import UserError

log = logging.getLogger(__name__)
VERSION = 3


class ImagesInfo(Struct, frozen=True, kw_only=True):
    """What `images.json` says."""

    version: int
    source: str
    images: int
    channels: int
    size: int
    names: tuple[str, ...]
    """Of the labels; empty where there are none."""
    greys: int
    """Images without colour that were given three equal channels."""
    skipped: dict[str, Skip]


@dataclass(frozen=True)
class Images:
    pixels: UInt8[np.ndarray, "image channel height width"]
    key: UInt64[np.ndarray, " image"]
    label: Int[np.ndarray, " image"] | None
    names: tuple[str, ...]
    skipped: dict[str, Skip]
    places: Path | None = None
    """The file that says where each was found; None of built-in ones."""

    def where(self) -> list[str]:
        """The place of each image, as messages say it: its file, its name in an archive, its number in an array."""
        if self.places is None:
            return [str(number) for number in range(len(self.key))]
        return self.places.read_bytes().decode("utf-8", "surrogateescape").split("\0")


def open_images(c: ImageData) -> Images:
    """The images of a source other than the built-in ones, from the cache, into which they are decoded where needed."""
    folder = _cache(c) / _digest(c)
    if not (folder / "images.json").is_file():
        _build(c, folder)
    info = msgspec.json.decode((folder / "images.json").read_bytes(), type=ImagesInfo)
    _tell(info)
    shape = (info.images, info.channels, info.size, info.size)
    file = folder / "pixels.bin"
    if file.stat().st_size != int(np.prod(shape)):
        raise UserError(f"{file} is cut short. Delete {folder}; it is made again.")
    pixels = np.asarray(np.memmap(file, np.uint8, "r", shape=shape))
    labels = folder / "labels.npy"
    label = np.load(labels) if labels.exists() else None
    return Images(pixels, np.load(folder / "keys.npy"), label, info.names, info.skipped, folder / "places")


def _tell(info: ImagesInfo) -> None:
    for reason, skip in info.skipped.items():
        log.warning("%s: skipped %d (%s): %s", info.source, skip.count, reason, "; ".join(skip.examples))
    kinds = f"{len(info.names)} classes" if info.names else "no labels"
    log.info("%s: %d images of %dx%dx%d, %s", info.source, info.images, info.channels, info.size, info.size, kinds)
    if info.greys:
        log.info("%s: %d images are grey and have three equal channels", info.source, info.greys)


def _cache(c: ImageData) -> Path:
    return Path(c.cache).expanduser() if c.cache else cache_folder() / "images"


def _digest(c: ImageData) -> str:
    """Of the files, by path, size and time, and of every setting that changes the bytes."""
    told: list[Any] = [VERSION, LARGE, fingerprint(c), c.size, c.channels]
    told += [c.image_field, c.label_field, c.skip_bad]
    return hashlib.blake2b(json.dumps(told).encode(), digest_size=12).hexdigest()


def _build(c: ImageData, folder: Path) -> None:
    """Decode into a folder beside the final one, which takes its place when it is whole."""
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        partial = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    except OSError as error:
        raise UserError(
            f"{folder.parent}: decoded images cannot be kept there ({error.strerror}). Name a folder with --data.cache."
        ) from None
    try:
        _write(c, partial)
        try:
            partial.rename(folder)
        except OSError:
            if not (folder / "images.json").is_file():  # else another process was as quick, with the same bytes
                raise
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _write(c: ImageData, folder: Path) -> None:
    skips = Skips()
    bad = judge(c.skip_bad, skips, "--data.skip-bad")
    keys: list[np.ndarray] = []
    labels: list[int | str | None] = []
    places: list[str] = []
    told, some, greys = 0, False, 0
    size, channels, batches = decoded(raw_images(c, bad, skips), c.size, c.channels)
    with closing(batches), open(folder / "pixels.bin", "wb") as file:
        for batch in batches:
            for reason, message in batch.bad:
                bad(reason, message)
            labels += (label for label, _ in batch.raws)
            places += (where for _, where in batch.raws)
            some |= any(label is not None for label, _ in batch.raws)
            if some:  # the first images may be those without
                for label, where in zip(labels[told:], places[told:], strict=True):
                    if label is None:
                        bad("label missing", f"{where}: has no label, and other images of the source have one.")
                told = len(labels)
            file.write(batch.pixels.tobytes())
            keys.append(batch.keys)
            greys += batch.greys
    if not labels:
        raise UserError(f"{c.source}: no image was found. Give {KINDS}.")
    key = np.concatenate(keys)
    names: tuple[str, ...] = ()
    if some:
        kept = np.array([label is not None for label in labels])
        _drop(folder / "pixels.bin", ~kept)
        places = [where for label, where in zip(labels, places, strict=True) if label is not None]
        key, labels = key[kept], [label for label in labels if label is not None]
        if len({type(label) for label in labels}) > 1:
            labels = [str(label) for label in labels]
        found, index = np.unique(np.array(labels), return_inverse=True)
        names = tuple(str(name) for name in found)
        np.save(folder / "labels.npy", index.astype(np.int64))
    np.save(folder / "keys.npy", key)
    (folder / "places").write_bytes("\0".join(places).encode("utf-8", "surrogateescape"))
    info = ImagesInfo(
        version=VERSION, source=c.source, images=len(labels), channels=channels, size=size, names=names, greys=greys,
        skipped=skips.report(),
    )  # fmt: skip
    (folder / "images.json").write_bytes(msgspec.json.format(msgspec.json.encode(info), indent=2) + b"\n")


def _drop(file: Path, gone: Bool[np.ndarray, " image"]) -> None:
    """Take images out of a file of pixels, in place."""
    if not gone.any():
        return
    pixels = np.memmap(file, np.uint8, "r+", shape=(len(gone), file.stat().st_size // len(gone)))
    kept = np.flatnonzero(~gone)
    for to, place in enumerate(kept.tolist()):
        pixels[to] = pixels[place]
    pixels.flush()
    os.truncate(file, len(kept) * pixels.shape[1])
