"""Series of checkpoints, in all the layouts they are found in."""

import json
import shutil

import pytest
from hub_server import commit_of, serving

from sesame.engine import checkpoint
from sesame.engine.build import load
from sesame.engine.fork import fork
from sesame.errors import UserError
from sesame.interop.hub import locate
from sesame.probes.series import open_series, step_of


@pytest.mark.parametrize(
    ("name", "step"),
    [
        ("step-100", 100),
        ("step100", 100),
        ("step_20k", 20_000),
        ("multiberts-seed_0-step_2000k", 2_000_000),
        ("google/multiberts-seed_0-step_0k", 0),
        ("step-00000012", 12),
        ("main", None),
        ("step", None),
        ("step-1.tmp", None),
        ("misstep3", None),
    ],
)
def test_steps_are_read_from_names(name, step):
    assert step_of(name) == step


def steps(series) -> list[int]:
    return [saved.step for saved in series.saved]


def test_a_run_knows_tokens_and_seconds_of_its_checkpoints(trained):
    series = open_series(str(trained))
    assert steps(series) == [0, 4, 8, 10] and series.kind == "text" and series.faults == ()
    for saved in series.saved:
        manifest = checkpoint.read_manifest(trained / "checkpoints" / f"step-{saved.step:08d}")
        assert (saved.tokens, saved.seconds) == (manifest.size, manifest.seconds)
    assert len({saved.made_from for saved in series.saved}) == 4
    assert series.only([4, 0]) == (series.saved[0], series.saved[1])
    with pytest.raises(UserError, match=r"no checkpoint of step 5 .*There are: 0, 4, 8, 10"):
        series.only([5])


def test_a_checkpoint_that_is_damaged_or_missing_is_named(copied, caplog):
    shutil.rmtree(copied / "checkpoints" / "step-00000004")
    (copied / "checkpoints" / "step-00000000" / "objective.safetensors").unlink()
    (copied / "checkpoints" / "step-00000010" / "manifest.json").write_text("{")
    series = open_series(str(copied))
    assert steps(series) == [8]
    for fault in ("step-00000000/objective.safetensors is missing", "step-00000010/manifest.json is damaged",
                  "step-00000004 is missing: the run saved a checkpoint there"):  # fmt: skip
        assert sum(fault in line for line in series.faults) == 1 and fault in caplog.text


def test_an_imported_model_whose_only_checkpoint_is_damaged_is_said(copied):
    config = json.loads((copied / "config.json").read_text())
    config["recipe"]["save_every"] = 0  # as imported models have it
    (copied / "config.json").write_text(json.dumps(config))
    for step in (4, 8, 10):
        shutil.rmtree(copied / "checkpoints" / f"step-{step:08d}")
    (copied / "checkpoints" / "step-00000000" / "manifest.json").write_text("{")
    with pytest.raises(UserError, match="holds no checkpoint that can be measured"):
        open_series(str(copied))


@pytest.mark.parametrize(("at", "gone", "missing"), [(8, None, []), (4, 8, [8])])
def test_a_twin_has_no_checkpoints_from_before_its_fork(trained, tmp_path, at, gone, missing):
    twin = fork(trained, tmp_path / "twin", at).run.path
    for step in {8, 10} - {at, gone}:
        shutil.copytree(trained / "checkpoints" / f"step-{step:08d}", twin / "checkpoints" / f"step-{step:08d}")
    series = open_series(str(twin))
    assert steps(series) == sorted({at, 8, 10} - {gone})
    assert [int(fault.split("step-")[1][:8]) for fault in series.faults] == missing


def test_a_folder_of_model_folders(published):
    folder = published("step-{}")
    (folder / "notes").mkdir()
    (folder / "step-99").mkdir()
    series = open_series(str(folder))
    assert steps(series) == [0, 4, 8, 10] and (series.kind, series.home) == ("text", folder)
    assert series.faults == (f"{folder}/step-99/config.json is missing: this is no model folder.",)
    assert load(series.saved[1].model).objective is not None
    before = {saved.step: saved.made_from for saved in series.saved}
    (folder / "step-8" / "model.safetensors").write_bytes(b"other")
    after = {saved.step: saved.made_from for saved in open_series(str(folder)).saved}
    assert [step for step in before if before[step] != after[step]] == [8]
    shutil.copytree(folder / "step-4", folder / "multiberts-seed_1-step_4")
    with pytest.raises(UserError, match="are both of step 4"):
        open_series(str(folder))


def test_one_model_alone_is_a_series_of_one(published):
    assert steps(open_series(str(published() / "step-8"))) == [8]


def test_what_holds_no_checkpoints_is_said(trained, tmp_path):
    for inside in (trained / "checkpoints", trained / "checkpoints" / "step-00000004"):
        with pytest.raises(UserError, match=f"Watch that one: sesame watch {trained}, with --steps"):
            open_series(str(inside))
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="is no run, and holds no folders step-0"):
        open_series(str(tmp_path / "empty"))
    with pytest.raises(UserError, match="no such folder"):
        open_series(str(tmp_path / "nowhere"))


# ------------------------------------------------------------------------------------------------------ hub
@pytest.fixture
def hub(published, tmp_path, monkeypatch):
    """A hub with one model in revisions, as Pythia has, and one in models of their own, as MultiBERTs has."""
    from huggingface_hub import constants

    folder = published()
    revisions = {f"step{step}": folder / f"step-{step}" for step in (0, 4, 8)} | {"main": folder / "step-8"}
    models = {f"lab/bert-seed_0-step_{step}k": {"main": folder / f"step-{step}"} for step in (4, 8)}
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    with serving({"lab/tiny": revisions, **models}) as address:
        monkeypatch.setattr(constants, "ENDPOINT", address)
        monkeypatch.setattr(
            constants, "HUGGINGFACE_CO_URL_TEMPLATE", f"{address}/{{repo_id}}/resolve/{{revision}}/{{filename}}"
        )
        yield folder


def test_revisions_of_a_model_on_the_hub(hub):
    series = open_series("lab/tiny")
    assert [(saved.step, saved.model) for saved in series.saved] == [
        (0, "lab/tiny@step0"), (4, "lab/tiny@step4"), (8, "lab/tiny@step8")
    ]  # fmt: skip
    assert [saved.made_from for saved in series.saved] == [commit_of(hub / f"step-{step}") for step in (0, 4, 8)]
    assert series.home is None
    for saved in series.saved[:2]:
        there = locate(saved.model) / "model.safetensors"
        assert there.read_bytes() == (hub / f"step-{saved.step}" / "model.safetensors").read_bytes()
    assert steps(open_series("lab/tiny@step4")) == [4]


def test_models_of_their_own_on_the_hub(hub):
    series = open_series("lab/bert-seed_0")
    assert [(saved.step, saved.model) for saved in series.saved] == [
        (4000, "lab/bert-seed_0-step_4k"), (8000, "lab/bert-seed_0-step_8k")
    ]  # fmt: skip
    with pytest.raises(UserError, match="neither revisions of it called step0"):
        open_series("lab/bert-seed_0-step_4k")


def test_without_a_network_the_cache_is_looked_at_and_the_way_out_is_told(hub, monkeypatch):
    for step in (0, 4):
        locate(f"lab/tiny@step{step}")
    locate("lab/bert-seed_0-step_8k")
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")  # nobody answers there
    assert steps(open_series("lab/tiny")) == [0, 4]
    assert steps(open_series("lab/bert-seed_0")) == [8000]
    with pytest.raises(UserError, match=r"lab/other: no folder .* each as a folder step-0, step-1000"):
        open_series("lab/other")
