"""Documents to what a store keeps of them: in this process while there is little text, then on all cores.

The parts come in the order of the documents and hold the same either way. Documents go to worker processes a few
batches ahead, so memory does not depend on how many there are.
"""

import hashlib
import os
import pickle
import subprocess
import sys
import traceback
from collections import deque
from collections.abc import Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from itertools import chain, islice
from queue import SimpleQueue

import numpy as np
from jaxtyping import Int, UInt8, UInt64
from tokenizers import Tokenizer

from sesame.data.encode import Encoder
from sesame.data.sources import Document
from sesame.data.tokenizer import Vocabulary
from sesame.errors import UserError

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
    batches = _batches(documents)
    first = list(islice(batches, ALONE + 1))
    much, batches = len(first) > ALONE, chain(first, batches)
    del first
    if much and (cores := _cores()) > 1:
        yield from _on_all_cores(batches, vocabulary, cores)
    else:
        encoder = Encoder(vocabulary)
        yield from (_part(encoder, batch) for batch in batches)


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


# --------------------------------------------------------------------------------------------- workers
def _cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _on_all_cores(batches: Iterator[list[Document]], vocabulary: Vocabulary, cores: int) -> Generator[Part]:
    free: SimpleQueue[_Worker] = SimpleQueue()

    def encode(batch: list[Document]) -> Part:
        worker = free.get()
        try:
            return worker(batch)
        finally:
            free.put(worker)

    with ExitStack() as stack:
        threads = stack.enter_context(ThreadPoolExecutor(cores))  # they only wait for their workers
        for _ in range(cores):
            free.put(stack.enter_context(_Worker(vocabulary)))
        waiting: deque[Future[Part]] = deque()
        for batch in batches:
            waiting.append(threads.submit(encode, batch))
            if len(waiting) > 2 * cores:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


class _Worker:
    """Another Python process that encodes what it is sent.

    Unlike the standard library's pools it does not import the program that started it, which therefore needs no guard.
    Its input ends when this process does, however that ends, and so does the worker.
    """

    def __init__(self, vocabulary: Vocabulary):
        told = {"TOKENIZERS_PARALLELISM": "false", "PYTHONPATH": os.pathsep.join(map(os.path.abspath, sys.path))}
        self.process = subprocess.Popen(
            [sys.executable, "-P", "-c", f"from {__name__} import serve; serve()"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=os.environ | told,
            start_new_session=True,  # Ctrl-C is for the process that started it
        )
        assert self.process.stdin is not None and self.process.stdout is not None
        self.to, self.answers = self.process.stdin, self.process.stdout
        self.first: tuple[str, dict[str, str]] | None = (vocabulary.tokenizer.to_str(), vocabulary.special)

    def __enter__(self) -> "_Worker":
        return self

    def __call__(self, batch: list[Document]) -> Part:
        """The batch, encoded; raises what the worker raised, and UserError where it was ended from outside."""
        try:
            for told in (self.first, batch):
                if told is not None:
                    pickle.dump(told, self.to, pickle.HIGHEST_PROTOCOL)
            self.first = None
            self.to.flush()
            answer: Part | Exception = pickle.load(self.answers)
        except (BrokenPipeError, EOFError, pickle.UnpicklingError) as error:
            raise UserError(
                f"A process that was encoding text ended early (status {self.process.wait()}), probably because memory "
                f"ran out; nothing was written. Free some, or use fewer cores (taskset -c 0 sesame …), and try again."
            ) from error
        if isinstance(answer, Exception):
            raise answer
        return answer

    def __exit__(self, *error: object) -> None:
        self.process.kill()
        with suppress(BrokenPipeError):  # what it had not read yet
            self.to.close()
        self.answers.close()
        self.process.wait()


def serve() -> None:
    """A worker: reads the tokenizer and batches of documents from stdin, writes a Part for each batch to stdout."""
    asked, answers = sys.stdin.buffer, os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # nothing else may write among the answers
    try:
        tokenizer, special = pickle.load(asked)
        encoder = Encoder(Vocabulary(Tokenizer.from_str(tokenizer), special))
        while True:
            batch = pickle.load(asked)
            answer: Part | Exception
            try:
                answer = _part(encoder, batch)
            except Exception as error:
                error.add_note(traceback.format_exc())
                answer = error
            pickle.dump(answer, answers, pickle.HIGHEST_PROTOCOL)
            answers.flush()
    except (EOFError, pickle.UnpicklingError, BrokenPipeError):
        os._exit(0)  # whoever asked is gone, and with it whoever would read what is left to write
