"""The tasks whose labels are in Python's own source."""

import ast
import hashlib
import os
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from sesame.data import areas, pydocs
from sesame.data.sources import Skips, SourceOptions, documents
from sesame.errors import UserError
from sesame.tasks.base import TaskData
from sesame.tasks.pydocs import TASKS, open_pydocs

DIGEST = """
import hashlib
from sesame.tasks.pydocs import TASKS, open_pydocs
for name in TASKS:
    data = open_pydocs(name)
    print(name, hashlib.sha256(repr([data.train, data.dev, data.test, data.notes]).encode()).hexdigest())
"""


@pytest.fixture(scope="module")
def tasks() -> dict[str, TaskData[Any, Any]]:
    return {name: open_pydocs(name) for name in TASKS}


def _text(example: Any, name: str) -> str:
    """What an example is about, as words in a row. What a summary is of may be there twice, the summary may not."""
    text = example.label if name == "summary" else None
    text = text or getattr(example, "text", None) or getattr(example, "context", None) or " ".join(example.words)
    return " ".join(re.findall("[a-z0-9]+", text.lower()))


# --------------------------------------------------------------------------------------- the standard library
def test_no_text_of_dev_and_test_is_in_another_split_or_in_the_pretraining_text(tasks: dict[str, Any]) -> None:
    corpus = documents(["pydocs"], SourceOptions(), Skips())
    pretraining = " | ".join(" ".join(re.findall("[a-z0-9]+", document.text.lower())) for document in corpus)
    pretraining = f" {pretraining} "
    for name, data in tasks.items():
        texts = [{_text(example, name) for example in split} for split in (data.train, data.dev, data.test)]
        modules = [{example.where.split(":")[0] for example in split} for split in (data.train, data.dev, data.test)]
        for one, other in ((0, 1), (0, 2), (1, 2)):
            assert not texts[one] & texts[other] and not modules[one] & modules[other], name
        leaked = [text for text in texts[1] | texts[2] if f" {text} " in pretraining]
        assert not leaked, (name, leaked[:3])


def test_the_splits_are_large_and_no_example_is_there_twice(tasks: dict[str, Any]) -> None:
    for name, data in tasks.items():
        sizes = [len(data.train), len(data.dev), len(data.test)]
        least = (600, 50, 120) if name == "params" else (1500, 240, 600)
        assert all(size >= enough for size, enough in zip(sizes, least, strict=True)), (name, sizes)
        keys = [example.key for example in data.train + data.dev + data.test]
        assert len(set(keys)) == len(keys), name
        assert data.name == f"pydocs/{name}"
        assert set(data.notes.counts) >= {
            "left out of dev and test: stands in a training document too",
            "left out: the same words came before",
        }


def test_every_area_is_in_every_split_and_none_prevails(tasks: dict[str, Any]) -> None:
    data = tasks["area"]
    modules = Counter(areas.area(module.name) for module in pydocs.all_modules())
    there = {about for about in areas.AREAS if modules[about] > 2}  # some systems package tkinter and idlelib apart
    assert there <= set(data.task.labels) <= set(areas.AREAS) and len(there) >= len(areas.AREAS) - 2
    for split in (data.train, data.dev, data.test):
        count = Counter(example.label for example in split)
        assert there <= set(count) and max(count.values()) < 0.2 * len(split)


def test_no_text_names_the_package_it_is_of(tasks: dict[str, Any]) -> None:
    for example in tasks["area"].train:
        assert re.match(r"[^.:]+", example.where)[0].lower() not in re.findall(r"\w+", example.text.lower())


def test_a_summary_stands_once_with_its_own_parameters_and_once_with_others(tasks: dict[str, Any]) -> None:
    train = tasks["match"].train
    own, other = train[::2], train[1::2]
    assert {e.label for e in own} == {"match"} and {e.label for e in other} == {"other"}
    assert [e.text for e in own] == [e.text for e in other]
    assert all(a.pair != b.pair for a, b in zip(own, other, strict=True))
    for split in (tasks["match"].dev, tasks["match"].test):  # a choice of such
        assert 0.4 < sum(e.label == "match" for e in split) / len(split) < 0.6


def test_dev_and_test_are_a_choice_of_what_there_is(tasks: dict[str, Any]) -> None:
    for name in ("area", "names", "match"):
        data = tasks[name]
        assert (len(data.dev), len(data.test)) == (240, 600)
        assert data.notes.counts["test examples left unused"] > 100
        assert len({re.match(r"[^:]+", e.where)[0] for e in data.test}) > 20  # of many modules


def test_names_are_no_matter_of_form(tasks: dict[str, Any]) -> None:
    """Most parameters are plain words, and the same word is a name in one text and none in another."""
    tagged = [pair for s in tasks["names"].train for pair in zip(s.words, s.tags, strict=True)]
    parameters = [word for word, tag in tagged if tag == "B-PARAM"]
    assert sum(map(str.isalpha, parameters)) > 0.6 * len(parameters)
    plain = {word for word, tag in tagged if tag == "O"}
    assert sum(word in plain for word in parameters) > 0.5 * len(parameters)
    share = Counter(tag for _, tag in tagged)
    assert share["B-PARAM"] > 2000 and share["B-OBJECT"] > 1000


def test_every_answer_stands_at_its_offset_and_asks_for_a_parameter_of_its_function(tasks: dict[str, Any]) -> None:
    known = {(d.module, d.line): d.parameters for m in pydocs.all_modules() for d in m.docstrings}
    for question in tasks["params"].train + tasks["params"].dev + tasks["params"].test:
        (answer,), (start,) = question.answers, question.starts
        assert answer and question.context[start : start + len(answer)] == answer
        module, line = question.where.split(":")
        asked = re.fullmatch(r"What is (\w+)\?", question.question)
        assert asked and asked[1] in known[module, int(line)]
        assert re.search(rf"\b{asked[1]}\b", question.context[:start])


def test_examples_do_not_depend_on_the_order_of_sets(tasks: dict[str, Any]) -> None:
    here = [
        f"{name} {hashlib.sha256(repr([data.train, data.dev, data.test, data.notes]).encode()).hexdigest()}"
        for name, data in tasks.items()
    ]
    seed = "2" if os.environ.get("PYTHONHASHSEED") == "1" else "1"
    told = subprocess.run(
        [sys.executable, "-c", DIGEST],
        env={**os.environ, "PYTHONHASHSEED": seed},
        capture_output=True,
        text=True,
        check=True,
    )
    assert told.stdout.split("\n")[:-1] == here


# ----------------------------------------------------------------------------------- a library of the test's own
SOCKET = '''
"""Something that listens, and something that answers in the end."""

class Listener:
    """Wait for the port of a Listener, as server_side sockets do, and call accept().

    port -- where the caller wants to
      listen; a number
    host: the name of this machine. It may be empty.
    The backlog argument is how many may wait, and limit is ignored.
    """
    def __init__(self, port, host="", backlog=1): ...

    def accept(self, timeout: float = 1.5):
        """accept(timeout) -> other

        Wait at most timeout seconds for another host that will accept the call of open_port, or do open a port.

        >>> accept(timeout=1)
        """

def open_port(number, *, reuse=False):
    """Open the port of that number and reuse the one that Listener has, if it is there."""
'''
CALENDAR = '''
def weekday(year, month, day=1):
    """Return the day of the week, of any day in the month of a year after 1970."""

def leap(year):
    """Say of one year if February has a day more, in a calendar of the Romans. It has one if year is right, or four."""
'''


@pytest.fixture
def library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, ast.Module]:
    sources = {"socket": SOCKET, "calendar": CALENDAR}
    for name, source in sources.items():
        (tmp_path / f"{name}.py").write_text(source)
    modules = tuple(pydocs._modules(tmp_path, ""))
    monkeypatch.setattr(pydocs, "all_modules", lambda: modules)
    monkeypatch.setattr(pydocs, "splits", lambda: dict.fromkeys(sources, "train"))
    return {name: ast.parse(source) for name, source in sources.items()}


def test_tags_are_those_of_a_walk_over_the_source(library: dict[str, ast.Module]) -> None:
    sentences = open_pydocs("names").train
    seen = set()
    for sentence in sentences:
        module, line = sentence.where.split(":")
        nodes = list(ast.walk(library[module]))
        named = [n for n in nodes if isinstance(n, ast.ClassDef | ast.FunctionDef)]
        (node,) = [n for n in named if n.lineno == int(line)]
        inside = node if isinstance(node, ast.FunctionDef) else node.body[1]
        parameters = {n.arg for n in ast.walk(inside) if isinstance(n, ast.arg)} - {"self"}
        functions = {n.name for n in named}
        for word, tag, after in zip(sentence.words, sentence.tags, (*sentence.words[1:], ""), strict=True):
            if word in parameters:
                assert tag == "B-PARAM"
            elif word in functions and (after == "(" or word in ("open_port", "Listener")):
                assert tag == "B-OBJECT"
            else:
                assert tag == "O"
            seen.add((word, tag))
    assert {("port", "B-PARAM"), ("port", "O"), ("accept", "B-OBJECT"), ("accept", "O")} < seen
    assert {("Listener", "B-OBJECT"), ("server_side", "O"), ("host", "B-PARAM"), ("host", "O")} < seen


def test_areas_are_those_of_the_table(library: dict[str, ast.Module]) -> None:
    found = {example.text: example.label for example in open_pydocs("area").train}
    assert found == {
        "Something that listens, and something that answers in the end.": "network",
        "Wait for the port of a Listener, as server_side sockets do, and call accept(). port -- where the caller wants "
        "to listen; a number host: the name of this machine. It may be empty. The backlog argument is how many may "
        "wait, and limit is ignored.": "network",
        "accept(timeout) -> other Wait at most timeout seconds for another host that will accept the call of "
        "open_port, or do open a port.": "network",
        "Open the port of that number and reuse the one that Listener has, if it is there.": "network",
        "Return the day of the week, of any day in the month of a year after 1970.": "numbers and dates",
        "It has one if year is right, or four.": "numbers and dates",
    }


def test_summaries_and_signatures_leave_the_name_out(library: dict[str, ast.Module]) -> None:
    found = {(example.text[:25], example.pair) for example in open_pydocs("match").train if example.label == "match"}
    assert found == {
        ("Wait for the port of a Li", "port, host='', backlog=1"),
        ("Wait at most timeout seco", "timeout: float=1.5"),
        ("Open the port of that num", "number, *, reuse=False"),
        ("Return the day of the wee", "year, month, day=1"),
        ("Say of one year if Februa", "year"),
    }
    for example in open_pydocs("match").train:
        if example.label == "other" and example.text.startswith("Say of one year"):
            assert "year" not in example.pair


def test_answers_are_found_in_lists_and_in_sentences(library: dict[str, ast.Module]) -> None:
    found = {question.question: question.answers[0] for question in open_pydocs("params").train}
    assert found == {
        "What is port?": "where the caller wants to listen",
        "What is host?": "the name of this machine",
        "What is backlog?": "how many may wait",
    }


def test_a_task_that_is_not_there_is_said() -> None:
    with pytest.raises(UserError, match=r"pydocs/aera: pydocs has no task 'aera'. Did you mean area"):
        open_pydocs("aera")
