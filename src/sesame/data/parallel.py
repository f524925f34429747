"""Documents to what a store keeps of them: in this process while there is little text, then on all cores.

The parts come in the order of the documents and hold the same either way. Documents go to worker processes a few
batches ahead, so memory does not depend on how many there are.
"""

import hashlib
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from jaxtyping import Int, UInt8, UInt64
from tokenizers import Tokenizer

from sesame.data.encode import Encoder
from sesame.data.sources import Document
from sesame.data.tokenizer import Vocabulary
from sesame.processes import here_or_on_all_cores

BATCH = 1 << 19
"""Characters encoded at a time."""
ALONE = 8
"""Batches that one process encodes as fast as workers are started."""


@dataclass(frozen=True)
class Part:
    """What a store keeps of a batch of documents, one after the other. Those without any token are left out."""

    ids: Int[np.ndarray, " token"]
    flags: UInt8[np.ndarray, " token"]
    lengths: Int[np.ndarray, " document"]
    """Tokens in each document."""
    keys: UInt64[np.ndarray, " document"]
    """What `document_key` says of each."""
    source: Int[np.ndarray, " document"]
    """Index into the sources."""
    characters: Int[np.ndarray, " document"]
    bytes: int
    """Of text, in UTF-8."""
    no_token: tuple[str, ...]
    """Where the documents without any token are."""


def document_key(text: bytes) -> int:
    """64 bits of a hash of the text in UTF-8: a document's identity."""
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "little")


def parts(documents: Iterable[Document], vocabulary: Vocabulary) -> Generator[Part]:
    """`documents`, encoded. UserError where the operating system ends a worker.

    Close the generator when it is left early: that ends its workers.
    """
    make = partial(_encoding, vocabulary.tokenizer.to_str(), vocabulary.special)
    hint = "Nothing was written. Free some, or use fewer cores (taskset -c 0 sesame …), and try again."
    yield from here_or_on_all_cores(
        _batches(documents), lambda: partial(_part, Encoder(vocabulary)), make, ALONE, "encoding text", hint
    )


def _batches(documents: Iterable[Document]) -> Iterator[list[Document]]:
    """Documents of about BATCH characters together."""
    batch: list[Document] = []
    characters = 0
    for document in documents:
        batch.append(document)
        characters += len(document.text)
        if characters >= BATCH:
            yield batch
            batch, characters = [], 0
    if batch:
        yield batch


def _part(encoder: Encoder, batch: Sequence[Document]) -> Part:
    encoded = encoder([document.text for document in batch])
    kept = [document for document, length in zip(batch, encoded.lengths, strict=True) if length]
    raw = [document.text.encode() for document in kept]
    return Part(
        encoded.ids,
        encoded.flags,
        encoded.lengths[encoded.lengths > 0],
        keys=np.array([document_key(text) for text in raw], np.uint64),
        source=np.array([document.source for document in kept], np.int64),
        characters=np.array([len(document.text) for document in kept], np.int64),
        bytes=sum(map(len, raw)),
        no_token=tuple(d.where for d, length in zip(batch, encoded.lengths, strict=True) if not length),
    )


def _encoding(tokenizer: str, special: dict[str, str]) -> Callable[[Sequence[Document]], Part]:
    return partial(_part, Encoder(Vocabulary(Tokenizer.from_str(tokenizer), special)))
