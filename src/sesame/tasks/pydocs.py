"""Five tasks whose labels `ast` knows, from the documentation inside every Python installation.

pydocs/area    the area of the standard library that a docstring belongs to (classification)
pydocs/names   the words of a docstring that name a parameter, or a class or function of its module (tagging)
pydocs/match   whether a summary belongs to a signature (sentence pairs)
pydocs/params  where a docstring says what a parameter is (extractive question answering)
pydocs/summary the first line of a docstring, from the definition and what follows it (a text for a text)

Train, dev and test are different modules (sesame.data.pydocs.splits). Texts of dev and test that also stand in a
training document, and so in the pretraining text, are left out and counted, and so is what was said before.
"""

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from itertools import chain, groupby
from typing import Any

from sesame import config
from sesame.data import chance, pydocs
from sesame.data.areas import area
from sesame.data.pydocs import Docstring, Module, Split
from sesame.errors import UserError, nearest
from sesame.tasks.base import E, Notes, P, Task, TaskData, keyed_order
from sesame.tasks.classification import Choice, Classification
from sesame.tasks.conll import Sentence
from sesame.tasks.seq2seq import Seq2Seq
from sesame.tasks.span_qa import Answer, SpanQA
from sesame.tasks.squad import Question
from sesame.tasks.tables import TextExample
from sesame.tasks.tagging import Tagging, Tags

_LONGEST = 64
"""Words that are taken of a docstring, or of a paragraph."""
_SHORTEST = 8
"""Words that can tell an area, or a signature."""
_MOST: dict[Split, int] = {"dev": 240, "test": 600}
"""Examples: more would make looking at them take longer than learning from a few hundred."""
_LONGEST_ANSWER = 24
"""Words of a parameter's description."""
_SHORTEST_SUMMARY, _LONGEST_SUMMARY = 4, 16
"""Words of a summary."""


def open_pydocs(name: str) -> TaskData[Any, Any]:
    """`pydocs/NAME` with its examples. UserError, with the nearest names, where there is no such task."""
    if name not in TASKS:
        raise UserError(f"pydocs/{name}: pydocs has no task {name!r}.{nearest(name, TASKS)}")
    return TASKS[name]()


# -------------------------------------------------------------------------------------------- the pieces of text
@dataclass(frozen=True, slots=True)
class _Piece:
    """A text, and where it comes from."""

    text: str
    number: int
    """From 1, among the pieces of the docstring."""
    docstring: Docstring
    module: Module

    @property
    def key(self) -> str:
        return f"{self.where}.{self.number}"

    @property
    def where(self) -> str:
        return f"{self.docstring.module}:{self.docstring.line}"


def _pieces(texts: Callable[[Docstring], Iterable[str]], notes: Notes) -> dict[Split, list[_Piece]]:
    """The `texts` of all docstrings, split by module; none stands in two splits, or twice."""
    found: dict[Split, list[_Piece]] = {"train": [], "test": [], "dev": []}
    splits = pydocs.splits()
    said: set[str] = set()
    for module in sorted(pydocs.all_modules(), key=lambda module: list(found).index(splits[module.name])):
        split = splits[module.name]
        for docstring in module.docstrings:
            for number, text in enumerate(texts(docstring), 1):
                words = pydocs.words(text)
                if split != "train" and (pydocs.in_training_text(docstring.text) or pydocs.in_training_text(text)):
                    notes.counts["left out of dev and test: stands in a training document too"] += 1
                elif words in said:
                    notes.counts["left out: the same words came before"] += 1
                else:
                    said.add(words)
                    found[split].append(_Piece(text, number, docstring, module))
    return found


def _task(
    name: str,
    kind: type[Task[E, P]],
    settings: config.Task,
    pieces: dict[Split, list[_Piece]],
    examples: Callable[[list[_Piece]], Iterable[E]],
    notes: Notes,
) -> TaskData[E, P]:
    made = {split: list(examples(pieces[split])) for split in pieces}
    for split, most in _MOST.items():
        kept = sorted(keyed_order(made[split], f"pydocs {split}")[:most].tolist())
        if len(kept) < len(made[split]):
            notes.counts[f"{split} examples left unused"] = len(made[split]) - len(kept)
        made[split] = [made[split][i] for i in kept]
    labels = kind.labels_of(settings, made["train"])
    return TaskData(name, kind(settings, labels), made["train"], made["dev"], made["test"], notes)


@cache
def _paragraphs(text: str) -> tuple[str, ...]:
    """The prose of a docstring: no examples of the interpreter, no rulers."""
    found = []
    for paragraph in re.split(r"\n\s*\n", text):
        prose = re.split(r"^\s*>>>", paragraph, maxsplit=1, flags=re.MULTILINE)[0]
        lines = [line for line in prose.splitlines() if any(map(str.isalnum, line))]
        if lines:
            found.append("\n".join(lines))
    return tuple(found)


# ---------------------------------------------------------------------------------------------------------- area
def _area() -> TaskData[TextExample, Choice]:
    """A docstring and the area of its module, by the table in sesame.data.areas."""
    notes = Notes()

    def examples(pieces: list[_Piece]) -> Iterator[TextExample]:
        for piece in pieces:
            yield TextExample(piece.key, piece.where, piece.text, label=area(piece.module.name))

    return _task("pydocs/area", Classification, config.Classification(), _pieces(_about, notes), examples, notes)


def _about(docstring: Docstring) -> Iterator[str]:
    """The first words of a docstring, without the sentences that name the module's package: those would say it."""
    package = re.compile(rf"\b{re.escape(docstring.module.partition('.')[0])}\b", re.IGNORECASE)
    prose = " ".join(" ".join(_paragraphs(docstring.text)).split())
    words = [w for s in re.split(r"(?<=[.!?:;]) ", prose) if not package.search(s) for w in s.split()]
    if area(docstring.module) and len(words) >= _SHORTEST:
        yield " ".join(words[:_LONGEST])


# --------------------------------------------------------------------------------------------------------- names
_ORDINARY = frozenset({"a", "all", "it", "no", "of", "on", "other", "to"})
"""Words of prose that are parameters' names too, and are hardly ever meant as such."""


def _names() -> TaskData[Sentence, Tags]:
    """Paragraphs with a tag for every word: B-PARAM, B-OBJECT or O.

    PARAM is a word that is a parameter of the function (of a class: of its __init__). OBJECT is the name of a class,
    function or method of the module; where it is a plain lower-case word, only before a bracket, since `open` and
    `copy` are prose as well. Paragraphs without either are left out.
    """
    notes = Notes()

    def examples(pieces: list[_Piece]) -> Iterator[Sentence]:
        for piece in pieces:
            words = tuple(piece.text.split())
            tags = tuple(_tags(words, piece))
            if set(tags) != {"O"}:
                yield Sentence(piece.key, piece.where, words, tags, (piece.docstring.line,) * len(words))

    settings = config.Tagging(metric="entity_f1")  # most words are O, so that accuracy would say little
    return _task(
        "pydocs/names",
        Tagging,
        settings,
        _pieces(_tokenised, notes),
        examples,
        notes,
    )


def _tokenised(docstring: Docstring) -> Iterator[str]:
    """The first words of each paragraph; punctuation marks are words."""
    for paragraph in _paragraphs(docstring.text):
        yield " ".join(re.findall(r"\w+|[^\w\s]", paragraph)[:_LONGEST])


def _tags(words: tuple[str, ...], piece: _Piece) -> Iterator[str]:
    for word, following in zip(words, (*words[1:], ""), strict=True):
        if word in piece.docstring.parameters and word not in _ORDINARY:
            yield "B-PARAM"
        elif word in piece.module.defined and (following == "(" or not re.fullmatch("[a-z]+", word)):
            yield "B-OBJECT"
        else:
            yield "O"


# --------------------------------------------------------------------------------------------------------- match
def _match() -> TaskData[TextExample, Choice]:
    """Every summary once with the parameters it was written for and once with those of another function.

    The parameters stand as in the source, with annotations and defaults but without the function's name, which would
    give the pair away. The other function is of the same module, where that has one, in half of the cases, and any of
    the split in the rest; neither function's parameters are all parameters of the other.
    """
    notes = Notes()

    def examples(pieces: list[_Piece]) -> Iterator[TextExample]:
        modules = {module: list(its) for module, its in groupby(pieces, key=lambda piece: piece.module.name)}
        for piece in pieces:
            other = _another(piece, modules[piece.module.name], pieces)
            if other is None:
                notes.counts["left out: no function has other parameters"] += 1
                continue
            for pair, label in ((piece.docstring.signature, "match"), (other.signature, "other")):
                yield TextExample(f"{piece.key}.{label}", piece.where, piece.text, pair=pair, label=label)

    settings = config.Classification(pair="pair")
    return _task("pydocs/match", Classification, settings, _pieces(_summary, notes), examples, notes)


def _summary(docstring: Docstring) -> Iterator[str]:
    """The first paragraph of a function with parameters, without lines that repeat its signature."""
    if not docstring.parameters:
        return
    own = re.compile(rf"\W*{re.escape(docstring.name.rpartition('.')[2])}\s*\(")
    for paragraph in _paragraphs(docstring.text):
        words = " ".join(line for line in paragraph.splitlines() if not own.match(line)).split()
        if words:
            if len(words) >= _SHORTEST:
                yield " ".join(words[:_LONGEST])
            return


def _another(piece: _Piece, same_module: list[_Piece], pieces: list[_Piece]) -> Docstring | None:
    """A docstring with other parameters, by keyed chance; None where there is none."""
    key = chance.purpose_key(piece.key)
    near = chance.uniform("pydocs match near", key) < 0.5
    for pool in (same_module, pieces) if near else (pieces,):
        start = int(chance.integers(len(pool), "pydocs match other", key))
        for candidate in chain(pool[start:], pool[:start]):
            if _unlike(candidate, piece):
                return candidate.docstring
    return None


def _unlike(one: _Piece, other: _Piece) -> bool:
    a, b = set(one.docstring.parameters), set(other.docstring.parameters)
    return not (a <= b or b <= a)


# -------------------------------------------------------------------------------------------------------- params
_NAME = r"[`'\"*]{0,2}(?P<name>\w+)[`'\"*]{0,2}"
_KIND = "(?:optional|required|keyword|positional|input|first|second|third|argument|parameter)"
_SAYS = "(?:is|are|specifies|gives|determines|defines|indicates|contains|holds|represents|describes|controls|denotes)"
_ITEM = re.compile(
    rf"^(?P<indent> *)(?:[-*+o]\s+)?(?::param\s+(?:\w+\s+)?)?{_NAME}(?:\s*\([^)]*\))?\s*(?:--?|—|:)\s+"
    r"(?=(?P<what>\S.*(?:\n(?P=indent) +\S.*)*))",
    re.MULTILINE,
)
"""`name -- what`, `name (kind): what`, `:param name: what`, with the lines below that are indented further."""
_SENTENCE = re.compile(
    rf"(?:\A|\n\n|[.;:]\s+)(?:[Tt]he\s+)?(?:{_KIND}\s+)*{_NAME}(?:\s+{_KIND})*,?\s+"
    rf"(?:{_SAYS}|(?:should|must|can|may|will)\s+be)\s+(?=(?P<what>\S[\s\S]*))",
)
"""`The optional argument name is what`, at the start of a sentence."""
_END = re.compile(rf"[.;:]?(?:\n\n|\Z)|[.;](?=\s)|,\s+(?:and\s+)?[`'\"*]*(?!which|that)\w+[`'\"*]*\s+{_SAYS}\s")
"""Of the sentence, or before the next parameter's verb."""


def _params() -> TaskData[Question, Answer]:
    """ "What is NAME?" for each parameter that a docstring describes, in a list or in a sentence.

    The answer goes to the end of the sentence. One of more than 24 words is left out and counted.
    """
    notes = Notes()

    def examples(pieces: list[_Piece]) -> Iterator[Question]:
        for piece in pieces:
            context = " ".join(piece.text.split())
            described: dict[str, tuple[str, int]] = {}
            for name, answer, start in _descriptions(piece.text):
                described.setdefault(name, (answer, start))
            for name in filter(described.__contains__, piece.docstring.parameters):
                answer, start = described[name]
                if len(answer.split()) > _LONGEST_ANSWER:
                    notes.counts[f"left out: an answer of more than {_LONGEST_ANSWER} words"] += 1
                else:
                    yield Question(f"{piece.key}.{name}", piece.where, f"What is {name}?", context, (answer,), (start,))

    settings = config.SpanQA(longest_answer=2 * _LONGEST_ANSWER)
    return _task("pydocs/params", SpanQA, settings, _pieces(_prose, notes), examples, notes)


def _prose(docstring: Docstring) -> Iterator[str]:
    """The paragraphs of a docstring, as many together as have 64 words, or a longer one by itself."""
    together: list[str] = []
    for paragraph in _paragraphs(docstring.text) if docstring.parameters else ():
        if together and sum(len(p.split()) for p in (*together, paragraph)) > _LONGEST:
            yield "\n\n".join(together)
            together = []
        together.append(paragraph)
    if together:
        yield "\n\n".join(together)


def _descriptions(text: str) -> Iterator[tuple[str, str, int]]:
    """(name, what the text says of it, where that stands once all white space is single spaces)."""
    for found in chain(_ITEM.finditer(text), _SENTENCE.finditer(text)):
        answer = _END.split(found["what"], maxsplit=1)[0]
        yield found["name"], " ".join(answer.split()), len(" ".join(text[: found.start("what")].split())) + 1


# ------------------------------------------------------------------------------------------------------- summary
def _summaries() -> TaskData[TextExample, str]:
    """The first line of a docstring, from the name and the parameters of what it describes, and what follows there."""
    notes = Notes()

    def examples(pieces: list[_Piece]) -> Iterator[TextExample]:
        for piece in pieces:
            d = piece.docstring
            rest = " ".join("\n".join(_paragraphs(d.text)[1:]).split()[:_LONGEST])
            definition = f"{d.name.rpartition('.')[2]}({d.signature})"
            yield TextExample(piece.key, piece.where, f"{definition} {rest}".strip(), label=piece.text)

    settings = config.Seq2Seq(longest=2 * _LONGEST_SUMMARY)
    return _task("pydocs/summary", Seq2Seq, settings, _pieces(_first_line, notes), examples, notes)


def _first_line(docstring: Docstring) -> Iterator[str]:
    """The first paragraph of a docstring that is not a module's, where it is short enough to be a summary."""
    first = next(iter(_paragraphs(docstring.text)), "").split()
    if docstring.name and _SHORTEST_SUMMARY <= len(first) <= _LONGEST_SUMMARY:
        yield " ".join(first)


TASKS: dict[str, Callable[[], TaskData[Any, Any]]] = {
    "area": _area,
    "names": _names,
    "match": _match,
    "params": _params,
    "summary": _summaries,
}
"""The tasks by name, each with the function that makes it."""
