"""The token store: text as ids, prepared once, memory-mapped, read by every text pretext task.

tokens.bin     uint16 (uint32 above 65,536 entries), every document after the other, no special tokens
flags.bin      uint8 a token: bit 0 a word starts, bit 1 a sentence starts
documents.npy  uint64 [n + 1], where each document starts in tokens.bin
keys.npy       uint64 [n], hash of each document's text
source.npy     uint16 [n], index into the sources
held_out.npy   bool [n]
store.json     StoreInfo
tokenizer/     opens in transformers.AutoTokenizer
"""

import hashlib
import os
import shutil
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO

import msgspec
import numpy as np
from jaxtyping import Bool, Int, UInt, UInt8, UInt16, UInt64
from msgspec import Struct

from sesame.data import chance
from sesame.data.tokenizer import Vocabulary
from sesame.errors import UserError

VERSION = 1
_COLUMNS = {"documents": np.uint64, "keys": np.uint64, "source": np.uint16, "held_out": np.bool_}


class Skip(Struct, frozen=True):
    """What was left out for one reason."""

    count: int
    examples: tuple[str, ...]


class SourceInfo(Struct, frozen=True):
    name: str
    documents: int
    tokens: int
    characters: int


class StoreInfo(Struct, frozen=True, kw_only=True):
    """What `store.json` says."""

    version: int
    hash: str
    """Changes when a document, the tokenizer or the split changes."""
    made_from: str
    """Hash of the sources' names, sizes and times and of the options: the same again is the same store."""
    documents: int
    held_out: int
    """Documents that training never sees."""
    tokens: int
    characters: int
    bytes: int
    """Of text, in UTF-8."""
    sentences: int
    unknown: int
    """Tokens that are the unknown token."""
    lengths: tuple[int, ...]
    """How many documents have 2**i up to 2**(i+1) - 1 tokens, for i = 0, 1, …"""
    sources: tuple[SourceInfo, ...]
    skipped: dict[str, Skip]
    vocabulary: str
    """Kind of tokenizer."""
    vocabulary_size: int
    vocabulary_hash: str

    @property
    def unknown_rate(self) -> float:
        return self.unknown / max(self.tokens, 1)


class TokenStore:
    """A prepared corpus. The arrays are memory-mapped and read-only."""

    def __init__(self, path: Path, info: StoreInfo, vocabulary: Vocabulary, arrays: dict[str, np.ndarray]):
        self.path = path
        self.info = info
        self.vocabulary = vocabulary
        self.ids: UInt[np.ndarray, " token"] = arrays["tokens"]
        self.flags: UInt8[np.ndarray, " token"] = arrays["flags"]
        self.offsets: UInt64[np.ndarray, " document1"] = arrays["documents"]
        self.keys: UInt64[np.ndarray, " document"] = arrays["keys"]
        self.source: UInt16[np.ndarray, " document"] = arrays["source"]
        self.held_out: Bool[np.ndarray, " document"] = arrays["held_out"]

    def __len__(self) -> int:
        """Documents."""
        return len(self.keys)

    @property
    def hash(self) -> str:
        return self.info.hash

    @property
    def source_names(self) -> tuple[str, ...]:
        return tuple(source.name for source in self.info.sources)

    @cached_property
    def lengths(self) -> Int[np.ndarray, " document"]:
        """Tokens in each document."""
        return np.diff(self.offsets).astype(np.int64)

    def trained_counts(self, size: int) -> Int[np.ndarray, " token"]:
        """How often each of `size` tokens occurs in the documents that are trained on."""
        counts = np.zeros(size, np.int64)
        for start in range(0, len(self.ids), 1 << 24):
            counts += np.bincount(self.ids[start : start + (1 << 24)], minlength=size)
        for document in np.flatnonzero(self.held_out):
            counts -= np.bincount(self.document(int(document)), minlength=size)
        return counts

    def inside(self, edge: Int[np.ndarray, " edge"]) -> Bool[np.ndarray, " edge"]:
        """Whether a document goes on before and after each place, or one ends there and the next begins."""
        edge = edge.astype(self.offsets.dtype)  # of one type, or the whole index is copied to compare
        return np.asarray(self.offsets[np.searchsorted(self.offsets, edge)] != edge)

    def document(self, index: int) -> UInt[np.ndarray, " token"]:
        """The ids of one document."""
        return self.ids[int(self.offsets[index]) : int(self.offsets[index + 1])]

    @classmethod
    def open(cls, path: str | Path) -> "TokenStore":
        """Open what `sesame data prepare` made. UserError for anything else, or when files are missing or cut short."""
        path = Path(path)
        info = read_info(path)
        vocabulary = Vocabulary.open(path / "tokenizer")
        if vocabulary.hash != info.vocabulary_hash:
            raise _damaged(path, "the tokenizer is not the one that the text was prepared with")
        arrays = {name: _map(path, f"{name}.npy", np.dtype(dtype)) for name, dtype in _COLUMNS.items()}
        arrays["tokens"] = _map(path, "tokens.bin", token_type(info.vocabulary_size))
        arrays["flags"] = _map(path, "flags.bin", np.dtype(np.uint8))
        for name, array in arrays.items():
            expected = {"tokens": info.tokens, "flags": info.tokens, "documents": info.documents + 1}
            if len(array) != expected.get(name, info.documents):
                wanted = expected.get(name, info.documents)
                raise _damaged(path, f"{name} has {len(array):,} entries, store.json says {wanted:,}")
        if int(arrays["documents"][-1]) != info.tokens:
            raise _damaged(path, f"the last document ends at token {int(arrays['documents'][-1]):,} of {info.tokens:,}")
        return cls(path, info, vocabulary, arrays)


def read_info(path: Path) -> StoreInfo:
    """`store.json` of a store, checked."""
    if not path.is_dir():
        raise UserError(f"{path}: no such token store. Make one with `sesame data prepare SOURCE… --out {path}`.")
    try:
        raw = (path / "store.json").read_bytes()
    except OSError as error:
        raise UserError(
            f"{path}: not a token store (no readable store.json). Give a folder that `sesame data prepare` made."
        ) from error
    try:
        version = msgspec.json.decode(raw)["version"]
        if version != VERSION:
            raise UserError(
                f"{path}: a token store of version {version}, this Sesame reads {VERSION}. Prepare it again."
            )
        return msgspec.json.decode(raw, type=StoreInfo)
    except (msgspec.MsgspecError, KeyError, TypeError) as error:
        raise _damaged(path, f"store.json cannot be read: {error}") from error


def _damaged(path: Path, what: str) -> UserError:
    return UserError(f"{path}: a damaged token store ({what}). Delete the folder and prepare it again.")


def _map(path: Path, name: str, dtype: np.dtype[Any]) -> np.ndarray:
    file = path / name
    try:
        if name.endswith(".npy"):
            array = np.load(file, mmap_mode="r", allow_pickle=False)
        else:
            if file.stat().st_size % dtype.itemsize:
                raise _damaged(path, f"{name} ends inside an entry")
            array = np.memmap(file, dtype, "r")
    except (OSError, ValueError, EOFError) as error:
        raise _damaged(path, f"{name}: {error}") from error
    if array.dtype != dtype or array.ndim != 1:
        raise _damaged(path, f"{name} holds {array.dtype}, expected {dtype}")
    return np.asarray(array)  # still mapped; slices of numpy's memmap class itself take three times as long


def token_type(vocabulary_size: int) -> np.dtype[Any]:
    """The smallest type that holds every id."""
    return np.dtype(np.uint16 if vocabulary_size <= 1 << 16 else np.uint32)


def is_held_out(keys: UInt64[np.ndarray, " document"], share: float) -> Bool[np.ndarray, " document"]:
    """Which documents training never sees: a choice by content alone. Equal texts stay on one side.

    Where chance holds out none of several texts, the one whose hash is lowest is.
    """
    number = chance.uniform("held-out", keys)
    held = number < share
    if share > 0 and not held.any() and len(np.unique(keys)) > 1:
        held = number == number.min()
    return held


class StoreWriter:
    """Writes a store beside its final name; `finish` puts it in place. Left early, it leaves nothing.

    Memory does not grow with the corpus: every column is appended to its file.
    """

    def __init__(self, path: Path, vocabulary: Vocabulary):
        self.path = path
        self.vocabulary = vocabulary
        self.folder = path.parent / f".{path.name}.{os.getpid()}.partial"
        self.tokens = 0
        self.documents = 0
        self._hash = hashlib.blake2b(vocabulary.hash.encode(), digest_size=16)

    def __enter__(self) -> "StoreWriter":
        self.path.parent.mkdir(parents=True, exist_ok=True)
        for left in self.path.parent.glob(f".{self.path.name}.*.partial"):
            if not _alive(int(left.suffixes[-2][1:])):
                shutil.rmtree(left, ignore_errors=True)
        self.folder.mkdir()
        self.vocabulary.save(self.folder / "tokenizer")
        self._files: dict[str, BinaryIO] = {}
        for name in ("tokens.bin", "flags.bin", *(f"{column}.npy" for column in _COLUMNS if column != "held_out")):
            self._files[name] = open(self.folder / name, "wb")
            if name.endswith(".npy"):
                _header(self._files[name], 0, _COLUMNS[name[:-4]])
        self._write("documents.npy", np.zeros(1, np.uint64))
        return self

    def append(
        self,
        ids: Int[np.ndarray, " token"],
        flags: UInt8[np.ndarray, " token"],
        lengths: Int[np.ndarray, " document"],
        keys: UInt64[np.ndarray, " document"],
        source: Int[np.ndarray, " document"],
    ) -> None:
        """Add documents, one after the other."""
        self._write("tokens.bin", ids.astype(token_type(self.vocabulary.size)))
        self._write("flags.bin", flags)
        self._write("documents.npy", (self.tokens + np.cumsum(lengths)).astype(np.uint64))
        self._write("keys.npy", keys)
        self._write("source.npy", source.astype(np.uint16))
        told = np.empty(len(keys), [("key", "<u8"), ("source", "<u2")])  # the same however documents are batched
        told["key"], told["source"] = keys, source
        self._hash.update(told.tobytes())
        self.tokens += len(ids)
        self.documents += len(keys)

    def finish(self, held_out: float, **counts: Any) -> StoreInfo:
        """Split documents off, write `store.json` with the `counts` of StoreInfo, and put the folder in its place."""
        for name, file in self._files.items():
            if name.endswith(".npy"):
                file.seek(0)
                _header(file, self.documents + (name == "documents.npy"), _COLUMNS[name[:-4]])
            file.close()
        held = is_held_out(np.load(self.folder / "keys.npy", mmap_mode="r")[:], held_out)
        np.save(self.folder / "held_out.npy", held)
        self._hash.update(str(held_out).encode())
        info = StoreInfo(
            version=VERSION,
            hash=self._hash.hexdigest(),
            documents=self.documents,
            held_out=int(held.sum()),
            tokens=self.tokens,
            vocabulary=self.vocabulary.kind,
            vocabulary_size=self.vocabulary.size,
            vocabulary_hash=self.vocabulary.hash,
            **counts,
        )
        text = msgspec.json.format(msgspec.json.encode(info), indent=2)
        (self.folder / "store.json").write_bytes(text + b"\n")
        for path in _all_files(self.folder):
            with open(path, "rb") as opened:
                os.fsync(opened.fileno())
        self.folder.rename(self.path)
        return info

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for file in self._files.values():
            file.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _write(self, name: str, array: np.ndarray) -> None:
        self._files[name].write(np.ascontiguousarray(array).data)


def _all_files(folder: Path) -> Iterator[Path]:
    return (path for path in folder.rglob("*") if path.is_file())


def _header(file: BinaryIO, count: int, dtype: type) -> None:
    """A .npy header; numpy pads it, so that it has one length whatever the count."""
    np.lib.format.write_array_header_1_0(
        file, {"shape": (count,), "fortran_order": False, "descr": np.dtype(dtype).str}
    )


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
