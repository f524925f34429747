"""A small token store, written directly: sentences of a made-up grammar, so that there is something to learn."""

from pathlib import Path

import numpy as np

from sesame.data import chance
from sesame.data.store import StoreWriter
from sesame.data.tokenizer import train

WORDS = {
    "subject": ["ada", "bea", "cleo", "dora", "eve", "fay"],
    "verb": ["sees", "finds", "likes", "draws", "takes"],
    "object": ["apples", "boats", "clouds", "doors", "eggs"],
}


def write_store(path: Path, documents: int = 120) -> None:
    """A store at `path`: the object depends on the subject."""

    def sentence(document: int, number: int) -> str:
        subject = int(chance.integers(6, "subject", document, number))
        verb = int(chance.integers(5, "verb", document, number))
        return f"{WORDS['subject'][subject]} {WORDS['verb'][verb]} {WORDS['object'][subject % 5]}"

    texts = [" ".join(sentence(d, n) for n in range(4 + d % 9)) for d in range(documents)]
    vocabulary = train("wordpiece", lambda: texts, 60)
    with StoreWriter(path, vocabulary) as writer:
        ids = [np.array(encoded) for encoded in vocabulary.encode_batch(texts)]
        flags = [np.where(np.arange(len(i)) % 3 == 0, 3, 1).astype(np.uint8) for i in ids]
        keys = np.arange(1, documents + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
        lengths = np.array([len(i) for i in ids])
        writer.append(np.concatenate(ids), np.concatenate(flags), lengths, keys, np.zeros(documents, np.int64))
        writer.finish(
            0.1, made_from="", characters=0, bytes=0, sentences=0, unknown=0, lengths=(), sources=(), skipped={}
        )
