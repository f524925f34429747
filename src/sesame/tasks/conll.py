"""Sentences with a tag for every word, in CoNLL's columns or in CoNLL-U, and plain text that is to be tagged.

CoNLL columns (Tjong Kim Sang & Buchholz 2000): a line a word, its tag in one of the columns, a blank line between
sentences. CoNLL-U (universaldependencies.org/format.html): ten columns between tabs, comments, ranges and empty nodes.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import NamedTuple

from sesame import config
from sesame.errors import UserError, nearest
from sesame.tasks import files
from sesame.tasks.base import Notes

COLUMNS = 10
"""Of a CoNLL-U line: id, form, lemma, upos, xpos, feats, head, deprel, deps, misc."""
_FORM = 1
_NAMED = {"upos": 3, "xpos": 4, "feats": 5, "deprel": 7}
"""The columns of CoNLL-U that hold something like a tag, counted from 0."""
_WORD, _RANGE, _EMPTY_NODE = re.compile(r"\d+"), re.compile(r"\d+-\d+"), re.compile(r"\d+\.\d+")
_SENTENCE_ID = re.compile(r"#\s*sent_id\s*=\s*(.*\S)")


@dataclass(frozen=True)
class Sentence:
    """Words and their tags."""

    key: str
    """CoNLL-U's sent_id; elsewhere the number of the first line."""
    where: str
    """`file:line` of the first word."""
    words: tuple[str, ...]
    tags: tuple[str, ...] | None
    """None where the sentence is only to be tagged."""
    lines: tuple[int, ...]
    """The line of each word."""
    rows: tuple[str, ...] = ()
    """The lines of CoNLL-U as they stood, so that they can be written with other tags; empty for other formats."""
    columns: tuple[str, ...] = field(default=(), compare=False, repr=False)
    """The same of CoNLL's columns."""

    def where_of(self, word: int) -> str:
        """`file:line` of a word."""
        return f"{self.where.rpartition(':')[0]}:{self.lines[word]}"


class _Line(NamedTuple):
    number: int
    text: str
    not_utf8: str = ""
    """What is wrong with its bytes."""


class _Faulty(Exception):
    """A sentence that cannot be taken: line, short reason, message."""

    def __init__(self, line: int, reason: str, message: str):
        super().__init__(message)
        self.line, self.reason, self.message = line, reason, message


_Block = list[_Line]
"""The lines of one sentence."""


def read(task: config.Tagging, path: Path, notes: Notes, labelled: bool = True) -> list[Sentence]:
    """The sentences of a file, which may be gzip (.gz).

    CoNLL-U is known by the name `.conllu` or by ten columns with an id; everything else has CoNLL's columns. With
    `labelled=False` tags are not read, and the file may also be plain text, one sentence a line, words between spaces.
    A faulty sentence goes to `notes`; a faulty file raises UserError.
    """
    blocks = list(_sentences(_lines(path)))
    if not blocks:
        raise UserError(f"{path}: the file has no sentence. One word a line is expected, with its tag.")
    parse: Callable[[_Block], Sentence]
    if _is_conllu(path, blocks):
        parse = partial(_from_conllu, path, _conllu_column(task.column, path), labelled)
    elif labelled or _has_columns(path, blocks):
        width = len(_cells(blocks[0][0].text))
        parse = partial(_from_columns, path, _column(task.column, path) if labelled else None, width, labelled)
    else:
        blocks, parse = [[line] for block in blocks for line in block], partial(_from_text, path)

    found: dict[str, Sentence] = {}
    for block in blocks:
        try:
            for line in block:
                if line.not_utf8:
                    raise _Faulty(line.number, "not UTF-8", line.not_utf8)
            sentence = parse(block)
            if twin := found.get(sentence.key):
                raise _Faulty(block[0].number, "duplicate id", f"the id {sentence.key} is that of {twin.where} too.")
            found[sentence.key] = sentence
        except _Faulty as fault:
            notes.fault(f"{path}:{fault.line}", fault.reason, fault.message)
    if not found:
        raise UserError(f"{path}: none of its {len(blocks)} sentences could be read. See what was skipped, and why.")
    return list(found.values())


def write(sentences: Sequence[Sentence], tags: Sequence[Sequence[str]], path: Path, column: str = "") -> None:
    """The sentences with `tags`, as they were read: CoNLL-U with its column filled, CoNLL's columns with theirs filled
    or, where none is named or there, with the tag as one more. Of plain text and what comes from no file: word, tab,
    tag."""
    written: list[str] = []
    for sentence, predicted in zip(sentences, tags, strict=True):
        if sentence.rows:
            written += _filled(sentence.rows, predicted, _conllu_column(column, path))
        elif sentence.columns:
            written += [_with_tag(row, tag, column) for row, tag in zip(sentence.columns, predicted, strict=True)]
        else:
            written += [f"{word}\t{tag}" for word, tag in zip(sentence.words, predicted, strict=True)]
        written.append("")
    files.write(path, "".join(f"{line}\n" for line in written).encode())


def _with_tag(row: str, tag: str, column: str) -> str:
    """A line of CoNLL's columns with the tag in its place, or as one more column."""
    cells = _cells(row)
    if column.isdecimal() and 1 < int(column) <= len(cells):
        cells[int(column) - 1] = tag
    else:
        cells.append(tag)
    return (" " if " " in row and "\t" not in row else "\t").join(cells)


def _filled(rows: Sequence[str], tags: Sequence[str], column: int) -> list[str]:
    todo, lines = iter(tags), []
    for row in rows:
        cells = row.split("\t")
        if _WORD.fullmatch(cells[0]):
            row = "\t".join([*cells[:column], next(todo), *cells[column + 1 :]])
        lines.append(row)
    return lines


# ------------------------------------------------------------------------------------------- sentences
def _from_conllu(path: Path, column: int, labelled: bool, block: _Block) -> Sentence:
    key = str(block[0].number)
    words: list[str] = []
    tags, lines = [], []
    for number, text, _ in block:
        if text.startswith("#"):
            if named := _SENTENCE_ID.fullmatch(text):
                key = named[1]
            continue
        cells = text.split("\t")
        if len(cells) != COLUMNS:
            raise _Faulty(number, "missing column", f"{len(cells)} columns between tabs; CoNLL-U has {COLUMNS}.")
        if _RANGE.fullmatch(cells[0]) or _EMPTY_NODE.fullmatch(cells[0]):
            continue
        if cells[0] != str(len(words) + 1):
            raise _Faulty(
                number,
                "words not in order",
                f"the id {cells[0]!r} where word {len(words) + 1} is expected. "
                f"Words count up from 1, and a blank line ends a sentence.",
            )
        tag = cells[column].strip(" ")
        if labelled and (not tag or (tag == "_" and column != _NAMED["feats"])):
            raise _Faulty(number, "missing tag", f"no tag for {cells[_FORM]!r} in column {column + 1}.")
        words.append(_word(number, cells[_FORM]))
        tags.append(tag)
        lines.append(number)
    if not words:
        raise _Faulty(block[0].number, "sentence without words", "a sentence without words, only comments or ranges.")
    rows = tuple(line.text for line in block)
    return Sentence(key, f"{path}:{lines[0]}", tuple(words), tuple(tags) if labelled else None, tuple(lines), rows)


def _from_columns(path: Path, column: int | None, width: int, labelled: bool, block: _Block) -> Sentence:
    """`column` is None for the last: then, and where tags are not read, every line has `width` columns."""
    words, tags = [], []
    for number, text, _ in block:
        cells = _cells(text)
        if column is None and len(cells) != width:
            raise _Faulty(
                number,
                "missing column" if len(cells) < width else "more columns",
                f"{_many(len(cells))} in {text!r}, but the file's first line has {width}.",
            )
        tag_at = len(cells) - 1 if column is None else column
        if labelled and not 1 <= tag_at < len(cells):
            raise _Faulty(
                number,
                "missing column",
                f"{_many(len(cells))} in {text!r}; a word and, in column {max(tag_at, 1) + 1}, its tag are expected.",
            )
        if labelled and not cells[tag_at]:
            raise _Faulty(number, "missing tag", f"no tag for {cells[0]!r} in column {tag_at + 1}.")
        words.append(_word(number, cells[0]))
        tags.append(cells[tag_at])
    lines = tuple(line.number for line in block)
    rows = tuple(line.text for line in block)
    its = tuple(tags) if labelled else None
    return Sentence(str(lines[0]), f"{path}:{lines[0]}", tuple(words), its, lines, columns=rows)


def _from_text(path: Path, block: _Block) -> Sentence:
    number, words = block[0].number, tuple(block[0].text.split())
    if not words:
        raise _Faulty(number, "sentence without words", "a sentence without words, only white space.")
    return Sentence(str(number), f"{path}:{number}", words, None, (number,) * len(words))


def _word(number: int, cell: str) -> str:
    word = cell.strip(" ")
    if not word:
        raise _Faulty(number, "missing word", "no word before the tag.")
    return word


def _many(columns: int) -> str:
    return "1 column" if columns == 1 else f"{columns} columns"


# --------------------------------------------------------------------------------------------- formats
def _is_conllu(path: Path, blocks: list[_Block]) -> bool:
    if path.name.removesuffix(".gz").endswith(".conllu"):
        return True
    first = next((line.text for line in blocks[0] if not line.text.startswith("#")), "").split("\t")
    return len(first) == COLUMNS and any(known.fullmatch(first[0]) for known in (_WORD, _RANGE, _EMPTY_NODE))


def _has_columns(path: Path, blocks: list[_Block]) -> bool:
    """Whether a file without labels has CoNLL's columns, and is not text with a sentence a line.

    It has where it is called .conll or begins with a tab-separated line; where most lines are one word; and where most
    lines are equally many words and blank lines stand between. A stray line is then a fault, and not taken for text.
    """
    lines = [line.text for block in blocks for line in block]
    if path.name.removesuffix(".gz").endswith(".conll") or "\t" in lines[0]:
        return True
    width, count = Counter(len(_cells(line)) for line in lines).most_common(1)[0]
    return 2 * count > len(lines) and (width == 1 or len(blocks) > 1)


def _cells(text: str) -> list[str]:
    """Columns: between tabs where there are any, for a word may hold a space; else between spaces.

    Other white space separates nothing: the ideographic space is a word of some corpora.
    """
    return [cell.strip(" ") for cell in text.split("\t")] if "\t" in text else [c for c in text.split(" ") if c]


def _conllu_column(column: str, path: Path) -> int:
    """Where the tag stands in a line of CoNLL-U, from 0."""
    if column.isdecimal():
        if _FORM + 1 < int(column) <= COLUMNS:
            return int(column) - 1
        raise UserError(f"{path}: column {column} holds no tag. CoNLL-U has tags in columns 3 to {COLUMNS}.")
    try:
        return _NAMED[column.lower() or "upos"]
    except KeyError:
        raise UserError(f"{path}: CoNLL-U has no column {column!r} of tags.{nearest(column, _NAMED)}") from None


def _column(column: str, path: Path) -> int | None:
    """Where the tag stands in a line of CoNLL's columns, from 0; None for the last."""
    if not column:
        return None
    if column.isdecimal() and int(column) > 1:
        return int(column) - 1
    if column.isdecimal():
        raise UserError(f"{path}: column {column} holds no tag. The first is the word; tags are in column 2 or later.")
    raise UserError(
        f"{path}: has CoNLL's columns, which have no names, and column {column!r} was asked for. "
        f"Give its number, or none for the last; names are CoNLL-U's ({', '.join(_NAMED)})."
    )


# ----------------------------------------------------------------------------------------------- lines
def _sentences(lines: Iterator[_Line]) -> Iterator[_Block]:
    """The lines between blank lines; CoNLL-2003's line -DOCSTART-, where a document begins, is no word."""
    block: _Block = []
    for line in lines:
        if line.text and not line.text.startswith("-DOCSTART-"):
            block.append(line)
        elif block:
            yield block
            block = []
    if block:
        yield block


def _lines(path: Path) -> Iterator[_Line]:
    """The lines of a file, without the spaces at both ends (tabs stand: an empty column is a column)."""
    for number, raw in enumerate(files.contents(path).split(b"\n"), 1):
        raw = raw.removesuffix(b"\r").strip(b" ")
        try:
            yield _Line(number, raw.decode() if raw.strip(b" \t\r") else "")
        except UnicodeDecodeError as error:
            column = len(raw[: error.start].decode()) + 1
            wrong = f"not UTF-8 (byte 0x{raw[error.start]:02x} at column {column}). Convert the file to UTF-8."
            yield _Line(number, raw.decode(errors="replace"), wrong)
