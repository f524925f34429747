"""`sesame compare` from the command line: a whole small comparison, one that is killed, and every mistake."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest
from small_store import random_documents, store_of

from sesame.cli.main import main
from sesame.engine import machine

SMALL = (
    "--backbone.layers", "1", "--backbone.width", "16", "--backbone.heads", "2", "--backbone.ffn", "32",
    "--data.length", "32", "--data.rows", "4", "--eval-rows", "4", "--pretext.embeddings", "normal",
)  # fmt: skip


@pytest.fixture
def here(tmp_path, monkeypatch):
    store_of(tmp_path / "data", random_documents(80), held_out=0.2)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(machine, "matmul_limit", lambda *_: 1e12)
    return tmp_path


def test_a_grid_of_one_s_own_is_compared_and_shown(here, capsys):
    rows = [f"{'a' if n % 2 else 'b'}\t{'t1 t2' if n % 2 else 't3 t4'} t{n}" for n in range(40)]
    (here / "words").mkdir()
    (here / "words" / "train.tsv").write_text("\n".join(["label\ttext", *rows]))
    mine = {
        "name": "mine",
        "amount": 256,
        "arms": [
            {"name": "15%", "recipe": "bert-tiny"},
            {"name": "40%", "recipe": "bert-tiny", "changes": {"pretext.rate": 0.4}},
        ],
        "measurements": [
            {"kind": "held-out", "name": "masks", "pretext": {"type": "bert", "mask": 1.0}, "term": "masked_lm"},
            {"kind": "finetune", "task": "words", "settings": {"epochs": 1, "min_steps": 0, "evaluations": 1}},
        ],
    }
    (here / "mine.json").write_text(json.dumps(mine))
    words = ["compare", "mine.json", "--data", "data", "--out", "out", "--seeds", "1", "--workers", "1", *SMALL]
    assert main(words) == 0
    said = capsys.readouterr().out
    result = json.loads((here / "out" / "result.json").read_text())
    assert result["command"] == "compare" and result["reference"] == "15%"
    assert [column["name"] for column in result["columns"]] == ["masks", "words"]
    assert "One seed each: no difference can be resolved." in said
    assert "40%" in said and "out/comparison.html" in said
    for name in ("comparison.html", "comparison.png", "comparison.svg", "comparison.csv", "comparison.json"):
        assert (here / "out" / name).stat().st_size > 100
    assert main([*words, "--json"]) == 0  # nothing is left to do
    assert json.loads(capsys.readouterr().out) == result


@pytest.mark.slow
def test_a_comparison_that_is_killed_goes_on_with_two_workers(here):
    def begin(out):
        words = ["compare", "starts", "--arms", "normal", "counts", "--data", "data", "--out", out, "--steps", "160",
                 "--seeds", "2", "--workers", "2", *SMALL[:-2], "--save-every", "20"]  # fmt: skip
        return subprocess.Popen([sys.executable, "-m", "sesame", *words], start_new_session=True)

    whole = begin("whole")
    assert whole.wait(300) == 0
    first = begin("killed")
    until = time.monotonic() + 120
    while not list((here / "killed").glob("*/checkpoints/step-00000020")) and time.monotonic() < until:
        time.sleep(0.05)
    os.kill(first.pid, signal.SIGKILL)
    first.wait()
    until = time.monotonic() + 60  # its workers save and go
    while time.monotonic() < until and any(
        json.loads(path.read_text())["state"] == "running" for path in (here / "killed").glob("*/state.json")
    ):
        time.sleep(0.1)
    assert begin("killed").wait(300) == 0
    ours, theirs = (json.loads((here / out / "result.json").read_text())["columns"] for out in ("killed", "whole"))
    assert ours == theirs


GOOD = ["compare", "masking", "--data", "data", "--out", "out", "--workers", "1"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["compare", "maskings", *GOOD[2:]], ["no grid", "maskings", "masking"]),
        (["compare", "--data", "data"], ["which grid?", "masking"]),
        (["compare", "none.toml", *GOOD[2:]], ["none.toml"]),
        ([*GOOD, "--arms", "80/10/11"], ["no arm '80/10/11'", "80/10/10"]),
        ([*GOOD, "--measure", "names"], ["no measurement 'names'", "names, frozen"]),
        ([*GOOD, "--tasks", "nowhere", "--measure", "masked LM, 80/10/10"], ["nowhere: no such task"]),
        ([*GOOD, "--tokens", "5", "--steps", "5"], ["--tokens and --steps"]),
        ([*GOOD, "--tokens", "0"], ["--tokens 0"]),
        ([*GOOD, "--seeds", "0"], ["--seeds 0"]),
        ([*GOOD, "--sedes", "2"], ["--sedes", "--seeds"]),
        ([*GOOD, "--pretext.mask", "0.5"], ["--pretext.mask", "100/0/0"]),
        ([*GOOD, "--seed", "2"], ["--seeds"]),
        ([*GOOD, "--data.rows", "few"], ["--data.rows few"]),
        (GOOD[:4], ["--out DIR"]),
        (["compare", "masking", "--out", "out"], ["what to train on?"]),
        (["compare", "masking", "--data", "nothing.txt", "--out", "out"], ["nothing.txt"]),
    ],
)
def test_a_mistake_gets_one_line_and_changes_nothing(here, capsys, words, said):
    assert main(words) == 2
    told = capsys.readouterr()
    assert told.out == "" and "Traceback" not in told.err
    assert all(word in told.err for word in said), told.err
    assert not (here / "out").exists() or not any((here / "out").iterdir())


def test_the_grids_are_listed(capsys):
    assert main(["compare", "--help"]) == 0
    said = capsys.readouterr().out
    assert "bert-pairs" in said and "100/0/0" in said
