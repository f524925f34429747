"""SQuAD's JSON: what it holds, and what is said of a file that is not as it should be."""

import gzip
import json

import pytest

from sesame.errors import UserError
from sesame.tasks.base import Notes
from sesame.tasks.squad import read_squad

TEXT = "The sky is blue. The sea is blue. Grass is green."


def question(**changes) -> dict:
    asked = {"id": "q1", "question": "Of what colour is grass?", "answers": [{"text": "green", "answer_start": 43}]}
    return {key: value for key, value in (asked | changes).items() if value is not None}


def file_of(folder, *questions: dict, context: str = TEXT):
    path = folder / "set.json"
    data = [{"title": "Colours", "paragraphs": [{"context": context, "qas": list(questions)}]}]
    path.write_text(json.dumps({"version": "1.1", "data": data}), encoding="utf-8")
    return path


def test_questions_come_with_all_their_answers_from_plain_and_compressed_files(tmp_path):
    answers = [{"text": "green", "answer_start": 43}, {"text": "Grass", "answer_start": 34, "id": "other keys"}]
    path = file_of(tmp_path, question(answers=answers), question(id=7, answers=[], is_impossible=True))
    packed = tmp_path / "set.json.gz"
    packed.write_bytes(gzip.compress(path.read_bytes()))
    for file in (path, packed):
        first, second = read_squad(file, Notes())
        assert (first.key, first.answers, first.starts) == ("q1", ("green", "Grass"), (43, 34))
        assert (first.context, first.impossible) == (TEXT, False)
        assert (second.key, second.answers, second.impossible) == ("7", (), True)
        assert first.where == f"{file}: question q1"


def test_for_prediction_answers_may_be_missing_and_are_not_looked_at(tmp_path):
    wrong = [{"text": "green", "answer_start": 0}]
    path = file_of(tmp_path, question(answers=None), question(id="q2", answers=[]), question(id="q3", answers=wrong))
    assert [(q.key, q.answers, q.impossible) for q in read_squad(path, Notes(), labelled=False)] == [
        ("q1", (), False),
        ("q2", (), False),
        ("q3", (), False),
    ]


def answer(text: str, start: int) -> list[dict]:
    return [{"text": text, "answer_start": start}]


FAULTS = {
    "answer elsewhere": (
        question(answers=answer("green", 40)),
        "answer not at its offset",
        "the answer 'green' should start at character 40, but 'is gr' stands there. "
        "It stands at 43 alone: set answer_start to that.",
    ),
    "answer at several places": (question(answers=answer("blue", 0)), "answer not at its offset", "2 other places"),
    "answer nowhere": (question(answers=answer("red", 0)), "answer not at its offset", "nowhere in the text"),
    "negative offset": (question(answers=answer(".", -1)), "answer not at its offset", "has 49 characters"),
    "offset beyond": (question(answers=answer("green", 999)), "answer not at its offset", "has 49 characters"),
    "second answer": (
        question(answers=answer("green", 43) + answer("green", 44)),
        "answer not at its offset",
        "character 44, but 'reen.' stands",
    ),
    "empty answer": (question(answers=answer(" ", 3)), "empty answer", "an answer is empty"),
    "no answer": (question(answers=[]), "no answer", "is_impossible"),
    "impossible, answered": (question(is_impossible=True), "impossible with an answer", "'green' is given"),
    "empty question": (question(question=" "), "empty question", "question is empty"),
    "duplicate id": (question(id="good"), "duplicate id", "same id"),
    "half a character": (question(question="\ud83d?"), "half a character", "surrogate"),
    "missing key": (question(question=None), "not a question", "missing required field `question`"),
    "wrong type": (question(answers=answer("green", "43")), "not a question", r"Expected `int`, got `str`"),  # type: ignore[arg-type]
}


@pytest.mark.parametrize("name", FAULTS)
def test_a_faulty_question_is_named_or_by_wish_skipped_and_counted(name, tmp_path):
    faulty, reason, message = FAULTS[name]
    path = file_of(tmp_path, question(id="good"), faulty)
    with pytest.raises(UserError) as error:
        read_squad(path, Notes())
    assert str(error.value).startswith(f"{path}: question {faulty['id']}: ")
    assert message in str(error.value)
    notes = Notes(skip=True)
    assert [q.key for q in read_squad(path, notes)] == ["good"]
    assert notes.counts == {f"skipped: {reason}": 1}


def test_an_empty_text_is_a_fault_of_each_of_its_questions(tmp_path):
    path = file_of(tmp_path, question(), context=" \n")
    with pytest.raises(UserError, match="question q1: the text that the question is about is empty"):
        read_squad(path, Notes())
    with pytest.raises(UserError, match="holds no question that can be used"):
        read_squad(path, Notes(skip=True))


def test_a_question_without_an_id_is_named_by_its_place(tmp_path):
    path = file_of(tmp_path, question(), question(id=None))
    with pytest.raises(UserError, match=r"set.json: data\[0\].paragraphs\[0\].qas\[1\]: .*missing required field `id`"):
        read_squad(path, Notes())


BROKEN = {
    "not JSON": (b'{"data": [\n  {"paragraphs": ]}', r"bad.json:2: not JSON: Expecting value at column 18"),
    "not UTF-8": (b'{"data": "\xff"}', r"bad.json: not UTF-8 at byte 10"),
    "other layout": (b'[{"question": "?"}]', r"bad.json: not in SQuAD's layout: Expected `object`, got `array`"),
    "no context": (
        b'{"data": [{"paragraphs": [{"qas": []}]}]}',
        r"missing required field `context` - at `\$.data\[0\].paragraphs\[0\]`",
    ),
    "nothing inside": (b'{"data": []}', r"bad.json: holds no question"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_file_that_is_not_squads_says_what_it_is(name, tmp_path):
    content, message = BROKEN[name]
    path = tmp_path / "bad.json"
    path.write_bytes(content)
    with pytest.raises(UserError, match=message):
        read_squad(path, Notes(skip=True))


def test_files_that_cannot_be_read_are_named(tmp_path):
    with pytest.raises(UserError, match=r"none.json: no such file"):
        read_squad(tmp_path / "none.json", Notes())
    path = tmp_path / "set.json.gz"
    path.write_bytes(gzip.compress(b'{"data": []}')[:-4])
    with pytest.raises(UserError, match=r"cut short"):
        read_squad(path, Notes())
    path.write_bytes(b"{}")
    with pytest.raises(UserError, match=r"not a whole gzip file"):
        read_squad(path, Notes())
