"""Every mistake of the input gets one message (what, where, how to mend), exit status 2, and nothing is overwritten."""

import gzip
import os
import shutil
from pathlib import Path

import pytest
from huggingface_hub.errors import LocalEntryNotFoundError

from sesame.cli.main import main
from sesame.engine.run import Run

TEXT = "Return the list.\n\nReturn a value.\n" * 40


@pytest.fixture
def here(made, tmp_path, monkeypatch):
    """A folder of its own with a text, a token store and a finished run."""
    for name in ("data", "run"):
        shutil.copytree(made[0] / name, tmp_path / name)
    (tmp_path / "good.txt").write_text(TEXT)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def contents(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def refused(capsys, *words: object) -> str:
    """Run a command that must fail in the right way; what it says."""
    before = contents(Path.cwd())
    assert main([str(word) for word in words]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert "Traceback" not in said.err
    assert contents(Path.cwd()) == before
    return said.err


SOURCES = {
    "missing.txt": (None, ["missing.txt"]),
    "empty.txt": (b"", ["empty.txt"]),
    "binary.txt": (bytes(range(256)) * 20, ["binary.txt"]),
    "latin.txt": ("caf\xe9\n".encode("latin-1") * 3, ["latin.txt", "line 1", "UTF-8", "0xe9"]),
    "cut.txt.gz": (gzip.compress(os.urandom(4000) + b"words\n" * 99)[:-20], ["cut.txt.gz"]),
    "lines.jsonl": (b'{"text": "fine"}\n{"text": \n', ["lines.jsonl", "line 2"]),
    "field.jsonl": (b'{"body": "fine"}\n', ["field.jsonl", "line 1", "text"]),
    "table.parquet": (b"PAR1 not a table", ["table.parquet"]),
    "picture.png": (b"\x89PNG", ["picture.png"]),
}


@pytest.mark.parametrize("name", SOURCES)
def test_a_source_that_cannot_be_read_is_named(here, capsys, name):
    content, words = SOURCES[name]
    if content is not None:
        (here / name).write_bytes(content)
    said = refused(capsys, "data", "prepare", "good.txt", name, "--out", "new", "--kind", "chars")
    assert all(word in said for word in words), said


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_a_source_that_may_not_be_read_is_named(here, capsys):
    (here / "secret.txt").write_text(TEXT)
    (here / "secret.txt").chmod(0)
    assert "secret.txt" in refused(capsys, "data", "prepare", "secret.txt", "--out", "new")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["good.txt", "--out", "new", "--vocab", "5000"], ["5,000", "vocabulary"]),
        (["good.txt", "--out", "run"], ["run", "--out"]),
        (["good.txt", "--out", "data"], ["data", "nothing was overwritten"]),
        (["good.txt", "--out", "new", "--tokenizer", "nowhere.json"], ["nowhere.json"]),
        (["good.txt", "--out", "new", "--tokenizer", "good.txt"], ["good.txt", "[PAD]"]),
        (["good.txt", "--out", "new", "--held-out", "2"], ["2"]),
    ],
)
def test_data_that_cannot_be_prepared_as_asked(here, capsys, words, said):
    message = refused(capsys, "data", "prepare", *words)
    assert all(word in message for word in said), message


def test_what_is_left_out_is_counted_and_reported(here, capsys):
    for name in ("latin.txt", "lines.jsonl"):
        (here / name).write_bytes(SOURCES[name][0])
    words = ["good.txt", "latin.txt", "lines.jsonl", "--out", "new", "--kind", "chars", "--vocab", "30", "--skip-bad"]
    assert main(["data", "prepare", *words]) == 0
    said = capsys.readouterr()
    assert "latin.txt" in said.out + said.err
    assert "lines.jsonl" in said.out + said.err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["bert-tny", "--data", "data", "--out", "new"], ["'bert-tny'", "bert-tiny"]),
        (
            ["bert-tiny", "--data", "data", "--out", "new", "--optimizer.lrr", "1"],
            ["--optimizer.lrr", "--optimizer.lr"],
        ),
        (["bert-tiny", "--data", "data", "--out", "new", "--steps", "-5"], ["--steps", "-5", ">= 0"]),
        (["bert-tiny", "--data", "data", "--out", "new", "--precision", "half"], ["half", "bf16"]),
        (["bert-tiny", "--data", "data", "--out", "new", "--data.length", "600"], ["600", "512 positions"]),
        (
            [
                "bert-tiny",
                "--data",
                "data",
                "--out",
                "new",
                "--data.length",
                "90000",
                "--backbone.positions",
                "90000",
                "--backbone.width",
                "2",
                "--backbone.heads",
                "1",
            ],
            ["fewer than one row of 90000"],
        ),
        (["bert-tiny", "--data", "nowhere", "--out", "new"], ["nowhere"]),
        (["bert-tiny", "--data", "data", "--out", "run"], ["run", "--resume run"]),
        (["bert-tiny", "--data", "data", "--out", "data"], ["data", "--out"]),
        (["bert-tiny", "--data", "data", "--out", "good.txt"], ["good.txt", "--out"]),
        (["bert-tiny", "--data", "data", "--out", "new", "--from", "./nowhere"], ["nowhere"]),
        (["bert-tiny", "--out", "new"], ["--data"]),
        (["bert-tiny", "--data", "data"], ["--out"]),
        ([], ["bert-tiny"]),
        (["--resume", "nowhere"], ["nowhere"]),
        (["--resume", "data"], ["data"]),
        (["--resume", "run"], ["run is finished"]),
    ],
)
def test_a_run_that_cannot_be_started_as_asked(here, capsys, words, said):
    message = refused(capsys, "pretrain", *words)
    assert all(word in message for word in said), message


def test_a_run_that_another_process_writes_is_left_alone(here, capsys):
    run = Run.open("run")
    run.lock()
    try:
        assert f"process {os.getpid()}" in refused(capsys, "pretrain", "--resume", "run")
    finally:
        run.close()


def newest(folder: Path) -> Path:
    return sorted((folder / "run" / "checkpoints").iterdir())[-1]


def damage_cut(folder: Path) -> None:
    for file in (folder / "run" / "checkpoints").rglob("objective.safetensors"):
        file.write_bytes(file.read_bytes()[:-100])


def damage_altered(folder: Path) -> None:
    for file in (folder / "run" / "checkpoints").rglob("objective.safetensors"):
        content = bytearray(file.read_bytes())
        content[-1] ^= 1
        file.write_bytes(content)


def damage_missing(folder: Path) -> None:
    shutil.rmtree(folder / "run" / "checkpoints")
    (folder / "run" / "checkpoints").mkdir()


def damage_settings(folder: Path) -> None:
    (folder / "run" / "config.json").write_text('{"recipe": {"name": ')


def damage_foreign(folder: Path) -> None:
    config = folder / "run" / "config.json"
    config.write_text(config.read_text().replace('"seed":0', '"seed":1'))


@pytest.mark.parametrize("damage", [damage_cut, damage_altered, damage_missing, damage_settings, damage_foreign])
def test_a_damaged_run_is_refused_by_name(here, capsys, damage):
    damage(here)
    for words in (["fill", "run", "[MASK]"], ["export", "run", "--out", "new"]):
        assert "run" in refused(capsys, *words)


def test_of_several_checkpoints_a_damaged_one_is_passed_over_and_it_is_said(here, capsys):
    file = newest(here) / "objective.safetensors"
    file.write_bytes(file.read_bytes()[:-100])
    assert main(["fill", "run", "[MASK]", "--json"]) == 0
    assert newest(here).name in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["fill", "run", "no gap"], ["no [MASK]", "no gap"]),
        (["fill", "run", "[MASK]", "--k", "0"], ["0 guesses"]),
        (["fill", "run", "[MASK]", "--result", "good.txt"], ["good.txt", "not a result"]),
        (["fill", "nowhere/at/all", "[MASK]"], ["nowhere/at/all"]),
        (["fill", "data", "[MASK]"], ["data"]),
        (["embed", "run", "nowhere.txt", "--out", "v.npy"], ["nowhere.txt"]),
        (["embed", "run", "data", "--out", "v.npy"], ["data"]),
        (["embed", "run", "good.txt", "--out", "v.npy"], ["good.txt", "line 2 is empty", "--skip-empty"]),
        (["embed", "run", "good.txt", "--out", "v.txt"], ["v.txt", ".npy"]),
        (["embed", "run", "good.txt", "--out", "v.npy", "--tokens"], ["v.npy", ".npz"]),
        (["embed", "run", "good.txt", "--out", "v.npy", "--skip-empty", "--layer", "9"], ["no layer 9"]),
        (["export", "run", "--out", "data"], ["data"]),
        (["export", "run", "--out", "new", "--step", "7"], ["step-00000007"]),
        (["import", "run", "--out", "new"], ["run"]),
        (["import", "data", "--out", "new"], ["data"]),
        (["runs", "nowhere"], ["nowhere"]),
        (["data", "show", "nowhere"], ["nowhere"]),
        (["data", "show", "run"], ["run"]),
        (["demo", "--seconds", "0"], ["--seconds"]),
    ],
)
def test_a_use_that_makes_no_sense(here, capsys, words, said):
    message = refused(capsys, *words)
    assert all(word in message for word in said), message


def test_lines_that_are_not_utf8_are_named(here, capsys):
    (here / "latin.txt").write_bytes("fine\ncaf\xe9\n".encode("latin-1"))
    said = refused(capsys, "embed", "run", "latin.txt", "--out", "v.npy")
    assert "latin.txt: line 2 is not UTF-8 (byte 0xe9 at column 4)" in said


def test_vectors_that_are_there_stay(here, capsys):
    (here / "v.npy").write_bytes(b"mine")
    assert "v.npy exists" in refused(capsys, "embed", "run", "good.txt", "--out", "v.npy")


def test_a_hub_that_cannot_be_reached_is_said_with_the_alternative(here, capsys, monkeypatch):
    def unreachable(*args, **kwargs):
        raise LocalEntryNotFoundError("cannot reach the hub")

    monkeypatch.setattr("huggingface_hub.snapshot_download", unreachable)
    said = refused(capsys, "fill", "somebody/some-bert", "[MASK]")
    assert "somebody/some-bert" in said
    assert "folder" in said
