"""Token stores made of given documents, through the store's own writer."""

from pathlib import Path

import numpy as np

from sesame.data.encode import SENTENCE, WORD
from sesame.data.store import SourceInfo, StoreWriter, TokenStore
from sesame.data.tokenizer import BERT_SPECIAL, Vocabulary, wordpiece

Sentence = list[int]
"""Sizes of its words."""


def vocabulary(size: int = 60) -> Vocabulary:
    pieces = [*BERT_SPECIAL.values(), *(f"t{i}" for i in range(size - len(BERT_SPECIAL)))]
    return Vocabulary(wordpiece({piece: i for i, piece in enumerate(pieces)}, lowercase=True), BERT_SPECIAL)


def store_of(
    path: Path, documents: list[list[Sentence]], sources: list[int] | None = None, held_out: float = 0.0
) -> TokenStore:
    """Documents as sentences of words of so many tokens; ids are drawn from the documents' numbers."""
    words = vocabulary()
    names = sorted(set(sources or [0]))
    with StoreWriter(path, words) as writer:
        for number, document in enumerate(documents):
            size = sum(map(sum, document))
            flags = np.zeros(size, np.uint8)
            at = 0
            for sentence in document:
                flags[at] |= SENTENCE
                for word in sentence:
                    flags[at] |= WORD
                    at += word
            ids = np.random.default_rng(number).integers(5, 60, size)
            source = np.array([sources[number] if sources else 0])
            writer.append(ids, flags, np.array([size]), np.array([1000 + number], np.uint64), source)
        info = [SourceInfo(f"source {n}", 0, 0, 0) for n in names]
        counts = dict.fromkeys(("characters", "bytes", "sentences", "unknown"), 0)
        writer.finish(held_out, made_from="", lengths=(), sources=tuple(info), skipped={}, **counts)
    return TokenStore.open(path)


def random_documents(count: int, seed: int = 0, longest: int = 12) -> list[list[Sentence]]:
    """Documents of 1 to `longest` sentences of 1 to 8 words of 1 to 3 tokens."""
    rng = np.random.default_rng(seed)
    return [
        [rng.integers(1, 4, rng.integers(1, 9)).tolist() for _ in range(rng.integers(1, longest + 1))]
        for _ in range(count)
    ]
