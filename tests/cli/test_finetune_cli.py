"""From labelled files to a comparison, a saved model, and what it says of other files; and every way to go wrong."""

import itertools
import json
import shutil
from collections import Counter
from pathlib import Path

import pytest
from conftest import SUBJECTS, VERBS, sesame

from sesame.cli.main import main

QUICK = ("--epochs", "1", "--min-steps", "0", "--evaluations", "1", "--threads", "1")


def rows(start: int, count: int) -> list[tuple[str, str, float]]:
    """Texts, whether they name a list, and how many words they have."""
    texts = itertools.islice((f"{a} {v} {b}" for b in SUBJECTS for v in VERBS for a in SUBJECTS), start, start + count)
    return [(text, "yes" if "list" in text else "no", float(len(text.split()))) for text in texts]


def write(path: Path, found: list[tuple[str, str, float]]) -> None:
    lines = ["text\tlabel\twords", *("\t".join(map(str, row)) for row in found)]
    path.write_text("\n".join(lines) + "\n")


@pytest.fixture(scope="session")
def tuned(made, tmp_path_factory):
    """A folder with a run, two tasks, and the model of six steps fine-tuned on both by a real process."""
    folder = tmp_path_factory.mktemp("tuned")
    shutil.copytree(made[0] / "run", folder / "run")
    (folder / "lists").mkdir()
    for part, start, count in (("train", 0, 40), ("dev", 60, 12), ("test", 90, 15)):
        write(folder / "lists" / f"{part}.tsv", rows(start, count))
    lengths = {"kind": "regression", "label": "words", "train": "lists/train.tsv", "dev": "lists/dev.tsv"}
    (folder / "lengths.json").write_text(json.dumps(lengths))
    words = ("lists", "lengths.json", "--out", "out", "--seeds", 2, "--labels", 20, "--loss-curve", *QUICK)
    done = sesame("finetune", "run", *words, "--json", folder=folder)
    assert done.returncode == 0, done.stderr
    return folder, json.loads(done.stdout), done.stderr


@pytest.fixture
def here(tuned, tmp_path, monkeypatch):
    """A copy of that folder, for commands that are run in this process."""
    for item in tuned[0].iterdir():
        (shutil.copytree if item.is_dir() else shutil.copy)(item, tmp_path / item.name)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def events(folder: Path, **wanted: object) -> list[dict]:
    found = map(json.loads, (folder / "out" / "metrics.jsonl").read_text().splitlines())
    return [event for event in found if all(event.get(name) == value for name, value in wanted.items())]


def test_every_result_stands_beside_what_it_is_compared_with(tuned):
    folder, told, said = tuned
    assert json.loads((folder / "out" / "result.json").read_text()) == told
    assert (told["command"], told["run"], sorted(told["tasks"])) == ("finetune", "run", ["lengths", "lists"])
    for name, kind, metric, test in (
        ("lists", "classification", "accuracy", 15),
        ("lengths", "regression", "pearson", 12),
    ):
        task = told["tasks"][name]
        assert (task["kind"], task["metric"]) == (kind, metric)
        assert (task["train"], task["dev"], task["test"]) == (40, 12, test)
        assert task["labels"].keys() == {"20"}
        for point in (task, task["labels"]["20"]):
            assert {"majority", "tfidf"} <= point.keys()
            assert [point[arm]["n"] for arm in ("embeddings", "scratch", "pretrained")] == [2, 2, 2]
            assert point["gain"]["mean"] == pytest.approx(point["pretrained"]["mean"] - point["scratch"]["mean"])
    assert told["tasks"]["lengths"]["notes"] == {"dev, reported for want of a test file": 12}
    assert "lengths has no test file" in said


def test_what_happened_stands_in_the_log_line_by_line(tuned):
    folder, told, _ = tuned
    count = Counter((e["event"], e["task"], e["arm"], e["labels"]) for e in events(folder))
    for task, arm, labels in itertools.product(("lists", "lengths"), ("embeddings", "scratch", "pretrained"), (0, 20)):
        assert count["result", task, arm, labels] == count["evaluate", task, arm, labels] == 2
    for curve in events(folder, event="loss_curve"):
        assert len(curve["alpha"]) == len(curve["loss"]) == 21
        assert (curve["alpha"][0], curve["alpha"][-1]) == (-0.5, 1.5)
    assert Counter(e["arm"] for e in events(folder, event="loss_curve")) == {"scratch": 2, "pretrained": 2}
    scores = [e["test"]["accuracy"] for e in events(folder, event="result", task="lists", arm="scratch", labels=0)]
    assert told["tasks"]["lists"]["scratch"]["mean"] == pytest.approx(sum(scores) / 2)
    config = json.loads((folder / "out" / "config.json").read_text())
    assert (config["run"], config["seeds"], config["settings"]["labels"]) == ("run", 2, [20])
    assert config["tasks"]["lengths"]["label"] == "words"


def best(folder: Path, task: str, metric: str) -> dict:
    """The result whose model is saved."""
    found = events(folder, event="result", task=task, arm="pretrained", labels=0)
    return max(found, key=lambda event: event["dev"][metric])


def test_evaluate_and_predict_agree_with_the_score_that_was_reported(here, capsys):
    assert main(["evaluate", "out/lists", "lists/test.tsv", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["examples"] == 15
    assert told["metrics"] == pytest.approx(best(here, "lists", "accuracy")["test"])
    assert json.loads((here / "result.json").read_text()) == told
    assert main(["predict", "out/lists", "lists/test.tsv", "--out", "said.tsv", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["examples"] == 15
    header, *lines = [line.split("\t") for line in (here / "said.tsv").read_text().splitlines()]
    label, prediction = header.index("label"), header.index("prediction")
    assert sum(row[label] == row[prediction] for row in lines) / 15 == pytest.approx(told["metrics"]["accuracy"])


def test_texts_without_labels_are_predicted_in_their_own_format(here):
    texts = [text for text, _, _ in rows(100, 4)]
    (here / "new.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    assert main(["predict", "out/lengths", "new.jsonl", "--out", "made/said.jsonl"]) == 0
    said = [json.loads(line) for line in (here / "made" / "said.jsonl").read_text().splitlines()]
    assert [row["text"] for row in said] == texts
    assert all(isinstance(row["prediction"], float) for row in said)


def test_the_table_names_every_row_and_what_comes_next(here, capsys):
    assert main(["finetune", "run", "lists", "--out", "alone", "--alone", "--seeds", "1", *QUICK]) == 0
    said = capsys.readouterr()
    told = json.loads((here / "alone" / "result.json").read_text())["tasks"]["lists"]
    for word in ("lists, accuracy", "TF-IDF", "majority", "sesame predict alone/lists FILE --out OUT"):
        assert word in said.out
    assert ["pretrained", f"{told['pretrained']['mean']:.3f}"] in map(str.split, said.out.splitlines())
    assert "from scratch" not in said.out
    assert "1 of 1: lists, pretrained, seed 0: test accuracy" in said.err
    assert {"scratch", "embeddings", "gain"}.isdisjoint(told)
    assert main(["evaluate", "alone", "lists/test.tsv"]) == 0  # a single model needs no name


def test_a_sweep_without_rates_tries_three_around_lr_from_scratch_too(here):
    words = ["--from-scratch", "--seeds", "1", "--sweep", "--lr", "3e-3", *QUICK]
    assert main(["finetune", "run", "lists", "--out", "swept", *words]) == 0
    found = map(json.loads, (here / "swept" / "metrics.jsonl").read_text().splitlines())
    tried = [e["lr"] for e in found if e["event"] == "trial"]
    assert tried == pytest.approx([1e-3, 3e-3, 9e-3] * 2)  # from both ways to draw fresh weights


@pytest.mark.parametrize(
    ("given", "rate"), [((), 1e-2), (("--lr", "2e-3"), 2e-3), (("--lr", "2e-3", "--head-lr", "3e-3"), 3e-3)]
)
def test_heads_on_a_frozen_network_learn_at_their_own_rate_or_the_one_that_is_named(here, given, rate):
    words = ["--alone", "--freeze", "--seeds", "1", "--out", "heads", *given, *QUICK]
    assert main(["finetune", "run", "lists", *words]) == 0
    found = map(json.loads, (here / "heads" / "metrics.jsonl").read_text().splitlines())
    assert [e["lr"] for e in found if e["event"] == "result"] == pytest.approx([rate])


# --------------------------------------------------------------------------------------------- bad input
def contents(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def refused(capsys, *words: str) -> str:
    """Run a command that must fail in the right way; what it says."""
    before = contents(Path.cwd())
    assert main(list(words)) == 2
    said = capsys.readouterr()
    assert (said.out, "Traceback" in said.err) == ("", False)
    assert contents(Path.cwd()) == before
    return said.err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--out", "new"], ["which task?", "pydocs/area"]),
        (["lists", "--out", "out"], ["out exists and is not empty"]),
        (["nothing", "--out", "new"], ["nothing: no such task"]),
        (["pydocs/are", "--out", "new"], ["area"]),
        (["lists", "lists", "--out", "new"], ["two tasks are called lists"]),
        (["lists", "--out", "new", "--alone", "--from-scratch"], ["--from-scratch and --alone"]),
        (["lists", "--out", "new", "--rows", "0"], ["--rows 0", ">= 1"]),
        (["lists", "--out", "new", "--dropout", "1.5"], ["--dropout 1.5"]),
        (["lists", "--out", "new", "--labels", "20", "41"], ["--labels 41: lists has 40"]),
        (["lists", "--out", "new", "--seeds", "0"], ["--seeds 0"]),
        (["lists", "--out", "new", "--length", "99999"], ["--length 99999"]),
        (["lists", "--out", "new", "--text", "txet"], ["lists/train.tsv:1", "'txet'", "Did you mean text"]),
        (["lists", "--out", "new", "--metric", "f1"], ["metric", "f1"]),
        (["lists", "--out", "new", "--column", "3"], ["column"]),
    ],
)
def test_a_training_that_cannot_be_started_as_asked(here, capsys, words, said):
    message = refused(capsys, "finetune", "run", *words)
    assert all(word in message for word in said), message


def test_a_run_that_is_none_is_said(here, capsys):
    assert "nowhere" in refused(capsys, "finetune", "./nowhere", "lists", "--out", "new")


def damage(what: str) -> None:
    if what == "settings":
        Path("out/lists/task.json").write_text('{"name": ')
    elif what == "weights":
        file = Path("out/lists/model.safetensors")
        file.write_bytes(file.read_bytes()[:-50])
    elif what == "another network":
        shutil.copy("out/lengths/model.safetensors", "out/lists/model.safetensors")
    elif what == "lost":
        Path("out/lists/model.safetensors").unlink()


@pytest.mark.parametrize("what", ["settings", "weights", "another network", "lost"])
def test_a_damaged_model_is_refused_by_name(here, capsys, what):
    damage(what)
    assert "out/lists/" in refused(capsys, "evaluate", "out/lists", "lists/test.tsv")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["evaluate", "out", "lists/test.tsv"], ["several models", "out/lengths, out/lists"]),
        (["evaluate", "run", "lists/test.tsv"], ["run holds no fine-tuned model", "sesame finetune"]),
        (["evaluate", "nowhere", "lists/test.tsv"], ["nowhere"]),
        (["evaluate", "out/lists", "lost.tsv"], ["lost.tsv: no such file"]),
        (["evaluate", "out/lists", "bare.tsv"], ["bare.tsv:1", "'label'"]),
        (["evaluate", "out/lists", "odd.tsv"], ["odd.tsv:3", "'maybe'"]),
        (["predict", "out/lists", "bare.tsv", "--out", "lengths.json"], ["lengths.json exists"]),
        (["predict", "out/lists", "lost.tsv", "--out", "new.tsv"], ["lost.tsv: no such file"]),
    ],
)
def test_a_use_of_a_tuned_model_that_makes_no_sense(here, capsys, words, said):
    (here / "bare.tsv").write_text("text\nthe list\n")
    (here / "odd.tsv").write_text("text\tlabel\nthe list\tyes\na value\tmaybe\n")
    message = refused(capsys, *words)
    assert all(word in message for word in said), message


def test_by_option_a_faulty_example_is_left_out_and_counted(here, capsys):
    (here / "odd.tsv").write_text("text\tlabel\nthe list\tyes\na value\tmaybe\n")
    assert main(["evaluate", "out/lists", "odd.tsv", "--skip-bad", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["examples"], sum(told["notes"].values())) == (1, 1)
