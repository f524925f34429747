"""`sesame import` and `sesame export`: a published model as a run, a run as a published model."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from small_bert import bert

from sesame import config, interop
from sesame.cli.main import main
from sesame.data.batch import Cursor
from sesame.data.tokenizer import Vocabulary
from sesame.engine import build, checkpoint
from sesame.engine.checkpoint import Manifest
from sesame.engine.run import Config, Run

WEIGHTS = "model.safetensors"


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_an_imported_model_is_a_run_that_stands_on_its_own(folder: Path, tmp_path: Path) -> None:
    published = interop.open_model(folder)
    assert main(["import", str(folder), "--out", str(tmp_path / "run")]) == 0
    for path in folder.iterdir():
        path.unlink()
    (tmp_path / "run").rename(tmp_path / "moved")

    run = Run.open(tmp_path / "moved")
    said = run.state()
    assert said is not None and said.state == "imported"
    model = build.load(run.path)
    assert (model.recipe.backbone, model.recipe.pretext) == (published.backbone, published.pretext)
    assert model.vocabulary is not None and model.vocabulary.hash == published.vocabulary.hash
    loaded = model.objective.state_dict()
    assert loaded.keys() == published.state.keys()
    assert all(torch.equal(loaded[name], published.state[name]) for name in loaded)


def test_what_is_imported_is_exported_bit_for_bit(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    assert main(["import", str(folder), "--out", str(tmp_path / "run")]) == 0
    capsys.readouterr()
    assert main(["export", str(tmp_path / "run"), "--out", str(tmp_path / "again"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["architecture"] == "BertForPreTraining"
    assert contents(tmp_path / "again") == contents(folder)
    assert contents(tmp_path / "run" / "checkpoints" / "step-00000000" / "model") == contents(folder)


def test_a_head_that_starts_fresh_is_named_and_the_same_every_time(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    encoder = {name: t for name, t in load_file(folder / WEIGHTS).items() if not name.startswith("cls.")}
    save_file(encoder, folder / WEIGHTS)
    runs = tmp_path / "one", tmp_path / "two"
    for run in runs:
        torch.rand(3)
        assert main(["import", str(folder), "--out", str(run)]) == 0
        assert "no weights for pretext.masked_lm" in capsys.readouterr().err
    one, two = (load_file(run / "checkpoints" / "step-00000000" / "objective.safetensors") for run in runs)
    assert one["pretext.masked_lm.dense.weight"].std() > 0
    assert all(torch.equal(one[name], two[name]) for name in one | two)


@pytest.mark.parametrize("verb", ["import", "export"])
def test_what_is_there_is_not_overwritten(folder: Path, capsys: pytest.CaptureFixture, verb: str) -> None:
    before = contents(folder)
    assert main([verb, str(folder), "--out", str(folder)]) == 2
    assert f"{folder} exists and is not empty" in capsys.readouterr().err
    assert contents(folder) == before


def test_a_model_that_cannot_be_opened_leaves_nothing_behind(folder: Path, tmp_path: Path) -> None:
    (folder / WEIGHTS).write_bytes((folder / WEIGHTS).read_bytes()[:-4])
    assert main(["import", str(folder), "--out", str(tmp_path / "run")]) == 2
    assert [path.name for path in tmp_path.iterdir()] == [folder.name]


def test_an_imported_run_is_not_resumed_but_the_way_on_is_named(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    assert main(["import", str(folder), "--out", str(tmp_path / "run")]) == 0
    assert main(["pretrain", "--resume", str(tmp_path / "run")]) == 2
    assert f"--from {tmp_path / 'run'}" in capsys.readouterr().err


def test_a_run_that_transformers_has_no_model_for_is_refused_by_name(
    tmp_path: Path, vocabulary: Vocabulary, capsys: pytest.CaptureFixture
) -> None:
    objective = bert(vocabulary, norm="pre")
    recipe = config.Recipe(
        name="pre-norm", data=config.TextData(), backbone=objective.backbone.config, pretext=config.Bert()
    )
    run = Run.create(tmp_path / "run", Config(recipe=recipe, machine={}), vocabulary)
    manifest = Manifest(step=0, cursor=Cursor(), config=run.config_hash)
    checkpoint.save(run.checkpoints, manifest, objective.state_dict(), {})
    run.close()
    assert main(["export", str(run.path), "--out", str(tmp_path / "model")]) == 2
    assert "norm pre" in capsys.readouterr().err
    assert not (tmp_path / "model").exists()
