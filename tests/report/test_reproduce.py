"""The command on the page makes the same recipe again."""

import shlex

import msgspec
import pytest
from report_folders import recipe, write_run, write_tuning

from sesame import config, recipes
from sesame.cli.pretrain import read_options
from sesame.report.folders import open_folders
from sesame.report.reading import pretraining
from sesame.report.reproduce import finetune_command, pretrain_command

CHANGES = {
    "as it is": {},
    "numbers": {"seed": 3, "ema": 0.99, "optimizer": config.Optimizer(lr=3e-3, muon_lr=0.01, name="muon")},
    "switches": {"deterministic": True, "pretext": config.Bert(unit="word", rate=0.2)},
}


@pytest.mark.parametrize("name", CHANGES)
def test_the_command_of_a_run_gives_its_recipe(tmp_path, name):
    ready = recipes.find("bert-tiny")
    frozen = {"steps": 1234, "threads": 2, "device": "cpu", "precision": "fp32"}
    data = msgspec.structs.replace(ready.data, store="my data", rows=16)
    backbone = msgspec.structs.replace(ready.backbone, norm="pre", embedding_norm=False)
    made = msgspec.structs.replace(ready, data=data, backbone=backbone, **frozen, **CHANGES[name])
    words = shlex.split(pretrain_command(pretraining(write_run(tmp_path / "a run", made, step=100), "a run")))
    assert words[:2] == ["sesame", "pretrain"]
    where, read = read_options(words[2], words[3:])
    assert (where.data, str(where.out)) == (("my data",), "a run")
    again = msgspec.structs.replace(
        read, max_minutes=made.max_minutes, data=msgspec.structs.replace(read.data, store="my data")
    )
    assert again == made


def test_an_imported_model_is_imported_again(tmp_path):
    run = write_run(tmp_path / "base", recipe(steps=0), state="imported", origin="bert-base-uncased")
    assert pretrain_command(pretraining(run, "base")) == "sesame import bert-base-uncased --out base"


def test_a_recipe_of_one_s_own_has_no_command_and_it_is_said(tmp_path):
    run = write_run(tmp_path / "run", recipe(name="mine"))
    assert pretrain_command(pretraining(run, "run")).startswith("#")


def test_the_command_of_fine_tuning_names_what_is_not_the_default(tmp_path):
    tuning = open_folders([write_tuning(tmp_path / "tuned")]).tunings[0]
    assert finetune_command(tuning) == (
        "sesame finetune demo/run pydocs/area pydocs/names --out tuned --seeds 5 --loss-curve --labels 100 300"
    )
