"""Documents from every kind of source, and what bad input says."""

import gzip
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard

from sesame.data import sources
from sesame.data.sources import Skips, SourceOptions, documents, fingerprint
from sesame.errors import UserError

TEXT = "First one.\nSecond line.\n\n \t\nAnother.\r\n\r\n\n\nThird é中.\n"
WANTED = ["First one.\nSecond line.", "Another.", "Third é中."]


def read(*names: str | Path, skips: Skips | None = None, **options: object) -> list[str]:
    return [d.text for d in documents([str(n) for n in names], SourceOptions(**options), skips or Skips())]  # type: ignore[arg-type]


@pytest.mark.parametrize("block", [1, 2, 3, 7, 1 << 20])
def test_a_blank_line_starts_a_document_wherever_a_block_ends(
    block: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sources, "_BLOCK", block)
    (tmp_path / "a.txt").write_bytes(TEXT.encode())
    found = list(documents([str(tmp_path / "a.txt")], SourceOptions(), Skips()))
    assert [d.text for d in found] == WANTED
    assert [d.where.rpartition(":")[2] for d in found] == ["1", "5", "9"]


def test_every_kind_of_file_holds_the_same_documents(tmp_path: Path) -> None:
    raw = TEXT.encode()
    half = len(raw) // 2
    (tmp_path / "a.txt").write_bytes(b"\xef\xbb\xbf" + raw)
    (tmp_path / "b.txt.gz").write_bytes(gzip.compress(raw[:half]) + gzip.compress(raw[half:]))
    frame = zstandard.ZstdCompressor().compress
    (tmp_path / "c.zst").write_bytes(frame(raw[:half]) + frame(raw[half:]))
    lines = "".join(json.dumps({"text": t, "n": 1}) + "\n" for t in WANTED).encode()
    (tmp_path / "d.jsonl").write_bytes(lines)
    (tmp_path / "e.jsonl.gz").write_bytes(gzip.compress(lines))
    (tmp_path / "f.jsonl.zst").write_bytes(frame(lines))
    pq.write_table(pa.table({"text": WANTED}), tmp_path / "g.parquet")
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "h.txt").write_bytes(raw)
    (tmp_path / "picture.png").write_bytes(b"\0")
    for name in ("a.txt", "b.txt.gz", "c.zst", "d.jsonl", "e.jsonl.gz", "f.jsonl.zst", "g.parquet"):
        assert read(tmp_path / name) == WANTED, name
    skips = Skips()
    assert read(tmp_path, skips=skips) == WANTED * 8
    assert skips.report()["not a kind of text file"].count == 1
    assert read(tmp_path / "*.jsonl*") == WANTED * 3
    assert [
        d.source for d in documents([str(tmp_path / n) for n in ("a.txt", "d.jsonl")], SourceOptions(), Skips())
    ] == [
        0,
        0,
        0,
        1,
        1,
        1,
    ]


def test_a_file_is_a_document_where_asked(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text(TEXT)
    assert len(read(tmp_path / "a.txt", document="file")) == 1


def test_a_document_without_end_is_cut_at_lines_and_nothing_is_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sources, "LONGEST", 1000)
    monkeypatch.setattr(sources, "_BLOCK", 300)
    lines = [f"line {i} of a long book" for i in range(500)]
    (tmp_path / "a.txt").write_text("\n".join(lines))
    found = read(tmp_path / "a.txt")
    assert len(found) > 5 and max(map(len, found)) <= 1000
    assert "\n".join(found).split("\n") == lines


def broken(folder: Path) -> dict[str, tuple[str, str]]:
    """File -> (what is said, reason of the skip)."""
    files = {
        "latin.txt": (b"Good.\n\nOne.\nTwo \xff three.\n", "line 4 is not UTF-8 .byte 0xff at column 5.", "not UTF-8"),
        "empty.txt": (b"", "empty", "empty file"),
        "blank.txt": (b"\n \n", "no text", "empty file"),
        "binary.txt": (b"ab\0cd", "binary", "damaged file"),
        "wide.txt": ("text".encode("utf-16"), "UTF-16", "damaged file"),
        "cut.txt.gz": (gzip.compress(TEXT.encode() * 99)[:-20], "cut short", "damaged file"),
        "no.gz": (b"plain", "gzip", "damaged file"),
        "cut.zst": (zstandard.ZstdCompressor().compress(TEXT.encode() * 99)[:-9], "cut short", "damaged file"),
        "no.zst": (b"plain text", "zstd", "damaged file"),
        "bad.jsonl": (b'{"text": "a"}\n{"text": \n', "line 2 is not JSON", "malformed JSON line"),
        "field.jsonl": (
            b'{"texts": "a"}\n',
            "no field 'text'. Did you mean texts.*--text-field",
            "no text in JSON line",
        ),
        "list.jsonl": (b"[1]\n", "line 1 is not a JSON object", "no text in JSON line"),
        "no.parquet": (b"PAR1 nothing", "Parquet", "damaged file"),
    }
    for name, (raw, _, _) in files.items():
        (folder / name).write_bytes(raw)
    return {str(folder / name): (said, reason) for name, (_, said, reason) in files.items()}


def test_bad_files_are_said_by_name_or_skipped_and_counted(tmp_path: Path) -> None:
    for name, (said, reason) in {**broken(tmp_path), str(tmp_path / "none.txt"): ("no such", "no such file")}.items():
        with pytest.raises(UserError, match=said) as error:
            read(name)
        assert name in str(error.value) and "--skip-bad" in str(error.value)
        skips = Skips()
        read(name, skips=skips, skip_bad=True)
        assert skips.report()[reason].count == 1 and name in skips.report()[reason].examples[0]


def test_what_stands_before_and_after_bad_text_is_kept(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"Good.\n\nBad \xff.\n\nAlso good.")
    assert read(tmp_path / "a.txt", skip_bad=True) == ["Good.", "Also good."]
    (tmp_path / "a.jsonl").write_bytes(b'{"text": "x"}\n{\n{"text": " "}\n\n{"text": "y"}\n')
    skips = Skips()
    assert read(tmp_path / "a.jsonl", skips=skips, skip_bad=True) == ["x", "y"]
    assert {reason: skip.count for reason, skip in skips.report().items()} == {
        "empty document": 1,
        "malformed JSON line": 1,
    }


def test_a_parquet_column_that_is_not_there_is_said_with_its_neighbours(tmp_path: Path) -> None:
    pq.write_table(pa.table({"body": ["a", None], "n": [1, 2]}), tmp_path / "a.parquet")
    with pytest.raises(UserError, match=r"no column 'bodi'. Did you mean body"):
        read(tmp_path / "a.parquet", text_field="bodi")
    assert read(tmp_path / "a.parquet", text_field="body") == ["a"]
    with pytest.raises(UserError, match="row 1 has no string"):
        read(tmp_path / "a.parquet", text_field="n")


def test_a_local_folder_in_hub_layout_is_read_through_datasets(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    pq.write_table(pa.table({"text": WANTED}), tmp_path / "data" / "train-00000-of-00001.parquet")
    assert read(f"hf:{tmp_path}") == WANTED


def test_a_changed_file_of_a_package_or_a_hub_folder_is_another_source(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "zoology" / "deep").mkdir(parents=True)
    for name in ("__init__.py", "deep/cats.py"):
        (tmp_path / "zoology" / name).write_text('"""Nothing yet."""')
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.chdir(tmp_path)
    for source in ("pydocs:zoology", "hf:zoology", "hf:zoology/deep"):
        before = fingerprint([source])
        assert fingerprint([source]) == before
        (tmp_path / "zoology" / "deep" / "cats.py").write_text(f'"""{source} has cats."""')
        assert fingerprint([source]) != before
    assert fingerprint(["hf:some/set"]) == ["hf:some/set"]


def test_an_unreachable_hub_names_the_local_way(monkeypatch: pytest.MonkeyPatch) -> None:
    import datasets

    def unreachable(*args: object, **options: object) -> None:
        raise ConnectionError("no route")

    monkeypatch.setattr(datasets, "load_dataset", unreachable)
    with pytest.raises(UserError, match=r"hf:some/set: .*no route.*give its .parquet"):
        read("hf:some/set")


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("squad", [("squad", None)]),
        ("wikitext/wikitext-103-raw-v1", [("wikitext/wikitext-103-raw-v1", None), ("wikitext", "wikitext-103-raw-v1")]),
        ("wikimedia/wikipedia/20231101.en", [("wikimedia/wikipedia", "20231101.en")]),
    ],
)
def test_hub_names_with_and_without_a_configuration(name: str, meant: list[tuple[str, str | None]]) -> None:
    assert list(sources._hub_names(name)) == meant
