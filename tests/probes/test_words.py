"""Where the sub-words of a word are, which words are chosen, and what share was right."""

import logging
from collections import Counter

import numpy as np
import pytest
import readers
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest

from sesame.probes import Ask
from sesame.probes.prediction import Reader
from sesame.probes.words import SHOWN, Asked, balanced, key_of, keyed_order, placed, quota, say_once, share, shown_of

SPELL = ["the old man's friend", "isn't", "walked quickly (again), friend!", "我们在北京看见他的书。", "naïve  café"]


@pytest.fixture(scope="module", params=["wordpiece", "bytebpe", "chars", "bytes"])
def reader(request, tmp_path_factory):
    torch.set_num_threads(1)
    texts = readers.documents(20) + SPELL * 3
    data = readers.prepared(tmp_path_factory.mktemp("data"), request.param, 180, texts)
    return Reader.of(readers.bert(data))


def every_word(text: str, words: list[str]) -> list[Asked]:
    found, at = [], 0
    for word in words:
        start = text.index(word, at)
        at = start + len(word)
        found.append(Asked(text, start, at, "word"))
    return found


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("the old man's friend left", ["the", "old", "man", "friend", "left"]),
        ("walked quickly (again), friend!", ["walked", "quickly", "again", "friend"]),
        ("我们在北京看见他的书。", ["我们", "在", "北京", "看见", "他", "的", "书"]),
        ("naïve  café", ["naïve", "café"]),
    ],
)
def test_the_sub_words_of_a_word_spell_it_and_nothing_else(reader, text, words):
    left_out = Counter()
    found = placed(reader, every_word(text, words), left_out)
    assert [one.word for one, _ in found] == words
    assert not left_out.keys() - {"words of a text longer than the model reads, of which it reads a window"}
    whole = reader.vocabulary.encode_batch([text])[0]
    plain = reader.vocabulary.tokenizer.normalizer is None
    for one, word in found:
        spelled = reader.vocabulary.decode(word.ids[word.start : word.stop])
        as_written = one.word if plain else one.word.replace("ï", "i").replace("é", "e")
        assert spelled.replace(" ", "") == as_written  # BERT's decoder puts spaces between Chinese characters
        assert len(word.ids) <= reader.room
        assert " ".join(map(str, word.ids)) in " ".join(map(str, whole))
        assert (len(word.ids) == len(whole)) == (len(whole) <= reader.room)


def test_a_word_that_cannot_be_asked_about_by_itself_is_left_out_and_counted(tmp_path):
    reader, left_out = Reader.of(readers.bert(readers.prepared(tmp_path))), Counter()
    text = "man the Ωmega \x07"
    assert [len(ids) for ids in reader.vocabulary.encode_batch(["the", "\x07"])] == [1, 0]
    asked = [Asked(text, *span, "") for span in ((0, 3), (4, 6), (6, 7), (4, 7), (8, 13), (14, 15))]
    assert [one.word for one, _ in placed(reader, asked, left_out)] == ["man", "the"]
    assert left_out == {
        "words that share a sub-word with a neighbour": 2,
        "words that the tokenizer cannot spell ([UNK])": 1,
        "words without a sub-word": 1,
    }


def test_a_word_longer_than_the_model_reads_is_left_out(tmp_path):
    data = readers.prepared(tmp_path, "bytes")
    reader, left_out = Reader.of(readers.bert(data)), Counter()
    text = f"the {'x' * 40} man"
    found = placed(reader, every_word(text, ["the", "x" * 40, "man"]), left_out)
    assert [one.word for one, _ in found] == ["the", "man"]
    assert left_out["words longer than the model reads"] == 1
    assert [len(word.ids) for _, word in found] == [reader.room] * 2


# ---------------------------------------------------------------------------------------------- choosing
@settings(max_examples=200, deadline=None)
@given(st.lists(st.integers(1, 30), min_size=1, max_size=6), st.integers(0, 100))
def test_a_quota_is_the_largest_that_fits(sizes, most):
    cap = quota(sizes, most)
    assert sum(min(size, cap) for size in sizes) <= most
    assert cap >= max(sizes) or sum(min(size, cap + 1) for size in sizes) > most
    found = {str(i): list(range(100 * i, 100 * i + size)) for i, size in enumerate(sizes)}
    chosen = balanced(found, most)
    assert sorted(chosen) == sorted(n for numbers in found.values() for n in numbers[: min(cap, len(numbers))])


def test_identities_stay_the_same_from_run_to_run():
    assert key_of("the house", 4) == 1454779941507639159
    assert Asked("the house", 4, 9, "noun").key == key_of("the house", 4) != Asked("the house", 0, 3, "noun").key


def test_a_choice_of_some_things_is_no_other_where_there_are_more_of_them():
    keys = [key_of("thing", n) for n in range(60)]
    order = keyed_order(keys)
    assert sorted(order) == list(range(60)) != order
    kept = [n for n in order if n % 2]
    assert [2 * n + 1 for n in keyed_order(keys[1::2])] == kept
    groups = ["a" if n % 3 else "b" for n in range(60)]
    shown = shown_of(keys, groups)
    for group in "ab":
        assert {n for n in shown if groups[n] == group} == set([n for n in order if groups[n] == group][:SHOWN])


# --------------------------------------------------------------------------------------------- answering
@pytest.mark.parametrize(("right", "n"), [(0, 5), (5, 5), (1, 7), (120, 400)])
def test_the_interval_of_a_share_is_wilsons(right, n):
    value = share("mask_prediction", np.arange(n) < right, "noun")
    expected = binomtest(right, n).proportion_ci(0.95, method="wilson")
    assert (value.value, value.n, value.group) == (right / n, n, "noun")
    assert (value.low, value.high) == pytest.approx((expected.low, expected.high), abs=1e-9)


def test_what_is_left_out_is_said_once(caplog):
    ask = Ask()
    with caplog.at_level(logging.INFO, logger="sesame"):
        for _ in range(3):
            say_once(ask, "word-classes", Counter({"words that are NUM": 1200, "nothing": 0}), ["a class is gone"])
    assert [record.getMessage() for record in caplog.records] == [
        "word-classes, not as they stand: 1,200 words that are NUM",
        "word-classes: a class is gone",
    ]
    assert caplog.records[1].levelno == logging.WARNING
