"""`sesame fork`, `sesame effect` and `sesame acquisition`, on a run that was measured as it trained."""

import csv
import json
from pathlib import Path

import pytest

from sesame.cli.acquisition import _short
from sesame.cli.main import main
from sesame.data import open_data
from sesame.engine import machine
from sesame.engine.run import Run
from sesame.probes.table import ITEMS, VALUES, Tables

PROBE = '''
"""Which tokens have an embedding that sums to an even number of ten thousandths: as good as chance."""
from sesame.probes import Item, Value

def measure(model, ask):
    even = (1e4 * model.objective.backbone.embed.token.weight.sum(1)).long() % 2 == 0
    for number, right in enumerate(even.tolist()):
        word, group = model.vocabulary.tokens([number])[0], "second" if number % 2 else "first"
        yield Item("even", number, group, right, word)
    yield Value("even", float(even.float().mean()), len(even))
'''


@pytest.fixture(scope="module")
def here(tmp_path_factory) -> Path:
    """A folder with a text, the beginning of it, and a run of eight steps that a probe of the user's followed."""
    folder = tmp_path_factory.mktemp("fork")
    (folder / "even.py").write_text(PROBE)
    nouns = ("list", "value", "item", "set", "copy", "word")
    texts = [f"the {a} holds a {b}. it is a {c} of the {a}." for a in nouns for b in nouns for c in nouns]
    (folder / "text.txt").write_text("\n\n".join(texts))
    (folder / "some.txt").write_text("\n\n".join(texts[:100]))
    assert main(["data", "prepare", str(folder / "text.txt"), "--out", str(folder / "data"), "--vocab", "60"]) == 0
    words = ["--backbone.width", "16", "--backbone.heads", "2", "--backbone.ffn", "32", "--data.length", "24"]
    words += ["--steps", "8", "--save-every", "2", "--keep", "9", "--threads", "1", "--watch.every", "1"]
    words += ["--data.rows", "4", "--eval-rows", "4", "--backbone.layers", "1", "--probe", str(folder / "even.py")]
    assert main(["pretrain", "bert-tiny", *words, "--data", str(folder / "data"), "--out", str(folder / "run")]) == 0
    return folder


def said(capsys, *words: object) -> dict:
    capsys.readouterr()
    assert main([*map(str, words), "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_a_twin_is_trained_measured_and_compared(here, tmp_path, capsys, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    told = said(capsys, "fork", here / "run", "--at", 4, "--without", here / "some.txt", "--out", "twin")
    assert (told["state"], told["step"]) == ("finished", 8)
    config = json.loads((tmp_path / "twin" / "config.json").read_text())
    assert config["recipe"]["data"]["twin"]["of"] == str(here / "run")
    measured = [{row[0] for row in Tables(run).measured()} for run in (here / "run", tmp_path / "twin")]
    assert measured == [set(range(9))] * 2

    probe = ("--probe", here / "even.py")
    found = said(capsys, "effect", here / "run", "twin", *probe)["differences"]
    assert {one["step"] for one in found} == set(range(9))
    assert {one["group"] for one in found} == {"first", "second", ""}
    assert all(one["gained"] == one["lost"] == 0 for one in found if one["step"] <= 4)
    assert any(one["gained"] + one["lost"] for one in found if one["step"] > 4)
    assert json.loads((tmp_path / "result.json").read_text())["command"] == "effect"

    again = said(capsys, "acquisition", here / "run", "twin", *probe)
    assert {group["name"] for group in again["groups"]} == {"first", "second"}
    said(capsys, "acquisition", here / "run", *probe, "--words", "words.csv")
    rows = list(csv.DictReader((tmp_path / "words.csv").open()))
    assert len(rows) == 60 and {row["group"] for row in rows} == {"first", "second"}
    assert main(["acquisition", str(here / "run"), *map(str, probe)]) == 0
    shown = capsys.readouterr().out
    assert "when it was learned" in shown and "first" in shown


def test_what_was_measured_after_the_fork_is_not_the_twins(here, tmp_path, capsys) -> None:
    before = {path: path.read_bytes() for path in (here / "run" / VALUES, here / "run" / ITEMS)}
    told = said(capsys, "fork", here / "run", "--at", 6, "--out", tmp_path / "twin")
    assert told["state"] == "finished"
    assert {row[0] for row in Tables(tmp_path / "twin").measured()} == set(range(9))
    assert {path: path.read_bytes() for path in before} == before


def test_a_twin_that_cannot_begin_leaves_nothing_and_the_mended_command_runs(here, tmp_path, monkeypatch) -> None:
    twin = ["fork", str(here / "run"), "--at", "6", "--out", str(tmp_path / "twin")]
    before = machine.fingerprint
    monkeypatch.setattr(machine, "fingerprint", lambda *told: before(*told) | {"cpu": "another"})
    assert main(twin) == 2 and not (tmp_path / "twin").exists()
    assert main([*twin, "--inexact"]) == 0
    monkeypatch.undo()
    probe = here / "even.py"
    probe.rename(tmp_path / "even.py")
    try:
        other = [*twin[:-1], str(tmp_path / "other")]
        assert main(other) == 2 and not (tmp_path / "other").exists()
    finally:
        (tmp_path / "even.py").rename(probe)


def test_a_twin_that_is_moved_keeps_its_data(here, tmp_path) -> None:
    out, moved = tmp_path / "twin", tmp_path / "moved" / "twin"
    words = ["--at", "6", "--without", str(here / "some.txt"), "--out", str(out)]
    assert main(["fork", str(here / "run"), *words]) == 0
    moved.parent.mkdir()
    out.rename(moved)
    run = Run.open(moved)
    assert open_data(run.recipe.data).hash == run.config.data


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["fork", "run", "--at", "3", "--out", "twin"], ["no checkpoint of step 3", "0, 2, 4, 6"]),
        (["fork", "run", "--at", "4", "--without", "nowhere.txt", "--out", "twin"], ["nowhere.txt", "no such file"]),
        (["fork", "run", "--at", "4", "--out", "run"], ["is a run already"]),
        (["fork", "some.txt", "--at", "4", "--out", "twin"], ["no run folder"]),
        (["fork", "run", "--at", "4"], ["--out"]),
        (["effect", "run", "nothing"], ["no items of word-classes"]),
        (["effect", "run", "run", "--metric", "odd", "--probe", "even.py"], ["no items of even.py, odd", "There are"]),
        (["acquisition"], ["Name runs"]),
        (["acquisition", "run", "run", "--words", "words.csv"], ["--words is of one run"]),
        (["acquisition", "some.txt"], ["no items"]),
    ],
)
def test_a_mistake_gets_one_message(here, capsys, monkeypatch, words, expected) -> None:
    monkeypatch.chdir(here)
    before = sorted(here.rglob("*"))
    assert main(words) == 2
    told = capsys.readouterr()
    assert told.out == "" and all(word in told.err for word in expected), told.err
    assert "Traceback" not in told.err and sorted(here.rglob("*")) == before


def test_numbers_are_short() -> None:
    said = {0.0: "0", 7.0: "7", 999.7: "1k", 1234.0: "1.23k", 999_400.0: "999k", 999_700.0: "1M", 2.5e9: "2.5G"}
    assert {number: _short(number) for number in said} == said
