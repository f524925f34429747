"""Word vectors from the command line: text to vectors, asked, written, exact when resumed, as first embeddings."""

import json
import os
import signal
from pathlib import Path

import numpy as np
import pytest
import torch

from sesame.cli.main import main
from sesame.data.store import TokenStore
from sesame.engine import loop, start
from sesame.engine.build import load
from sesame.engine.run import Run
from sesame.tasks.tuned import open_tuned

NOUNS = ("list", "value", "item", "set", "copy", "word")
SMALL = ("--backbone.width", "16", "--threads", "1", "--steps", "12", "--eval-rows", "4", "--data.length", "32")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A text, its store of words, and a CBOW run on it."""
    made = tmp_path_factory.mktemp("vectors")
    texts = [f"The {a} holds a {b}. It is a {c} of the {a}." for a in NOUNS for b in NOUNS for c in NOUNS]
    (made / "text.txt").write_text("\n\n".join(texts))
    (made / "pairs.txt").write_text("list set 3\nvalue item 2\ncopy word 1\nlist nobody 5\n")
    (made / "questions.txt").write_text(": nouns\nlist set value item\nlist set copy nobody\n")
    assert main(["data", "prepare", str(made / "text.txt"), "--kind", "words", "--out", str(made / "data")]) == 0
    assert main(["pretrain", "cbow", *SMALL, "--data", str(made / "data"), "--out", str(made / "run")]) == 0
    return made


def test_who_prepared_words_is_told_of_cbow(folder: Path, tmp_path: Path, capsys) -> None:
    for kind, recipe in (("words", "cbow"), ("chars", "bert-tiny")):
        assert main(["data", "prepare", str(folder / "text.txt"), "--kind", kind, "--out", str(tmp_path / kind)]) == 0
        assert f"sesame pretrain {recipe} --data" in capsys.readouterr().out


def test_a_store_of_words_holds_the_frequent_words(folder: Path) -> None:
    store = TokenStore.open(folder / "data")
    assert store.info.vocabulary == "WordLevel"
    assert store.vocabulary.tokens(range(5, 12)) == [".", "a", "the", "holds", "is", "it", "of"]
    assert store.info.unknown == 0


def test_vectors_are_asked_and_written(folder: Path, capsys, monkeypatch) -> None:
    monkeypatch.chdir(folder)
    words = ["--nearest", "list", "value", "--similarity", "pairs.txt", "--analogies", "questions.txt", "--count", "3"]
    assert main(["vectors", "run", *words, "--out", "vectors.txt"]) == 0
    said = capsys.readouterr().out
    result = json.loads((folder / "result.json").read_text())
    assert result["command"] == "vectors"
    assert [len(near) for near in result["nearest"].values()] == [3, 3]
    assert all(near["word"] in said for near in result["nearest"]["list"])
    assert {k: result["similarity"]["pairs.txt"][k] for k in ("pairs", "unknown")} == {"pairs": 3, "unknown": 1}
    assert result["analogies"]["questions.txt"]["total"]["asked"] == 1
    written = (folder / "vectors.txt").read_text().splitlines()
    model = load("run")
    vectors = model.objective.backbone.embed.token.weight.detach().numpy()
    assert written[0] == f"{len(vectors) - 5} 16" and len(written) == len(vectors) - 4
    assert main(["vectors", "run", "--out", "vectors.txt"]) == 2
    assert "left as it is" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "what about the vectors?"),
        (["--nearest", "lizt"], "'lizt' is no word of this vocabulary"),
        (["--similarity", "nowhere.txt"], "no such file"),
        (["--out", "vectors.npy"], "ends in .txt, .vec (text) or .bin"),
        (["--nearest", "list", "--count", "0"], "a count of at least 1"),
    ],
)
def test_mistakes_get_one_message(folder: Path, capsys, monkeypatch, words: list[str], said: str) -> None:
    monkeypatch.chdir(folder)
    assert main(["vectors", "run", *words]) == 2
    assert said in capsys.readouterr().err


def test_a_run_stopped_and_resumed_is_the_run_never_stopped(folder: Path) -> None:
    def interrupt(training: loop.Training) -> None:
        if training.step == 5 and not training.ending:
            os.kill(os.getpid(), signal.SIGTERM)

    whole = Run.open(folder / "run")
    halved = start.start(whole.recipe, folder / "halved", extra=(interrupt,)).run
    state = halved.state()
    assert state is not None and (state.state, state.step) == ("interrupted", 6)
    start.resume(folder / "halved")
    one, two = whole.at().objective, halved.at().objective
    assert one.keys() == two.keys() and all(torch.equal(one[name], two[name]) for name in one)
    assert one["pretext.guessed.weight"].any()
    counts = np.bincount(TokenStore.open(folder / "data").ids, minlength=len(one["pretext.counts"]))
    assert 0 < int(one["pretext.counts"].sum()) < int(counts.sum())  # what is held out is not counted


def test_word_vectors_are_the_first_embeddings_of_a_bert(folder: Path, capsys) -> None:
    words = ["bert-tiny", "--from", str(folder / "run"), "--backbone.heads", "2", "--backbone.ffn", "16"]
    words += ["--threads", "1", "--steps", "0", "--data.length", "32", "--backbone.layers", "1"]
    data = ["--data", str(folder / "data")]
    assert main(["pretrain", *words, "--backbone.width", "16", *data, "--out", str(folder / "bert")]) == 0
    theirs = load(folder / "run").objective.backbone.embed.token.weight.detach().numpy()
    ours = load(folder / "bert").objective.backbone.embed.token.weight.detach().numpy()
    centred = theirs[5:] - theirs[5:].mean(0)
    np.testing.assert_allclose(
        ours[5:], 0.05 * centred / np.sqrt((centred**2).mean(1, keepdims=True)), rtol=1e-4, atol=1e-6
    )
    assert ours[:5].any(1).all()  # [CLS] and others start at random
    assert Run.open(folder / "bert").recipe.backbone.layers == 1  # its shape is its own
    roomy = ["--backbone.width", "16", "--backbone.vocab", str(len(theirs) + 7)]  # more rows than there are tokens
    assert main(["pretrain", *words, *roomy, *data, "--out", str(folder / "roomy")]) == 0
    rows = load(folder / "roomy").objective.backbone.embed.token.weight.detach().numpy()
    np.testing.assert_array_equal(rows[5 : len(theirs)], ours[5:])
    assert len(rows) == len(theirs) + 7 and rows[len(theirs) :].any(1).all()
    capsys.readouterr()
    assert main(["pretrain", *words, "--backbone.width", "32", *data, "--out", str(folder / "wide")]) == 2
    assert "vectors of width 16" in capsys.readouterr().err
    other = str(folder / "other")
    assert main(["data", "prepare", str(folder / "text.txt"), "--vocab", "60", "--out", other]) == 0
    assert main(["pretrain", *words, "--backbone.width", "16", "--data", other, "--out", str(folder / "none")]) == 2
    assert "another tokenizer" in capsys.readouterr().err
    assert not (folder / "none").exists()


def test_a_head_is_learned_on_word_vectors(folder: Path, monkeypatch) -> None:
    monkeypatch.chdir(folder)
    rows = [f"the {noun} holds a {other}.\t{noun}" for noun in NOUNS[:2] for other in NOUNS]
    for part in ("train", "dev"):
        (folder / f"{part}.tsv").write_text("text\tlabel\n" + "\n".join(rows) + "\n")
    (folder / "task").mkdir()
    for part in ("train", "dev"):
        (folder / f"{part}.tsv").rename(folder / "task" / f"{part}.tsv")
    words = ["--seeds", "1", "--epochs", "1", "--min-steps", "4", "--threads", "1", "--workers", "1"]
    assert main(["finetune", str(folder / "run"), str(folder / "task"), "--out", str(folder / "tuned"), *words]) == 0
    result = json.loads((folder / "tuned" / "result.json").read_text())["tasks"]["task"]
    assert "embeddings" not in result and {"pretrained", "scratch"} <= result.keys()
    (folder / "new.tsv").write_text("text\nthe list holds a set.\n")
    out = str(folder / "answers.tsv")
    assert main(["predict", str(folder / "tuned" / "task"), str(folder / "new.tsv"), "--out", out]) == 0


def test_elmo_is_trained_read_and_put_to_work_frozen(folder: Path, capsys, monkeypatch) -> None:
    monkeypatch.chdir(folder)
    shape = ["--backbone.filters", "1", "4", "2", "4", "--backbone.width", "8", "--backbone.cell", "12"]
    words = [*shape, "--threads", "1", "--steps", "3", "--data.length", "32", "--data.rows", "4", "--eval-rows", "4"]
    assert main(["pretrain", "elmo-tiny", *words, "--data", "data", "--out", "elmo"]) == 0
    assert {"forwards.loss", "backwards.loss"} <= json.loads((folder / "elmo" / "result.json").read_text())[
        "held_out"
    ].keys()
    assert main(["vectors", "elmo", "--nearest", "list", "--count", "3"]) == 0
    assert len(json.loads((folder / "result.json").read_text())["nearest"]["list"]) == 3
    (folder / "lines.txt").write_text("the list\nthe unheard word\n")
    assert main(["embed", "elmo", "lines.txt", "--out", "elmo.npy", "--layer", "1"]) == 0
    assert np.load("elmo.npy").shape == (2, 16)
    rows = [f"the {noun} holds a {other}.\t{noun}" for noun in NOUNS[:2] for other in NOUNS]
    (folder / "frozen").mkdir()
    for part in ("train", "dev"):
        (folder / "frozen" / f"{part}.tsv").write_text("text\tlabel\n" + "\n".join(rows) + "\n")
    train = ["--alone", "--freeze", "--mix", "--seeds", "1", "--epochs", "1", "--min-steps", "4", "--workers", "1"]
    assert main(["finetune", "elmo", "frozen", *train, "--threads", "1", "--out", "tuned-elmo"]) == 0
    tuned, before = open_tuned("tuned-elmo/frozen").network, load("elmo").objective.backbone
    after = tuned.backbone.state_dict()
    assert all(torch.equal(value, after[name]) for name, value in before.state_dict().items())
    assert tuned.mix is not None and len(tuned.mix.weight) == 3 and tuned.mix.weight.any()  # it has learned
    assert main(["evaluate", "tuned-elmo/frozen", "frozen/dev.tsv"]) == 0
