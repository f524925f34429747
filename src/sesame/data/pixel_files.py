"""Files that hold pixels as they are: .npz and .npy, IDX (MNIST), CIFAR's binary layout."""

import gzip
import math
import re
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from sesame.data.sources import Broken

Labels = np.ndarray | Sequence[str] | None
_IDX = re.compile(r"-ubyte(\.gz)?$")


def is_one(path: Path) -> bool:
    """Whether the name is that of a file of pixels."""
    return path.suffix in (".npz", ".npy") or bool(_IDX.search(path.name)) or path.suffix == ".bin"


def in_folder(folder: Path) -> list[Path] | None:
    """The training files of a folder in MNIST's or CIFAR's layout; None for another folder."""
    names = {p.name: p for p in folder.iterdir()}
    for layout in (r"train-images.*-ubyte(\.gz)?$", r"data_batch_\d+\.bin$", r"train\.bin$"):
        if found := sorted(name for name in names if re.match(layout, name)):
            plain = [name for name in found if not name.endswith(".gz")]
            return [names[name] for name in plain or found]
    return None


def labels_beside(path: Path) -> Path | None:
    """The file with the labels of a file of pixels, where there is one."""
    if path.suffix == ".npy":
        beside = path.with_name(f"{path.stem}_labels.npy")
        return beside if beside.exists() else None
    if not _IDX.search(path.name) or "images" not in path.name:
        return None
    stem = _IDX.sub("", path.name.replace("images", "labels").replace("idx3", "idx1"))
    found = (path.with_name(f"{stem}-ubyte{ending}") for ending in ("", ".gz"))
    return next((beside for beside in found if beside.exists()), None)


def read(path: Path) -> tuple[np.ndarray, Labels]:
    """Pixels as bytes, [image, height, width(, channel)], and labels. Broken for anything else."""
    if path.suffix == ".npz":
        return _npz(path)
    if path.suffix == ".npy":
        beside = labels_beside(path)
        pixels = _bytes_of(_load(path), "the array")
        return pixels, None if beside is None else _told(_load(beside), len(pixels), beside.name)
    return _cifar(path) if path.suffix == ".bin" else _idx_pair(path)


# ------------------------------------------------------------------------------------------------ numpy
def _load(path: Path) -> Any:
    try:
        return np.load(path, mmap_mode="r" if path.suffix == ".npy" else None, allow_pickle=False)
    except (ValueError, EOFError, zlib.error) as error:
        raise Broken(f"not a whole numpy file ({error}).") from None
    except Exception as error:
        if type(error).__name__ == "BadZipFile":
            raise Broken(f"not a whole .npz file ({error}).") from None
        raise


def _npz(path: Path) -> tuple[np.ndarray, Labels]:
    """The array that is shaped like images, of several the one called train, and its labels."""
    with _load(path) as file:
        try:
            arrays = {name: file[name] for name in file.files}
        except (ValueError, EOFError, zlib.error) as error:
            raise Broken(f"not a whole .npz file ({error}).") from None
    shapes = ", ".join(f"{name} {array.dtype}{list(array.shape)}" for name, array in arrays.items())
    images = [name for name, array in arrays.items() if array.ndim in (3, 4)]
    chosen = images if len(images) == 1 else [name for name in images if "train" in name]
    if len(chosen) != 1:
        raise Broken(f"one array of images was expected, or one called train; it holds {shapes or 'nothing'}.")
    pixels, train = _bytes_of(arrays[chosen[0]], chosen[0]), "train" in chosen[0]
    labels = [
        name
        for name, array in arrays.items()
        if name not in images and array.size == len(pixels) == len(array) and ("train" in name) == train
    ]
    if len(labels) > 1:
        labels = [name for name in labels if name.rpartition("/")[2].startswith(("label", "y"))] or labels
    return pixels, _told(arrays[labels[0]], len(pixels), labels[0]) if labels else None


def _told(array: np.ndarray, count: int, name: str) -> Labels:
    if array.size != count:
        raise Broken(f"{name} holds {array.size:,} labels for {count:,} images.")
    flat = array.reshape(-1)
    if flat.dtype.kind == "U":
        return [str(label) for label in flat]
    if flat.dtype.kind not in "iu":
        raise Broken(f"{name} holds {array.dtype}; labels are whole numbers or strings.")
    return flat


def _bytes_of(array: np.ndarray, name: str) -> np.ndarray:
    if array.ndim not in (3, 4):
        raise Broken(f"{name} has the shape {list(array.shape)}; [image, height, width(, channel)] was expected.")
    if array.ndim == 4 and array.shape[-1] not in (1, 3, 4) and array.shape[1] in (1, 3, 4):
        array = array.transpose(0, 2, 3, 1)
    if array.ndim == 4 and array.shape[-1] not in (1, 3, 4):
        raise Broken(f"{name} has the shape {list(array.shape)}: images of 1 or 3 channels were expected.")
    if array.dtype == np.uint8:
        return array
    if array.dtype.kind == "f" and array.size and float(array.min()) >= 0.0 and float(array.max()) <= 1.0:
        return np.rint(array * 255.0).astype(np.uint8)
    if array.dtype.kind in "iu" and array.size and array.min() >= 0 and array.max() <= 255:
        return array.astype(np.uint8)
    between = f" from {array.min():g} to {array.max():g}" if array.size else ""
    raise Broken(f"{name} holds {array.dtype}{between}; pixels are bytes, or numbers from 0 to 1.")


# ------------------------------------------------------------------------------------------ IDX and CIFAR
def _raw(path: Path) -> bytes:
    try:
        return gzip.open(path).read() if path.suffix == ".gz" else path.read_bytes()
    except EOFError:
        raise Broken("the gzip file is cut short; its end is missing.") from None
    except (gzip.BadGzipFile, zlib.error) as error:
        raise Broken(f"not a whole gzip file ({error}).") from None


def _idx(path: Path) -> np.ndarray:
    """An array of bytes in LeCun's IDX format: 0, 0, type 8, number of axes, sizes as big-endian 32-bit, values."""
    raw = _raw(path)
    if len(raw) < 4 or raw[:3] != b"\0\0\x08":
        raise Broken(f"{path.name} is no IDX file of bytes (it begins with {raw[:4].hex()}, not 000008).")
    axes = raw[3]
    shape = [int.from_bytes(raw[4 + 4 * i : 8 + 4 * i], "big") for i in range(axes)]
    expected = 4 + 4 * axes + math.prod(shape)
    if len(raw) != expected:
        raise Broken(f"{path.name} has {len(raw):,} bytes; its header says {expected:,}.")
    return np.frombuffer(raw, np.uint8, offset=4 + 4 * axes).reshape(shape)


def _idx_pair(path: Path) -> tuple[np.ndarray, Labels]:
    pixels = _bytes_of(_idx(path), path.name)
    beside = labels_beside(path)
    return pixels, None if beside is None else _told(_idx(beside), len(pixels), beside.name)


def _cifar(path: Path) -> tuple[np.ndarray, Labels]:
    """Records of one label (CIFAR-10) or a coarse and a fine one (CIFAR-100) and 32x32 red, green, blue."""
    raw = _raw(path)
    hundred = path.name in ("train.bin", "test.bin")
    record = 3074 if hundred else 3073
    if not raw or len(raw) % record:
        raise Broken(f"{len(raw):,} bytes are no multiple of CIFAR-{100 if hundred else 10}'s {record:,} an image.")
    rows = np.frombuffer(raw, np.uint8).reshape(-1, record)
    label = rows[:, record - 3073].astype(np.int64)
    names = path.with_name("fine_label_names.txt" if hundred else "batches.meta.txt")
    pixels = rows[:, record - 3072 :].reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)
    if names.exists():
        known = [line.strip() for line in names.read_text().splitlines() if line.strip()]
        if label.max() < len(known):
            return pixels, [known[i] for i in label]
    return pixels, label
