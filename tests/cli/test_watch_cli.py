"""`sesame watch` and `sesame pretrain --probe`, as they are typed."""

import json

import pyarrow.parquet as pq
import pytest

import sesame
from sesame.cli.main import main
from sesame.engine.run import Run
from sesame.errors import UserError
from sesame.probes import PROBES

SMALL = ["--backbone.width", "32", "--backbone.heads", "2", "--backbone.ffn", "64", "--data.length", "32"]
OWN = '''"""How many weights there are, and a number that rises.

More about it.
"""
from sesame.probes import Value
def measure(model, ask):
    yield Value("weights", float(sum(p.numel() for p in model.objective.parameters())))
    yield Value("rises", float(ask.step), group="all", layer=1)
'''


@pytest.fixture
def own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "own.py").write_text(OWN)
    return tmp_path


def test_a_run_is_watched_while_it_trains_and_afterwards(made, own, capsys):
    words = ["--data", str(made[0] / "data"), "--out", "run", *SMALL, "--steps", "6", "--threads", "1"]
    assert main(["pretrain", "bert-tiny", *words, "--probe", "own.py", "--watch.every", "4", "--quiet"]) == 0
    assert "sesame report run" in capsys.readouterr().out
    run = Run.open("run")
    assert [probe.name for probe in run.recipe.watch.probes] == [str(own / "own.py")]  # wherever it is resumed
    table = pq.read_table("run/probes.parquet")
    assert table["step"].unique().to_pylist() == [0, 1, 2, 4, 6]
    assert main(["watch", "run", "--threads", "1", "--probe", "own.py", "--json"]) == 0
    (told,) = json.loads(capsys.readouterr().out)["watched"]
    steps = [manifest.step for manifest in run.manifests()]
    assert (told["measured"], told["known"], told["checkpoints"]) == (len(steps), 0, len(steps))
    (change,) = told["changes"]  # the number of weights did not change
    assert (change["metric"], change["first"], change["last"]) == ("rises", 0.0, 6.0)
    table = pq.read_table("run/probes.parquet")
    assert table["form"].value_counts().to_pylist() == [
        {"values": "live", "counts": 10}, {"values": "full", "counts": 2 * len(steps)}
    ]  # fmt: skip
    assert main(["watch", "run", "--threads", "1", "--probe", "own.py", "--steps", "0", "6"]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "0 measurements of 2 checkpoints, 2 known before" in said
    assert "own.py rises, all, layer 1 0 0 6 6" in said and "Curves: sesame report run" in said
    assert main(["watch", "run", "--threads", "1", "--probe", "own.py", "--steps", "6"]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "probe what step value" in said and "own.py rises, all, layer 1 6 6" in said


def test_where_a_probe_fails_at_once_no_run_stays_behind_and_the_mended_command_trains(made, own, capsys):
    (own / "bad.py").write_text("def measure(model, ask):\n    yield 1 / 0\n")
    words = ["pretrain", "bert-tiny", "--out", "run", *SMALL, "--steps", "2", "--threads", "1", "--quiet"]
    assert main([*words, "--data", str(made[0] / "data"), "--probe", "own.py", "--probe", "bad.py"]) == 2
    assert "bad.py, line 2" in capsys.readouterr().err and not (own / "run").exists()
    raw = ["--data", str(made[0] / "text.txt"), "--data.vocab", "90"]
    assert main([*words, *raw, "--probe", "bad.py"]) == 2
    assert [path.name for path in (own / "run").iterdir()] == ["data"]  # prepared, which need not be done again
    (own / "bad.py").write_text(OWN)
    assert main([*words, *raw, "--probe", "bad.py"]) == 0
    assert Run.open("run").state().state == "finished"


def test_a_run_is_watched_from_python(made, own):
    fields = {"steps": 2, "threads": 1, "save_every": 2}
    recipe = sesame.recipes.find("bert-tiny")
    model = sesame.pretrain(recipe, made[0] / "data", "run", probes=["own.py"], watch={"at": [0, 2]}, **fields)
    assert model.step == 2
    assert pq.read_table("run/probes.parquet")["step"].to_pylist() == [0, 0, 2, 2]
    assert sesame.watch("run", ["own.py"], threads=1, steps=[2]).measured == 1
    with pytest.raises(UserError, match=r"no file gold\.conllu"):
        sesame.pretrain(recipe, made[0] / "data", "other", probes=["own.py=gold.conllu"])


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["pretrain", "bert-tiny", "--data", "pydocs", "--out", "new", "--probe", "rnak"], "there is no probe 'rnak'"),
        (["pretrain", "byol-digits", "--out", "new", "--probe", "text.py"], "measures models of text, and this one is"),
        (["pretrain", "bert-tiny", "--data", "x", "--out", "new", "--probe", "a.py=b.tsv"], "there is no file b.tsv"),
        (["watch"], "watch what? Name a run"),
        (["watch", "nowhere/at/all"], "no such folder"),
        (["watch", "run", "--threads", "-1"], "--threads -1: give a number above 0"),
        (["watch", "a/run", "b/run", "--out", "there"], "run is the name of two runs"),
    ],
)  # fmt: skip
def test_a_mistake_is_said_before_anything_is_made(words, says, own, capsys):
    (own / "text.py").write_text(OWN + "READS = ('text',)\n")
    assert main(words) == 2
    assert says in " ".join(capsys.readouterr().err.split())
    assert not (own / "new").exists() and not (own / "there").exists()


def test_help_lists_every_probe_with_what_it_is(capsys, monkeypatch, own):
    monkeypatch.setitem(PROBES, "of-the-tests", "own")
    monkeypatch.syspath_prepend(own)
    assert main(["watch", "--help"]) == 0
    said = capsys.readouterr().out
    assert (
        "of-the-tests" in said and "How many weights there are, and a number that rises. (images, speech, text)" in said
    )
    assert all(name in said for name in PROBES)
