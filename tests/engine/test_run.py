"""The run folder: made once, written by one, read by all."""

import errno
import json
import subprocess
import sys

import msgspec
import pytest
from tiny import TinyData

from sesame.config import Optimizer
from sesame.engine import build, checkpoint
from sesame.engine import run as module
from sesame.engine.run import Config, Run, found_in
from sesame.errors import UserError


@pytest.fixture
def made(tiny, tmp_path):
    run = Run.create(tmp_path / "run", Config(recipe=build.freeze(tiny(), TinyData()), machine={"torch": "2"}))
    run.close()
    return run


def test_what_is_opened_is_what_was_made(made):
    again = Run.open(made.path)
    assert again.config == made.config
    assert again.state().state == "running"
    assert not again.is_live()


def test_a_version_with_more_settings_knows_the_checkpoints_of_one_with_fewer(made):
    before = made.config_hash
    assert Run.open(made.path).config_hash == before
    told = json.loads((made.path / "config.json").read_bytes())
    del told["recipe"]["watch"]  # as an earlier version wrote it, whose checkpoints have its hash
    (made.path / "config.json").write_text(json.dumps(told))
    older = Run.open(made.path)
    assert older.recipe == made.recipe
    assert older.config_hash == checkpoint.config_hash(told["recipe"]) != before


def test_a_run_that_exists_is_left_alone_and_the_way_on_is_told(made, tiny):
    before = (made.path / "config.json").read_bytes()
    with pytest.raises(UserError, match=f"a run already. Nothing was changed.*--resume {made.path}"):
        Run.create(made.path, made.config)
    other = tiny(optimizer=Optimizer(lr=0.5))
    with pytest.raises(UserError, match=r"other settings \(optimizer.lr: 0.01 there, 0.5 here"):
        Run.create(made.path, Config(recipe=other, machine={}))
    assert (made.path / "config.json").read_bytes() == before


@pytest.mark.parametrize("name", ["thesis.txt", "step-00000001"])
def test_a_folder_with_something_else_is_left_alone(made, tmp_path, name):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / name).write_text("years of work")
    with pytest.raises(UserError, match=f"holds something else .{name}"):
        Run.create(tmp_path / "mine", made.config)
    assert (tmp_path / "mine" / name).read_text() == "years of work"


def test_a_file_in_the_way_is_named(made, tmp_path):
    (tmp_path / "mine").write_text("")
    with pytest.raises(UserError, match="exists and is no folder"):
        Run.create(tmp_path / "mine", made.config)


def test_prepared_data_may_be_there_already(made, tmp_path):
    (tmp_path / "new" / "data").mkdir(parents=True)
    Run.create(tmp_path / "new", made.config).close()


_HOLD = """
import fcntl, os, sys, time
handle = open(sys.argv[1], "w")
fcntl.flock(handle, fcntl.LOCK_EX)
handle.write(str(os.getpid())); handle.flush()
print("locked", flush=True)
time.sleep(60)
"""


def test_one_process_writes_at_a_time_and_a_dead_one_does_not_count(made):
    command = [sys.executable, "-c", _HOLD, str(made.path / "lock")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "locked\n"
        assert made.is_live()
        with pytest.raises(UserError, match=f"written by process {process.pid}"):
            Run.open(made.path).lock()
        process.kill()
    assert not made.is_live()
    made.lock()
    made.close()


def test_a_folder_that_is_no_run_and_a_damaged_one_are_refused(made, tmp_path):
    with pytest.raises(UserError, match="no run folder"):
        Run.open(tmp_path)
    recipe = json.loads((made.path / "config.json").read_bytes())
    recipe["recipe"]["steps"] = -1
    (made.path / "config.json").write_text(json.dumps(recipe))
    with pytest.raises(UserError, match=r"config.json is damaged.*recipe.steps"):
        Run.open(made.path)
    (made.path / "config.json").write_text("{")
    with pytest.raises(UserError, match=r"config\.json is damaged"):
        Run.open(made.path)


def test_where_making_a_run_was_cut_short_one_can_be_made(made, tmp_path, monkeypatch):
    half = tmp_path / "half"
    (half / "checkpoints").mkdir(parents=True)
    (half / "lock").write_text("1")  # killed before it had its settings
    (half / "config.json.tmp").write_text("{")
    with pytest.raises(UserError, match="no run folder"):
        Run.open(half)
    Run.create(half, made.config).close()
    assert Run.open(half).config == made.config

    def full(path, content):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(module, "_write", full)
    with pytest.raises(UserError, match="cannot be made"):
        Run.create(tmp_path / "none", made.config)
    assert not (tmp_path / "none").exists()


def test_what_is_discarded_is_what_the_run_wrote(made, tmp_path):
    for name in ("tokenizer", "artifacts", "data"):
        (tmp_path / "new" / name).mkdir(parents=True)
        (tmp_path / "new" / name / "mine").touch()
    run = Run.create(tmp_path / "new", made.config)
    run.log("log", 0)
    run.discard()
    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == ["artifacts", "data", "tokenizer"]
    assert len(list((tmp_path / "new").glob("*/mine"))) == 3
    Run.create(tmp_path / "new", made.config).close()


def test_the_way_on_has_as_many_processes_as_the_run(made):
    assert made.resuming == f"sesame pretrain --resume {made.path}"
    made.config.machine["processes"] = "2"
    assert made.resuming == f"torchrun --nproc-per-node 2 -m sesame pretrain --resume {made.path}"


def test_events_past_a_checkpoint_and_half_lines_are_forgotten(made):
    for step in (1, 2, 3):
        made.log("log", step, loss=float(step))
    made.close()
    with (made.path / "metrics.jsonl").open("a") as file:
        file.write('{"event": "lo')
    assert [e["step"] for e in made.events()] == [1, 2, 3]
    made.forget_after(2)
    assert [e["loss"] for e in made.events("log")] == [1.0, 2.0]
    assert list(made.events("evaluate")) == []


def test_a_broken_line_in_the_middle_is_named(made):
    (made.path / "metrics.jsonl").write_text('{"event": "log", "step": 1}\nnonsense\n{"event": "log", "step": 2}\n')
    with pytest.raises(UserError, match=r"metrics.jsonl: line 2 is no JSON"):
        list(made.events())


def test_a_step_without_a_checkpoint_names_those_that_have_one(tiny, train):
    run = train(tiny())
    assert run.at(4).manifest.step == 4
    with pytest.raises(UserError, match="Steps with a checkpoint: 0, 4, 8, 12"):
        run.at(5)


def test_another_runs_checkpoint_is_foreign(tiny, train, caplog):
    one, two = train(tiny(), "one"), train(tiny(seed=1), "two")
    foreign = two.checkpoints / "step-00000012"
    foreign.rename(one.checkpoints / "step-00000099")
    assert one.newest().manifest.step == 12
    assert "run with other settings" in caplog.text
    with pytest.raises(UserError, match="run with other settings"):
        one.at(99)


def test_runs_are_found_in_a_folder(made, tmp_path):
    (tmp_path / "other").mkdir()
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "config.json").write_text(json.dumps({"model_type": "bert"}))
    assert [run.path for run in found_in(tmp_path)] == [made.path]
    assert [run.path for run in found_in(made.path)] == [made.path]


def test_the_config_reads_back_as_it_was_written(made):
    assert msgspec.json.decode((made.path / "config.json").read_bytes(), type=Config) == made.config
