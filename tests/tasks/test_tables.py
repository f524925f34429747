"""Tables of texts: what is written is read again, and what is wrong in a file is named with its line."""

import csv
import gzip
import json
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sesame import config
from sesame.errors import UserError
from sesame.tasks import tables
from sesame.tasks.base import Notes
from sesame.tasks.tables import TextExample

SINGLE = config.Classification(text="text", label="label")
PAIR = config.Classification(text="a", pair="b", label="class", key="id")

anything = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=12)
texts = anything.filter(lambda text: text.strip())
one_line = st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters="\0\t\n\r"), min_size=1, max_size=12
).filter(lambda text: text.strip())


def pairs(text):
    row = st.tuples(text, text, text, text.map(str.strip))  # labels are read without the spaces around them
    return st.lists(row, min_size=1, max_size=5, unique_by=lambda row: row[0])


def read(path, columns=SINGLE, skip=False, labelled=True):
    notes = Notes(skip=skip)
    return tables.read(columns, path, notes, labelled), notes


def message(path, columns=SINGLE, labelled=True):
    """What is said of a bad file, without the folder it lies in."""
    with pytest.raises(UserError) as caught:
        read(path, columns, labelled=labelled)
    return str(caught.value).replace(f"{path.parent}/", "")


@pytest.fixture
def file(tmp_path):
    def write(name, content):
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return write


# ---------------------------------------------------------------------------------------- round trips
def round_trip(rows, path):
    examples = [TextExample(key, "", a, b, label) for key, a, b, label in rows]
    tables.write(PAIR, examples, [{"prediction": "x", "probability": 0.25}] * len(rows), path)
    found, _ = read(path, PAIR)
    assert [(e.key, e.text, e.pair, e.label) for e in found] == rows


@settings(max_examples=25, deadline=None)
@given(pairs(one_line), st.sampled_from([".tsv", ".tsv.gz"]))
def test_texts_of_one_line_survive_tsv(tmp_path_factory, rows, ending):
    round_trip(rows, tmp_path_factory.mktemp("tables") / f"table{ending}")


@settings(max_examples=25, deadline=None)
@given(pairs(texts), st.sampled_from([".csv", ".jsonl", ".csv.gz", ".jsonl.gz"]))
def test_any_text_survives_csv_and_jsonl(tmp_path_factory, rows, ending):
    round_trip(rows, tmp_path_factory.mktemp("tables") / f"table{ending}")


@settings(max_examples=20, deadline=None)
@given(pairs(texts))
def test_csv_is_what_pythons_own_reader_reads_and_lines_are_where_rows_start(tmp_path_factory, rows):
    path = tmp_path_factory.mktemp("tables") / "table.csv"
    with open(path, "w", newline="", encoding="utf-8") as file:
        csv.writer(file, lineterminator="\n", quoting=csv.QUOTE_ALL).writerows([("id", "a", "b", "class"), *rows])
    line, expected = 2, []
    for row in rows:
        expected.append((*row, f"{path}:{line}"))
        line += 1 + sum(field.count("\n") for field in row)
    assert [(e.key, e.text, e.pair, e.label, e.where) for e in read(path, PAIR)[0]] == expected


# -------------------------------------------------------------------------------------------- reading
def test_tsv_has_no_quoting(file):
    path = file("t.tsv", 'label\ttext\n1\t"He said\n0\tno", he said\n')
    assert read(path)[0] == [
        TextExample("2", f"{path}:2", '"He said', None, "1"),
        TextExample("3", f"{path}:3", 'no", he said', None, "0"),
    ]


def test_windows_files_with_a_byte_order_mark_read_the_same(file):
    plain = "label\ttext\n1\tyes\n0\tno\n"
    windows = b"\xef\xbb\xbf" + plain.replace("\n", "\r\n").encode() + b"\r\n\r\n"
    for ending, separator in ((".tsv", "\t"), (".csv", ",")):
        expected = read(file("plain" + ending, plain.replace("\t", separator)))[0]
        found = read(file("windows" + ending, windows.replace(b"\t", separator.encode())))[0]
        assert [(e.key, e.text, e.label) for e in found] == [(e.key, e.text, e.label) for e in expected]


def test_separators_of_unicode_end_no_line(file):
    text = "one\u2028two\x0bthree\x85four"
    assert read(file("t.tsv", f"text\tlabel\n{text}\t1\n"))[0][0].text == text
    assert read(file("t.jsonl", json.dumps({"text": text, "label": 1}, ensure_ascii=False)))[0][0].text == text


@pytest.mark.parametrize("ending", [".tsv", ".csv", ".jsonl"])
def test_a_text_may_be_a_whole_book(file, ending):
    text = "a " * 100_000 + "end"
    table = f"text{{0}}label\n{text}{{0}}1\n".format("\t" if ending == ".tsv" else ",")
    (found,), _ = read(file("t" + ending, json.dumps({"text": text, "label": 1}) if ending == ".jsonl" else table))
    assert found.text == text


def test_labels_and_keys_of_json_may_be_numbers(file):
    lines = [{"id": 7, "a": "x", "b": "y", "class": True}, {"id": "q", "a": "x", "b": "y", "class": 2.5}]
    found, _ = read(file("t.jsonl", "\n\n".join(map(json.dumps, lines))), PAIR)
    assert [(e.key, e.label, e.where[-1]) for e in found] == [("7", "true", "1"), ("q", "2.5", "3")]


@pytest.mark.parametrize("ending", [".tsv", ".csv", ".jsonl"])
def test_for_prediction_labels_may_be_missing_or_empty(file, ending):
    if ending == ".jsonl":
        without, empty = '{"text": "x"}', '{"text": "x", "label": null}\n{"text": "y", "label": "1"}'
    else:
        without, empty = "text\nx\n", "label{0}text\n{0}x\n1{0}y\n".format("\t" if ending == ".tsv" else ",")
    assert [e.label for e in read(file("a" + ending, without), labelled=False)[0]] == [None]
    assert [e.label for e in read(file("b" + ending, empty), labelled=False)[0]] == [None, "1"]


# ------------------------------------------------------------------------------------------ bad input
@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("t.tsv", "label\ttext\n1\ta\n1\n", "t.tsv:3: the row has 1 columns, and the header has 2."),
        ("t.tsv", "label\ttext\n1\ta\n\n1\tb\n", "t.tsv:3: the row has 1 columns, and the header has 2."),
        ("t.tsv", "label\ttext\n1\ta\tb\n", "t.tsv:2: the row has 3 columns, and the header has 2. Does a text hold a"),
        ("t.csv", 'label,text\n1,"a\nb"\n1,a,b\n', "t.csv:4: the row has 3 columns, and the header has 2."),
        ("t.tsv", "label\ttext\n1\t \n", "t.tsv:2: the text in 'text' is empty."),
        ("t.csv", 'text,label\n"",1\n', "t.csv:2: the text in 'text' is empty."),
        ("t.jsonl", '{"text": "", "label": 1}', "t.jsonl:1: the text in 'text' is empty."),
        ("t.tsv", "label\ttext\n\tx\n", "t.tsv:2: the column 'label' is empty."),
        ("t.jsonl", '{"text": "a", "label": null}', "t.jsonl:1: the column 'label' is empty."),
        ("t.jsonl", '{"text": "a", "label": [1]}', "t.jsonl:1: the field 'label' holds [1]."),
        ("t.jsonl", '{"text": 3, "label": 1}', "t.jsonl:1: the field 'text' holds 3, not a text."),
        ("t.jsonl", '{"text": "a", "label": 1}\n{"texts": "a"}', "t.jsonl:2: there is no field 'label'."),
        ("t.jsonl", '{"texts": "a", "label": 1}', "t.jsonl:1: there is no field 'text'. Did you mean texts?"),
        ("t.jsonl", '\n{"text": "a", "label": 1', "t.jsonl:2: the line is not JSON ("),
        ("t.jsonl", '["a", 1]', "t.jsonl:1: the line is not a JSON object."),
        ("t.jsonl", r'{"text": "\ud800", "label": 1}', "t.jsonl:1: the line is not JSON ("),
        ("t.tsv", b"label\ttext\n1\tna\xefve\n", "t.tsv:2: the line is not UTF-8 (byte 0xef at column 5)."),
        ("t.csv", b'label,text\n1,"a\nb\xff"\n', "t.csv:3: the line is not UTF-8 (byte 0xff at column 2)."),
        ("t.jsonl", b'{"text": "\xff", "label": 1}', "t.jsonl:1: the line is not UTF-8 (byte 0xff at column 11)."),
    ],
)  # fmt: skip
def test_a_faulty_row_is_named_or_skipped_and_counted(file, name, content, said):
    path = file(name, content)
    assert message(path).startswith(said)
    header, good = {
        "t.tsv": ("label\ttext\n", "1\tgood\n"),
        "t.csv": ("label,text\n", "1,good\n"),
        "t.jsonl": ("", '{"text": "good", "label": 1}\n'),
    }[name]
    content = content if isinstance(content, bytes) else content.encode()
    header = content.partition(b"\n")[0] + b"\n" if header else b""
    if b"text,label" in header:
        good = "good,1\n"
    mixed = file(name, header + good.encode() + content.removeprefix(header))
    found, notes = read(mixed, skip=True)
    assert found[0].text == "good"
    assert notes.counts.total() == 1


def test_a_key_that_stands_twice_names_both_lines(file):
    path = file("t.tsv", "id\ta\tb\tclass\n7\tx\ty\t1\n8\tx\ty\t1\n7\tx\ty\t1\n")
    assert message(path, PAIR).startswith("t.tsv:4: the key '7' stands in line 2 already.")
    found, notes = read(path, PAIR, skip=True)
    assert [e.key for e in found] == ["7", "8"]
    assert notes.counts == {"skipped: duplicate key": 1}


@pytest.mark.parametrize("labelled", [True, False])
def test_a_column_that_is_not_there_is_named_with_the_nearest(file, labelled):
    path = file("t.tsv", "sentence\tlabels\na\t1\n")
    columns = config.Classification(text="sentense", label="label")
    assert message(path, columns, labelled).startswith("t.tsv:1: there is no column 'sentense'. Did you mean sentence?")
    columns = config.Classification(text="sentence", label="label")
    if labelled:
        assert message(path, columns).startswith("t.tsv:1: there is no column 'label'. Did you mean labels?")
    else:
        assert read(path, columns, labelled=False)[0][0].label is None


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("t.tsv", "", "t.tsv: the file is empty."),
        ("t.tsv", "\n\n", "t.tsv: the file is empty."),
        ("t.tsv", "label\ttext\n", "t.tsv: the file has no examples."),
        ("t.csv", "label,text\n\n", "t.csv: the file has no examples."),
        ("t.txt", "label\ttext\n", "t.txt: a table of texts is a .tsv, .csv or .jsonl file"),
        ("t.tsv", "text\tlabel\ttext\nx\t1\ty\n", "t.tsv:1: the column 'text' stands there 2 times."),
        ("t.csv", 'label,text\n1,a\n0,"b\n1,c\n', "t.csv:3: not valid CSV (unexpected end of data)."),
        ("t.csv", '\n"label,text\n', "t.csv:2: not valid CSV (unexpected end of data)."),
        ("t.csv", 'label,text\n1,"a"b\n', "t.csv:2: not valid CSV ("),
        ("t.tsv", "label\ttext\n1\ta\n".encode("utf-16"), "t.tsv: UTF-16 text"),
        ("t.tsv", b"label\ttext\n1\ta\0\n", "t.tsv:2: there is a NUL byte, so this is not UTF-8 text."),
        ("t.tsv", b"t\xe9xt\tlabel\nx\t1\n", "t.tsv:1: the line is not UTF-8 (byte 0xe9 at column 2). Convert"),
        ("t.tsv.gz", "label\ttext\n1\ta\n", "t.tsv.gz: not a whole gzip file ("),
        ("t.tsv.gz", gzip.compress(b"label\ttext\n1\ta\n", mtime=0)[:-9], "t.tsv.gz: the gzip file is cut short"),
    ],
)  # fmt: skip
def test_a_file_that_cannot_be_read_as_a_whole_is_refused_even_where_rows_may_be_skipped(file, name, content, said):
    path = file(name, content)
    assert message(path).startswith(said)
    with pytest.raises(UserError):
        read(path, skip=True)


def test_a_file_that_is_not_there_is_named(tmp_path):
    assert message(tmp_path / "t.tsv") == "t.tsv: no such file."
    (tmp_path / "folder.tsv").mkdir()
    assert message(tmp_path / "folder.tsv").startswith("folder.tsv: cannot be read (Is a directory")


# -------------------------------------------------------------------------------------------- writing
def test_a_written_table_has_the_prediction_beside_what_was_read(tmp_path):
    examples = [TextExample("1", "", "x, y", label="a"), TextExample("2", "", "z")]
    added = [{"prediction": "b", "probability": 0.5}, {"prediction": "a", "probability": 1.0}]
    for name, written in {
        "t.tsv": "key\ttext\tlabel\tprediction\tprobability\n1\tx, y\ta\tb\t0.5\n2\tz\t\ta\t1.0\n",
        "t.csv": 'key,text,label,prediction,probability\r\n1,"x, y",a,b,0.5\r\n2,z,,a,1.0\r\n',
        "t.jsonl": '{"key":"1","text":"x, y","label":"a","prediction":"b","probability":0.5}\n'
        '{"key":"2","text":"z","label":null,"prediction":"a","probability":1.0}\n',
    }.items():
        tables.write(SINGLE, examples, added, tmp_path / name)
        assert (tmp_path / name).read_bytes().decode() == written


@pytest.mark.parametrize(
    ("name", "content", "written"),
    [
        ("t.tsv", "key\ttext\tby\na7\tx\tme\n", "key\ttext\tby\tprediction\na7\tx\tme\tb\n"),
        ("t.csv", "by,label,text\nme, 1 ,x\n", "by,label,text,prediction\r\nme, 1 ,x,b\r\n"),
        ("t.jsonl", '{"label":1.0,"text":"x","of":[1]}\n', '{"label":1.0,"text":"x","of":[1],"prediction":"b"}\n'),
    ],
)  # fmt: skip
def test_a_row_that_was_read_is_written_unchanged_with_the_prediction_after_it(file, name, content, written):
    examples, _ = read(file(name, content), labelled=False)
    out = file("out-" + name, "")
    tables.write(SINGLE, examples, [{"prediction": "b"}], out)
    assert out.read_bytes().decode() == written


def test_json_lines_with_fields_of_their_own_become_a_table(file):
    examples, _ = read(file("t.jsonl", '{"text": "x", "old": true}\n{"text": "y", "of": [1, null]}'), labelled=False)
    out = file("out.csv", "")
    tables.write(SINGLE, examples, [{"prediction": 0.5}] * 2, out)
    assert out.read_bytes().decode() == 'text,old,prediction,of\r\nx,true,0.5,\r\ny,,0.5,"[1,null]"\r\n'


def test_a_column_that_is_called_like_an_added_one_is_refused(file):
    examples, _ = read(file("t.tsv", "text\tprediction\nx\told\n"), labelled=False)
    with pytest.raises(UserError, match=r"t.tsv:2: there is a column 'prediction' already. Rename it"):
        tables.write(SINGLE, examples, [{"prediction": "b"}], file("out.tsv", ""))


def test_labels_that_differ_in_white_space_or_in_how_json_writes_them_are_one(file):
    assert [e.label for e in read(file("t.tsv", "text\tlabel\na\tx \nb\tx\n"))[0]] == ["x", "x"]
    lines = '{"text": "a", "label": 1}\n{"text": "b", "label": 1.0}\n{"text": "c", "label": -2.5}'
    assert [e.label for e in read(file("t.jsonl", lines))[0]] == ["1", "1", "-2.5"]


def test_numbers_are_written_so_that_they_read_back_exactly(tmp_path):
    value = math.pi * 1e-7
    for name in ("t.tsv", "t.csv", "t.jsonl"):
        tables.write(SINGLE, [TextExample("1", "", "x")], [{"prediction": value}], tmp_path / name)
        columns = config.Regression(label="prediction")
        assert float(read(tmp_path / name, columns)[0][0].label) == value


def test_a_text_that_tsv_cannot_hold_is_refused_and_nothing_is_written(tmp_path):
    with pytest.raises(UserError, match=r"t.tsv:2: a text has a tab or a line end in it, .* Write a .csv or .jsonl"):
        tables.write(SINGLE, [TextExample("1", "", "x\ty")], [{}], tmp_path / "t.tsv")
    assert not (tmp_path / "t.tsv").exists()
