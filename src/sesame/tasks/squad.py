"""Questions from SQuAD's JSON, 1.1 and 2.0 (Rajpurkar et al. 2016, 2018); CMRC 2018, DRCD and others share its layout.

`data` holds articles, an article `paragraphs`, a paragraph its `context` and `qas`; a question has an `id`, its text in
`question`, and `answers`, each a `text` and the character of the context at which it starts (`answer_start`). In 2.0
`is_impossible` says that the context holds no answer.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from sesame.errors import UserError
from sesame.tasks.base import Notes
from sesame.tasks.files import contents


@dataclass(frozen=True)
class Question:
    """A question about a text, with the answers that several people marked in it."""

    key: str
    """The question's id."""
    where: str
    """The file and the id, for messages: such a file is often one line."""
    question: str
    context: str
    answers: tuple[str, ...] = ()
    """None where the question is impossible, and where answers were not asked for."""
    starts: tuple[int, ...] = ()
    """The character of `context` at which each answer starts."""
    impossible: bool = False
    """The context holds no answer (SQuAD 2.0)."""


class _Answer(Struct):
    text: str
    answer_start: int


class _Asked(Struct):
    id: str | int
    question: str


class _Answered(_Asked):
    answers: list[_Answer] = []
    is_impossible: bool = False


class _Paragraph(Struct):
    context: str
    qas: list[Any]


class _Article(Struct):
    paragraphs: list[_Paragraph]


class _File(Struct):
    data: list[_Article]


def read_squad(path: Path, notes: Notes, labelled: bool = True) -> list[Question]:
    """The questions of one file, plain or `.gz`, in order.

    A question is at fault (`notes`) that lacks a key, repeats an id, is empty or asked of an empty context, has no
    answer without being impossible, or an answer that does not stand at its offset. With `labelled=False` answers are
    not looked at. A file that is not JSON, or not in SQuAD's layout, raises UserError.
    """
    found: dict[str, Question] = {}
    for place, context, raw in _questions(_parse(path)):
        where = f"{path}: {place}"
        if isinstance(raw, dict) and isinstance(raw.get("id"), str | int):
            where = f"{path}: question {raw['id']}"
        try:
            told: _Asked = msgspec.convert(raw, _Answered if labelled else _Asked)
        except msgspec.ValidationError as error:
            notes.fault(where, "not a question", f"not a question of SQuAD's layout: {error}.")
            continue
        key = str(told.id)
        problem = _fault_of_text(told.question, context, key in found)
        answers: tuple[str, ...] = ()
        starts: tuple[int, ...] = ()
        impossible = False
        if isinstance(told, _Answered):
            answers = tuple(answer.text for answer in told.answers)
            starts = tuple(answer.answer_start for answer in told.answers)
            impossible = told.is_impossible
            problem = problem or _fault_of_answers(answers, starts, impossible, context)
        if problem:
            notes.fault(where, *problem)
        else:
            found[key] = Question(key, where, told.question, context, answers, starts, impossible)
    if not found:
        raise UserError(f"{path}: holds no question that can be used.")
    return list(found.values())


def _questions(file: _File) -> Iterator[tuple[str, str, Any]]:
    """(place in the file, context, question as it stands there)."""
    for a, article in enumerate(file.data):
        for p, paragraph in enumerate(article.paragraphs):
            for q, raw in enumerate(paragraph.qas):
                yield f"data[{a}].paragraphs[{p}].qas[{q}]", paragraph.context, raw


def _parse(path: Path) -> _File:
    try:
        content = json.loads(contents(path))
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: not UTF-8 at byte {error.start}. Convert the file.") from error
    except json.JSONDecodeError as error:
        raise UserError(
            f"{path}:{error.lineno}: not JSON: {error.msg} at column {error.colno}. Expected SQuAD's JSON."
        ) from error
    try:
        return msgspec.convert(content, _File)
    except msgspec.ValidationError as error:
        raise UserError(
            f"{path}: not in SQuAD's layout: {error}. Expected data > paragraphs > context and qas."
        ) from error


Problem = tuple[str, str]
"""The short name of a fault, and the message."""


def _fault_of_text(question: str, context: str, repeated: bool) -> Problem | None:
    if repeated:
        return "duplicate id", "another question of this file has the same id. Give each its own."
    if not question.strip():
        return "empty question", "the question is empty."
    if not context.strip():
        return "empty context", "the text that the question is about is empty."
    if any("\ud800" <= character <= "\udfff" for character in question + context):
        return (
            "half a character",
            "half of a surrogate pair (\\ud800 to \\udfff) stands in the text. Write it in UTF-8.",
        )
    return None


def _fault_of_answers(
    answers: tuple[str, ...], starts: tuple[int, ...], impossible: bool, context: str
) -> Problem | None:
    if impossible:
        if answers:
            return "impossible with an answer", f"said to be impossible, but the answer {_short(answers[0])} is given."
        return None
    if not answers:
        return "no answer", "no answer is given. A question that has none says so: is_impossible is true."
    for answer, start in zip(answers, starts, strict=True):
        if not answer.strip():
            return "empty answer", "an answer is empty."
        if start < 0 or not context.startswith(answer, start):
            return "answer not at its offset", _misplaced(answer, start, context)
    return None


def _misplaced(answer: str, start: int, context: str) -> str:
    there = context[start : start + len(answer)] if 0 <= start < len(context) else ""
    stands = f"{_short(there)} stands there" if there else f"the text has {len(context)} characters"
    count = context.count(answer)
    if count == 1:
        mend = f"It stands at {context.index(answer)} alone: set answer_start to that."
    elif count:
        mend = f"It stands at {count} other places: set answer_start to the one that is meant."
    else:
        mend = "It stands nowhere in the text: mend the answer or the text."
    return f"the answer {_short(answer)} should start at character {start}, but {stands}. {mend}"


def _short(text: str) -> str:
    return repr(text if len(text) <= 40 else text[:39] + "…")
