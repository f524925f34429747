"""Manifests: what each line says, seen from the manifest's folder; what is faulty, with its line."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from sesame.config import SpeechData
from sesame.data.sound import read_sound
from sesame.data.sources import Skips
from sesame.data.utterance import Span, Utterance
from sesame.data.utterances import labelled, utterances
from sesame.errors import UserError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "sound").mkdir()
    for name, seconds in (("a", 1.0), ("b", 0.5)):
        noise = np.random.default_rng(len(name + str(seconds))).uniform(-0.3, 0.3, int(seconds * 16000))
        soundfile.write(tmp_path / "sound" / f"{name}.wav", noise, 16000)
    return tmp_path


def read(path: Path, lines: list[str], **options: Any) -> list[Utterance]:
    path.write_text("".join(line + "\n" for line in lines), encoding="utf-8")
    return utterances(SpeechData(source=str(path), **options))


HEADER = "path\tstart\tend\ttext\tspeaker\temotion\tsplit"


def test_a_line_says_where_the_sound_is_and_what_is_known_of_it(folder: Path) -> None:
    lines = [HEADER, "sound/a.wav\t0.25\t0.75\tgood “morning”\t03\tjoy\ttest", "sound/b.wav\t\t\t\t08\tfear\ttrain"]
    first, second = read(folder / "list.tsv", lines, label="emotion")
    assert (first.path, first.start, first.end) == (folder / "sound/a.wav", 0.25, 0.75)
    assert (first.text, first.speaker, first.label, first.split) == ("good “morning”", "03", "joy", "test")
    assert first.fields == {
        **{"text": "good “morning”", "speaker": "03"},
        **{"emotion": "joy", "split": "test"},
    }
    assert (first.samples, first.seconds, first.frames, first.where) == (8000, 0.5, 48, f"{folder}/list.tsv:2")
    assert (second.start, second.end, second.samples, second.label) == (0.0, None, 8000, "fear")


def test_a_stretch_is_heard_and_no_more(folder: Path) -> None:
    (one,) = read(folder / "list.tsv", ["path\tstart\tend", "sound/a.wav\t0.25\t0.75"])
    whole, _ = soundfile.read(folder / "sound/a.wav", dtype="float32")
    np.testing.assert_array_equal(read_sound(one.path, 16000, one.start, one.end), whole[4000:12000])


def test_stretches_have_keys_of_their_own_and_a_whole_file_that_of_its_bytes(folder: Path) -> None:
    rows = ["path\tstart\tend", "sound/a.wav\t0\t0.5", "sound/a.wav\t0.5\t1", "sound/a.wav\t\t", "sound/a.wav\t0\t1"]
    keys = [u.key for u in read(folder / "list.tsv", rows)]
    assert len(set(keys)) == 3 and keys[2] == keys[3]
    assert keys[2] in {u.key for u in utterances(SpeechData(source=str(folder / "sound")))}


def test_json_lines_say_the_same_and_phones_too(folder: Path) -> None:
    record = {"file": "sound/a.wav", "end": 0.5, "text": "so", "digit": 7, "phones": [["s", 0, 0.2], ["oʊ", 0.2, 0.5]]}
    (one,) = read(folder / "list.jsonl", [json.dumps(record)], label="digit")
    assert one.phones == (Span("s", 0.0, 0.2), Span("oʊ", 0.2, 0.5))
    assert (one.label, one.samples, one.text) == ("7", 8000, "so")


FAULTS = [
    (["path\ttext", "sound/c.wav\tno"], r"list\.tsv:2: there is no file .*c\.wav", "missing file"),
    (["path\ttext", "sound/a.wav"], r"list\.tsv:2: 1 cells, and the header has 2", "faulty line"),
    (["path\ttext", "\ta"], r"list\.tsv:2: the path is missing", "faulty line"),
    (["path\tstart", "sound/a.wav\tsoon"], r"list\.tsv:2: start is 'soon', and should be seconds", "faulty line"),
    (["path\tstart", "sound/a.wav\t-1"], r"list\.tsv:2: start is '-1'", "faulty line"),
    (["path\tstart\tend", "sound/a.wav\t0.5\t0.5"], r"list\.tsv:2: it ends at 0\.5 s, and begins at", "faulty line"),
    (["path\tend", "sound/b.wav\t0.9"], r"list\.tsv:2: .*b\.wav ends at 0\.50 s, not 0\.9", "end after the file's"),
    (["path\tstart", "sound/b.wav\t0.49"], r"list\.tsv:2: .*less than a frame", "shorter than a frame"),
]


@pytest.mark.parametrize(("lines", "message", "reason"), FAULTS)
def test_a_faulty_line_is_named_or_counted(folder: Path, lines: list[str], message: str, reason: str) -> None:
    with pytest.raises(UserError, match=f"{message}.*--data.skip-bad"):
        read(folder / "list.tsv", lines)
    filled = [*lines, "sound/a.wav" + "\t" * lines[0].count("\t")]
    (folder / "list.tsv").write_text("\n".join(filled))
    skips = Skips()
    (kept,) = utterances(SpeechData(source=str(folder / "list.tsv"), skip_bad=True), skips)
    assert kept.path.name == "a.wav"
    assert {r: s.count for r, s in skips.report().items()} == {reason: 1}


@pytest.mark.parametrize(
    ("line", "message"),
    [("[1]", "not an object"), ("{", "not JSON"), ('{"path": "a", "phones": [1]}', "phones should")],
)
def test_faulty_json_is_named(folder: Path, line: str, message: str) -> None:
    with pytest.raises(UserError, match=rf"list\.jsonl:1: {message}"):
        read(folder / "list.jsonl", [line])


def test_a_manifest_without_paths_and_one_without_the_label_are_named(folder: Path) -> None:
    with pytest.raises(UserError, match=r"no column is called path; there are name, text"):
        read(folder / "list.tsv", ["name\ttext", "sound/a.wav\ta"])
    with pytest.raises(UserError, match=r"no column 'emotoin' \(--data\.label\)\. Did you mean emotion"):
        read(folder / "list.tsv", [HEADER, "sound/a.wav\t\t\t\t\t\t"], label="emotoin")


def test_missing_labels_are_named_or_counted(folder: Path) -> None:
    found = read(
        folder / "list.tsv", [HEADER, "sound/a.wav\t\t\t\t\tjoy\t", "sound/b.wav\t\t\t\t1\t\t"], label="emotion"
    )
    data = SpeechData(label="emotion")
    with pytest.raises(UserError, match=r"list\.tsv:3: there is no label 'emotion'.*says speaker"):
        labelled(found, data)
    skips = Skips()
    assert labelled(found, SpeechData(label="emotion", skip_bad=True), skips) == found[:1]
    assert skips.report()["no label"].count == 1


@pytest.mark.parametrize("name", ["list.tsv", "list.jsonl"])
def test_an_empty_manifest_is_named(folder: Path, name: str) -> None:
    with pytest.raises(UserError, match="holds no usable utterance"):
        read(folder / name, [])


def test_bytes_that_are_no_text_are_named(folder: Path) -> None:
    (folder / "list.tsv").write_bytes(b"path\ttext\nsound/a.wav\t\xff\n")
    with pytest.raises(UserError, match=r"list\.tsv:2: not UTF-8 \(byte 0xff\)"):
        utterances(SpeechData(source=str(folder / "list.tsv")))
