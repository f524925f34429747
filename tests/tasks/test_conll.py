"""Sentences are read as they stand, from every layout; what is wrong is said with its line."""

import gzip
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sesame.config import Tagging
from sesame.errors import UserError
from sesame.tasks import conll
from sesame.tasks.base import Notes
from sesame.tasks.conll import Sentence

COLUMNS = "-DOCSTART- -X- O\n\nAnna NNP  B-PER\nsleeps VBZ O\n\n\nOslo NNP B-LOC\n"
CONLLU = """\
# newdoc id = a
# sent_id = a-1
# text = Don't go.
1-2\tDon't\t_\t_\t_\t_\t_\t_\t_\t_
1\tDo\tdo\tAUX\tVB\t_\t3\taux\t_\t_
2\tn't\tnot\tPART\tRB\t_\t3\tadvmod\t_\t_
2.1\tyou\tyou\tPRON\tPRP\t_\t_\t_\t3:nsubj\t_
3\tgo\tgo\tVERB\tVB\tVerbForm=Inf\t0\troot\t_\tSpaceAfter=No

1\t25 000\t25 000\tNUM\tCD\tNumType=Card\t0\troot\t_\t_
"""
ROW = "1\tyes\tyes\tINTJ\tUH\t_\t0\troot\t_\t_\n"

cell = st.text(st.characters(codec="utf-8", exclude_characters="\t\n"), min_size=1, max_size=5)
word = cell.filter(lambda text: text.strip(" \r") == text and not text.startswith("-DOCSTART-"))
sentences = st.lists(st.lists(st.tuples(word, word), min_size=1, max_size=5), min_size=1, max_size=4)


def read(tmp_path: Path, text: str | bytes, name: str = "data.txt", labelled: bool = True, **options: str):
    """What is read from a file with that text, and the notes; with `skip=...` faults are counted."""
    path = tmp_path / name
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    notes = Notes(skip=options.pop("skip", "") != "")
    return conll.read(Tagging(**options), path, notes, labelled), notes


def refused(tmp_path: Path, text: str | bytes, name: str = "data.txt", labelled: bool = True, **options: str) -> str:
    with pytest.raises(UserError) as error:
        read(tmp_path, text, name, labelled, **options)
    message = str(error.value)
    assert message.startswith(str(tmp_path / name)) and "\n" not in message
    return message.removeprefix(str(tmp_path / name))


# ------------------------------------------------------------------------------------------- what is read
def test_columns(tmp_path: Path) -> None:
    (anna, oslo), _ = read(tmp_path, COLUMNS)
    path = tmp_path / "data.txt"
    assert anna == Sentence("3", f"{path}:3", ("Anna", "sleeps"), ("B-PER", "O"), (3, 4))
    assert oslo == Sentence("7", f"{path}:7", ("Oslo",), ("B-LOC",), (7,))
    assert anna.where_of(1) == f"{path}:4"
    assert [s.tags for s in read(tmp_path, COLUMNS, column="2")[0]] == [("NNP", "VBZ"), ("NNP",)]


def test_a_word_between_tabs_may_hold_a_space_and_one_may_be_a_wide_space(tmp_path: Path) -> None:
    (found,), _ = read(tmp_path, "thành phố\tNOUN\n\u3000\tX\n")
    assert (found.words, found.tags) == (("thành phố", "\u3000"), ("NOUN", "X"))


def test_a_number_sign_is_a_word_where_there_are_columns(tmp_path: Path) -> None:
    assert [s.words for s in read(tmp_path, "# SYM\n1 CD\n")[0]] == [("#", "1")]


@pytest.mark.parametrize(
    ("column", "tags"),
    [
        ("", ("AUX", "PART", "VERB")),
        ("UPOS", ("AUX", "PART", "VERB")),
        ("xpos", ("VB", "RB", "VB")),
        ("deprel", ("aux", "advmod", "root")),
        ("feats", ("_", "_", "VerbForm=Inf")),
        ("7", ("3", "3", "0")),
    ],
)
def test_conllu_by_column(column: str, tags: tuple[str, ...], tmp_path: Path) -> None:
    (first, second), _ = read(tmp_path, CONLLU, "data.tsv", column=column)
    assert (first.key, first.words, first.tags, first.lines) == ("a-1", ("Do", "n't", "go"), tags, (5, 6, 8))
    assert first.where == f"{tmp_path / 'data.tsv'}:5"
    assert (second.key, second.words) == ("10", ("25 000",))


def test_gzip_windows_line_ends_and_a_byte_order_mark_change_nothing(tmp_path: Path) -> None:
    expected = [(s.words, s.tags) for s in read(tmp_path, CONLLU, "a.conllu")[0]]
    marked = b"\xef\xbb\xbf" + CONLLU.replace("\n", "\r\n").encode()
    assert [(s.words, s.tags) for s in read(tmp_path, marked, "b.conllu")[0]] == expected
    assert [(s.words, s.tags) for s in read(tmp_path, gzip.compress(marked), "c.conllu.gz")[0]] == expected


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("The cat sat\nIt slept\n", [("The", "cat", "sat"), ("It", "slept")]),
        ("The cat\n", [("The", "cat")]),
        ("A title\n\nThe first paragraph\nand more of it here\n", None),
        ("The\ncat\n\nIt\n", [("The", "cat"), ("It",)]),
        ("The DET\ncat NOUN\n\nIt PRON\n", [("The", "cat"), ("It",)]),
        ("The\tDET\ncat\tNOUN\n", [("The", "cat")]),
        (CONLLU.replace("AUX", "_"), [("Do", "n't", "go"), ("25 000",)]),
    ],
)
def test_what_is_to_be_tagged_may_be_text_or_columns(
    text: str, words: list[tuple[str, ...]] | None, tmp_path: Path
) -> None:
    found, _ = read(tmp_path, text, labelled=False)
    assert [s.words for s in found] == (words or [tuple(line.split()) for line in text.split("\n") if line])
    assert {s.tags for s in found} == {None}


# ------------------------------------------------------------------------------------------- round trips
@settings(max_examples=40, deadline=None)
@given(sentences)
def test_columns_come_back_as_they_were_written(tmp_path_factory: pytest.TempPathFactory, made) -> None:
    path = tmp_path_factory.mktemp("columns") / "out"
    written = [
        Sentence(str(i), f"x:{i}", tuple(w for w, _ in pairs), None, (1,) * len(pairs)) for i, pairs in enumerate(made)
    ]
    tags = [tuple(tag for _, tag in pairs) for pairs in made]
    conll.write(written, tags, path)
    found = conll.read(Tagging(), path, Notes())
    assert [(s.words, s.tags) for s in found] == [(s.words, t) for s, t in zip(written, tags, strict=True)]
    assert [s.words for s in conll.read(Tagging(), path, Notes(), labelled=False)] == [s.words for s in written]


@pytest.mark.parametrize(
    ("text", "column", "written"),
    [
        ("Anna NNP B-NP\nsleeps  VBZ B-VP\n", "", "Anna NNP B-NP X\nsleeps VBZ B-VP Y\n\n"),
        ("Anna NNP B-NP\nsleeps VBZ B-VP\n", "2", "Anna X B-NP\nsleeps Y B-VP\n\n"),
        ("New York\tNNP\nis\tVBZ\n", "3", "New York\tNNP\tX\nis\tVBZ\tY\n\n"),
        ("Anna\nsleeps\n", "", "Anna\tX\nsleeps\tY\n\n"),
    ],
)
def test_columns_keep_what_else_stands_there(text: str, column: str, written: str, tmp_path: Path) -> None:
    found, _ = read(tmp_path, text, "in.conll", labelled=False)
    conll.write(found, [("X", "Y")], tmp_path / "out.conll.gz", column)
    assert gzip.decompress((tmp_path / "out.conll.gz").read_bytes()).decode() == written
    assert conll.read(Tagging(column=column), tmp_path / "out.conll.gz", Notes())[0].tags == ("X", "Y")


@settings(max_examples=40, deadline=None)
@given(st.lists(word, min_size=4, max_size=4), st.sampled_from(["", "xpos", "8"]))
def test_conllu_comes_back_with_new_tags_and_nothing_else_changed(
    tmp_path_factory: pytest.TempPathFactory, tags: list[str], column: str
) -> None:
    tags = [tag.replace("_", "-") for tag in tags]
    folder = tmp_path_factory.mktemp("conllu")
    found, _ = read(folder, CONLLU, "in.conllu", labelled=False)
    conll.write(found, [tuple(tags[:3]), tuple(tags[3:])], folder / "out.conllu", column)
    again = conll.read(Tagging(column=column), folder / "out.conllu", Notes())
    assert [s.tags for s in again] == [tuple(tags[:3]), tuple(tags[3:])]
    old = [tag for s in conll.read(Tagging(column=column), folder / "in.conllu", Notes()) for tag in s.tags or ()]
    conll.write(again, [tuple(old[:3]), tuple(old[3:])], folder / "back.conllu", column)
    assert (folder / "back.conllu").read_text() == CONLLU + "\n"


# -------------------------------------------------------------------------------------------- what is wrong
@pytest.mark.parametrize(
    ("text", "line", "said"),
    [
        ("a DT\nb\n\nc DT\n", 2, "1 column in 'b', but the file's first line has 2"),
        ("a DT\nb NN x\n\nc DT\n", 2, "3 columns in 'b NN x', but the file's first line has 2"),
        ("a\tDT\nb\t\n\nc\tDT", 2, "no tag for 'b' in column 2"),
        ("a\tDT\n\tNN\n\nc\tDT", 2, "no word before the tag"),
        (b"a DT\n\xe9t\xe9 NN\n\nc DT\n", 2, "not UTF-8 (byte 0xe9 at column 1)"),
        (ROW + "\n" + ROW.replace("\t_\n", "\n"), 3, "9 columns between tabs; CoNLL-U has 10"),
        (ROW + "\n" + ROW + ROW, 4, "the id '1' where word 2 is expected"),
        (ROW + "\n" + ROW.replace("INTJ", "_"), 3, "no tag for 'yes' in column 4"),
        (ROW + "\n# sent_id = 2\n\n", 3, "a sentence without words"),
        ("# sent_id = x\n" + ROW + "\n# sent_id = x\n" + ROW, 4, "the id x is that of"),
    ],
)
def test_a_faulty_sentence_is_said_with_its_line_or_skipped_and_counted(
    text: str | bytes, line: int, said: str, tmp_path: Path
) -> None:
    message = refused(tmp_path, text)
    assert message.startswith(f":{line}: ") and said in message
    found, notes = read(tmp_path, text, skip="yes")
    assert len(found) == 1 and sum(notes.counts.values()) == 1


def test_a_column_that_only_some_lines_have(tmp_path: Path) -> None:
    assert "1 column in 'a'; a word and, in column 2, its tag are expected" in refused(tmp_path, "a\nb\n")
    message = refused(tmp_path, "a DT x\nb NN\n", column="3")
    assert message.startswith(":2: 2 columns in 'b NN'; a word and, in column 3, its tag")


@pytest.mark.parametrize(
    ("text", "options", "said"),
    [
        ("", {}, "the file has no sentence"),
        ("\n \n-DOCSTART- O\n", {}, "the file has no sentence"),
        (CONLLU, {"column": "xpoz"}, "no column 'xpoz' of tags. Did you mean xpos"),
        (CONLLU, {"column": "2"}, "column 2 holds no tag"),
        (CONLLU, {"column": "11"}, "column 11 holds no tag"),
        (COLUMNS, {"column": "upos"}, "columns, which have no names, and column 'upos' was asked for"),
        (COLUMNS, {"column": "1"}, "column 1 holds no tag"),
        ("a\n\nb\n", {"skip": "yes"}, "none of its 2 sentences could be read"),
        ("a DT\n".encode("utf-16"), {}, "UTF-16"),
    ],
)
def test_a_wrong_file_or_column_is_refused(
    text: str | bytes, options: dict[str, str], said: str, tmp_path: Path
) -> None:
    message = refused(tmp_path, text, **options)
    assert message.startswith(": ") and said in message


def test_damaged_gzip_and_missing_files_are_refused(tmp_path: Path) -> None:
    assert "cut short" in refused(tmp_path, gzip.compress(COLUMNS.encode())[:-9], "a.gz")
    assert "not a whole gzip" in refused(tmp_path, COLUMNS, "b.gz")
    with pytest.raises(UserError, match="no such file"):
        conll.read(Tagging(), tmp_path / "missing", Notes())


def test_a_broken_line_does_not_turn_columns_into_text(tmp_path: Path) -> None:
    message = refused(tmp_path, "a DT\nb NN\n\nc\nd NN\n", labelled=False)
    assert message.startswith(":4: 1 column in 'c'")
