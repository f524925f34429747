"""Counts of tokens and words in the training text, against counting one by one."""

from collections import Counter

import numpy as np
import pytest
import readers
from small_store import random_documents, store_of

from sesame.data.encode import WORD
from sesame.probes import training_text
from sesame.probes.training_text import token_counts, word_counts


@pytest.fixture(params=[50, 1 << 22])
def store(request, tmp_path, monkeypatch):
    monkeypatch.setattr(training_text, "_TOKENS", request.param)
    return store_of(tmp_path / "store", random_documents(40), held_out=0.4)


def words_of(store) -> Counter:
    """Every word of the documents that are trained on."""
    found = Counter()
    for document in np.flatnonzero(~store.held_out):
        begin, end = int(store.offsets[document]), int(store.offsets[document + 1])
        ids, flags = np.asarray(store.ids[begin:end]).tolist(), store.flags[begin:end]
        starts = [i for i in range(len(ids)) if flags[i] & WORD]
        found.update(tuple(ids[a:b]) for a, b in zip(starts, [*starts[1:], len(ids)], strict=True))
    return found


def test_every_token_and_word_is_counted_in_the_documents_that_are_trained_on(store):
    expected = words_of(store)
    words = [*expected, (5,), (59, 59, 59, 59)]
    assert store.held_out.any() and {len(word) for word in expected} == {1, 2, 3}
    assert word_counts(store, words).tolist() == [expected[word] for word in words]
    tokens = Counter(token for word, n in expected.items() for token in word * n)
    assert token_counts(store).tolist() == [tokens[t] for t in range(60)]


def test_no_word_is_no_count(store):
    assert word_counts(store, []).tolist() == []


@pytest.mark.parametrize("kind", ["wordpiece", "bytebpe", "bytes"])
def test_a_word_after_a_space_is_the_same_word(tmp_path, kind):
    texts = ["book and book", "a book\nbook of books", "we book a bookbook", *readers.CHINESE]
    data = readers.prepared(tmp_path, kind, 50, texts * 2)
    store = data.store
    trained = [texts[i % len(texts)] for i in range(len(store)) if not store.held_out[i]]
    spaced = [tuple(ids) for ids in data.vocabulary.encode_batch([" book", "book"])]
    counts = word_counts(store, [spaced[0]] if kind == "wordpiece" else spaced)
    whole = sum(text.split().count("book") for text in trained)
    if kind == "bytebpe":  # the space is part of the first letter's token: two words
        assert counts.sum() == whole
    elif kind == "bytes":  # " book" and "book" are one word, with a token for the space or without
        assert counts[1] == whole
    else:
        assert counts[0] == whole
