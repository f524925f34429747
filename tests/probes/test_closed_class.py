"""Built-in word classes, of prose and of documentation."""

import logging
import re
from collections import defaultdict

import pytest
import readers
import torch

from sesame.data import pydocs
from sesame.data.pydocs import Docstring, Module
from sesame.errors import UserError
from sesame.probes import Ask, Item, closed_class, word_classes
from sesame.probes.closed_class import LISTS, built_in, group_of


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    torch.set_num_threads(1)
    return readers.prepared(tmp_path_factory.mktemp("data"))


def test_no_word_is_in_two_classes():
    listed = [word for words in LISTS.values() for word in words.split()]
    assert len(set(listed)) == len(listed)
    assert not closed_class._AMBIGUOUS & set(listed)


@pytest.mark.parametrize(
    ("word", "group"),
    [("The", "determiner"), ("of", "preposition"), ("that", ""), ("house", "content word"), ("x", ""), ("1990", "")],
)
def test_the_class_of_a_word(word, group):
    assert group_of(word) == group


def test_words_of_held_out_prose_get_their_class(data):
    found = built_in(data)
    held = " ".join(data.vocabulary.decode(data.store.document(int(d))) for d in data.store.held_out.nonzero()[0])
    spaced = re.sub(r"\W+", " ", held)
    assert {one.group for one in found} == {*LISTS, "content word"}
    for one in found:
        assert one.group == group_of(one.word) and one.word in one.text.split() + one.text.replace(".", " ").split()
        assert re.sub(r"\W+", " ", one.text).strip() in spaced


@pytest.mark.parametrize("text", ["it isn't theirs", "it isn ' t theirs", "it isn’t theirs"])
def test_parts_of_contractions_are_no_words(text):
    assert [found.group() for found in closed_class._WORD.finditer(text)] == ["it", "theirs"]
    assert " ".join(closed_class._WORD.findall("the 'mode' of `open`, self.mode")) == "the mode of open self mode"


def test_text_in_another_language_needs_gold(tmp_path):
    texts = [f"{a} {b}" for a in readers.CHINESE for b in readers.CHINESE] * 3
    data = readers.prepared(tmp_path, texts=texts, vocab=0)
    with pytest.raises(UserError, match=r"built-in classes are English.*word-classes=FILE"):
        built_in(data)
    with pytest.raises(UserError, match=r"data are not here.*word-classes=FILE"):
        built_in(None)


# ----------------------------------------------------------------------------------------- documentation
READ = "Return the size of path. The size is an int of `read(path)`."
KEPT = (
    Docstring("kept", "", 1, "The helpers of every reader."),
    Docstring("kept", "read", 3, READ, ("path", "size"), "path, size=1"),
    Docstring("kept", "Reader", 9, "Returns nothing, in every case."),
    Docstring("kept", "close", 12, "Closes it.\n>>> the(path)"),
)
TRAINED = (
    Docstring("trained", "a", 1, "Return it."),
    Docstring("trained", "b", 1, "Return him."),
    Docstring("trained", "c", 1, "Returns her."),
    Docstring("trained", "d", 1, "Close it."),
)
MODULES = (
    Module("kept", KEPT, frozenset({"read", "Reader", "close"})),
    Module("trained", TRAINED, frozenset("abcd")),
)


def test_documentation_has_names_and_first_verbs(monkeypatch):
    monkeypatch.setattr(pydocs, "all_modules", lambda: MODULES)
    monkeypatch.setattr(pydocs, "splits", lambda: {"kept": "test", "trained": "train"})
    monkeypatch.setattr(pydocs, "in_training_text", lambda text: text.startswith("Closes"))
    found = defaultdict(list)
    for one in closed_class._documentation():
        found[one.text].append(f"{one.word}:{one.group}")
    content = "content word"
    assert found == {
        "The helpers of every reader.": [
            "The:determiner", f"helpers:{content}", "of:preposition", "every:determiner", f"reader:{content}",
        ],
        "read(path, size=1)\nReturn the size of path.": [
            "Return:first verb", "the:determiner", "size:parameter", "of:preposition", "path:parameter",
        ],
        "read(path, size=1)\nThe size is an int of `read(path)`.": [
            "The:determiner", "size:parameter", "is:auxiliary", "an:determiner", f"int:{content}", "of:preposition",
            "read:object", "path:parameter",
        ],
        "Reader\nReturns nothing, in every case.": [  # a class, whose docstring begins with no verb of its own
            f"Returns:{content}", "nothing:pronoun", "in:preposition", "every:determiner", f"case:{content}",
        ],
    }  # fmt: skip


def test_a_verb_opens_docstrings_in_both_of_its_forms():
    docstrings = (docstring for module in MODULES for docstring in module.docstrings)
    assert closed_class._verbs(docstrings) == {"return", "returns"}  # "Close" only once
    assert [closed_class._third_person(v) for v in ("get", "try", "play", "push", "do")] == [
        "gets", "tries", "plays", "pushes", "does",
    ]  # fmt: skip


def test_a_run_without_gold_is_measured_by_the_built_in_classes(data, monkeypatch, caplog):
    monkeypatch.setattr(word_classes, "LIGHT", 60)
    with caplog.at_level(logging.WARNING), torch.no_grad():
        found = list(word_classes.measure(readers.bert(data), Ask(data=data)))
    assert {i.group for i in found if isinstance(i, Item)} == {*LISTS, "content word"}
