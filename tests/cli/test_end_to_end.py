"""The whole way through the command line: text, data, run, guesses, vectors, an exported model and back."""

import json
from dataclasses import replace

import numpy as np
import pytest

from sesame.cli.demo_steps import check_place
from sesame.cli.main import main
from sesame.errors import UserError
from sesame.tasks.pydocs import TASKS


@pytest.fixture
def here(made, monkeypatch):
    """Inside that folder, for commands that are run in this process."""
    monkeypatch.chdir(made[0])
    (made[0] / "result.json").unlink(missing_ok=True)
    return made[0]


def test_a_command_s_json_is_its_result_file(made):
    folder, told = made
    assert told["data"]["command"] == "data prepare"
    assert json.loads((folder / "data" / "result.json").read_text()) == told["data"]
    assert (told["pretrain"]["state"], told["pretrain"]["step"]) == ("finished", 6)
    assert json.loads((folder / "run" / "result.json").read_text()) == told["pretrain"]


def test_the_data_can_be_looked_at(here, capsys):
    assert main(["data", "show", "data"]) == 0
    said = capsys.readouterr().out
    assert "648" in said  # documents
    assert "Beginnings" in said


def test_fill_shows_a_table_and_writes_the_same_numbers(here, capsys):
    assert main(["fill", "run", "the [MASK] is found in a [MASK].", "--k", "3"]) == 0
    said = capsys.readouterr().out
    result = json.loads((here / "result.json").read_text())
    assert [len(mask) for mask in result["masks"]] == [3, 3]
    for mask in result["masks"]:
        assert all(guess["token"] in said for guess in mask)
        assert [g["probability"] for g in mask] == sorted((g["probability"] for g in mask), reverse=True)


def test_embed_writes_a_vector_a_line(here):
    (here / "lines.txt").write_text("the list\nthe list\na value holds the first word\n")
    assert main(["embed", "run", "lines.txt", "--out", "vectors.npy"]) == 0
    vectors = np.load(here / "vectors.npy")
    assert vectors.shape == (3, 32)
    np.testing.assert_allclose(vectors[0], vectors[1], atol=1e-6)
    assert json.loads((here / "result.json").read_text())["vectors"] == 3


def test_embed_writes_a_vector_a_token_of_any_layer(here):
    (here / "gaps.txt").write_text("the list\n\na value\n")
    words = ["gaps.txt", "--out", "tokens.npz", "--tokens", "--layer", "-2", "--skip-empty"]
    assert main(["embed", "run", *words]) == 0
    found = np.load(here / "tokens.npz")
    assert len(found["offsets"]) == 3
    assert found["vectors"].shape == (found["offsets"][-1], 32)
    assert len(found["ids"]) == found["offsets"][-1]
    result = json.loads((here / "result.json").read_text())
    assert result["skipped_empty_lines"] == [2]


def test_what_is_exported_comes_back_with_the_same_guesses(here, capsys):
    assert main(["export", "run", "--out", "published"]) == 0
    assert main(["import", "published", "--out", "back"]) == 0
    capsys.readouterr()
    guesses = []
    for model in ("run", "published", "back"):
        assert main(["fill", model, "the [MASK] of the list", "--json"]) == 0
        guesses.append(json.loads(capsys.readouterr().out)["masks"])
    assert guesses[0] == guesses[1] == guesses[2]


def test_runs_lists_the_run(here, capsys):
    assert main(["runs", ".", "--json"]) == 0
    found = {run["run"]: run for run in json.loads(capsys.readouterr().out)["runs"]}
    assert (found["run"]["state"], found["run"]["step"]) == ("finished", 6)


def test_the_same_from_python(here):
    import sesame as package

    recipe = package.recipes.find("bert-tiny")
    info = package.prepare(["text.txt"], "python-data", vocab=90)
    model = package.pretrain(recipe, "python-data", "python-run", steps=2, threads=1)
    assert info.tokens > 0
    assert model.step == 2
    assert len(package.fill(model, "the [MASK]").masks) == 1
    assert package.embed(model, ["the list"]).shape == (1, 128)


def test_a_demo_removes_nothing_that_it_did_not_make(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tasks").mkdir()
    (tmp_path / "tasks" / "thesis.txt").write_text("years of work")
    assert main(["demo", "--out", "."]) == 2
    assert "tasks exists and holds something else" in capsys.readouterr().err
    assert [str(path) for path in tmp_path.rglob("*")] == [str(tmp_path / "tasks"), str(tmp_path / "tasks/thesis.txt")]


def test_a_demo_goes_on_with_an_earlier_one(here, capsys, monkeypatch):
    (here / "shown").mkdir()
    (here / "data").rename(here / "shown" / "data")
    (here / "run").rename(here / "shown" / "run")
    try:
        whole = TASKS["params"]()  # on which a model of letters would take minutes
        monkeypatch.setitem(TASKS, "params", lambda: replace(whole, dev=whole.dev[:9], test=whole.test[:9]))
        monkeypatch.setattr("sesame.cli.demo.TUNING", ("--epochs", "1", "--min-steps", "0", "--evaluations", "1"))
        tasks = ["--tasks", "params", "--seeds", "1", "--examples", "30"]
        assert main(["demo", "--out", "shown", "--json", *tasks]) == 0
        result = json.loads(capsys.readouterr().out)
        assert result["step"] == 6
        assert all(example["masks"] for example in result["examples"])
        found = result["tasks"]["pydocs/params"]
        assert found["train"] == 30 and found["notes"]["training examples left unused"] > 0
        assert found["gain"]["mean"] == pytest.approx(found["pretrained"]["mean"] - found["scratch"]["mean"])
        assert "pydocs/params" in (here / "shown" / "report.html").read_text()
        before = (here / "shown" / "tasks" / "result.json").read_bytes()
        assert main(["demo", "--out", "shown", "--json", *tasks]) == 0  # the tasks too are used as they are
        assert json.loads(capsys.readouterr().out)["tasks"] == result["tasks"]
        assert (here / "shown" / "tasks" / "result.json").read_bytes() == before
        assert main(["demo", "--out", "shown", "--tasks", "params", "names"]) == 2  # what is finished is not undone
        assert (here / "shown" / "tasks" / "result.json").read_bytes() == before
        (here / "shown" / "tasks" / "result.json").unlink()
        check_place(["pydocs/params"], here / "shown" / "tasks")  # begun and not finished: it begins anew
        with pytest.raises(UserError, match="holds something else"):
            check_place(["pydocs/names"], here / "shown" / "tasks")
    finally:
        (here / "shown" / "data").rename(here / "data")
        (here / "shown" / "run").rename(here / "run")
