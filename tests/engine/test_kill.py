"""Nothing is lost: real processes are killed at any moment, go on, and end with the weights of one never killed."""

import os
import random
import shutil
import signal
import time
from pathlib import Path

import pytest
import torch
from process import sesame
from safetensors.torch import load_file
from text_store import write_store

STEPS = 40
SMALL = [
    "--threads", 1, "--device", "cpu", "--backbone.layers", 2, "--backbone.width", 32, "--backbone.heads", 2,
    "--backbone.ffn", 64, "--backbone.dropout", 0.1, "--data.length", 32, "--data.rows", 4, "--eval-rows", 4,
    "--steps", STEPS, "--save-every", 3, "--eval-every", 10, "--log-every", 4, "--ema", 0.9, "--optimizer.name", "muon",
    "--accumulate", 2,
]  # fmt: skip


@pytest.fixture(scope="module")
def store(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("data") / "store"
    write_store(path)
    return path


@pytest.fixture(scope="module")
def whole(store) -> Path:
    """The run that was never killed."""
    out = store.parent / "whole"
    process = sesame("pretrain", "bert-tiny", "--data", store, "--out", out, *SMALL, log=store.parent / "log")
    process.join(120)
    assert process.exitcode == 0, (store.parent / "log").read_text()
    return out


def last(run: Path) -> dict[str, torch.Tensor]:
    return load_file(run / "checkpoints" / f"step-{STEPS:08d}" / "objective.safetensors")


def told(run: Path) -> list[str]:
    """The log without what the clock says."""
    import json

    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [
        {k: v for k, v in e.items() if k not in ("time", "seconds", "tokens_per_second", "of_limit", "eta")}
        for e in lines
    ]


def words_for(run: Path, store: Path) -> list[object]:
    if (run / "config.json").exists():
        return ["pretrain", "--resume", run]
    return ["pretrain", "bert-tiny", "--data", store, "--out", run, *SMALL]


def wait_for_writing(run: Path, process, until: float) -> None:
    """Until a checkpoint is half written, or the process or the time is over."""
    while process.is_alive() and time.monotonic() < until:
        if any(run.glob("checkpoints/*.tmp")):
            return
        time.sleep(0.0002)


def kill_and_resume(store: Path, run: Path, whole: Path, chance: random.Random, kills: int) -> None:
    log = run.with_suffix(".log")
    for kill in range(kills):
        process = sesame(*words_for(run, store), log=log)
        time.sleep(chance.uniform(0.1, 1.5))
        if kill % 2:
            wait_for_writing(run, process, time.monotonic() + 20)
        process.kill()
        process.join()
    process = sesame(*words_for(run, store), log=log)
    process.join(120)
    said = log.read_text()
    assert process.exitcode == 0 or "is finished" in said, said
    ours, theirs = last(run), last(whole)
    assert ours.keys() == theirs.keys()
    assert [name for name in ours if not torch.equal(ours[name], theirs[name])] == []
    assert told(run) == told(whole)
    assert not list(run.glob("checkpoints/*.tmp*"))


def test_a_run_killed_at_random_moments_ends_with_the_weights_of_one_never_killed(store, whole, tmp_path):
    kill_and_resume(store, tmp_path / "run", whole, random.Random(os.urandom(4)), kills=4)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(8))
def test_many_kills(store, whole, tmp_path, seed):
    kill_and_resume(store, tmp_path / "run", whole, random.Random(seed), kills=12)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_saves_and_says_how_to_go_on(store, whole, tmp_path, number):
    run, log = tmp_path / "run", tmp_path / "log"
    process = sesame(*words_for(run, store), log=log)
    while not (run / "checkpoints" / "step-00000003").exists():
        assert process.is_alive(), log.read_text()
        time.sleep(0.005)
    os.kill(process.pid, number)
    process.join(60)
    said = log.read_text()
    assert process.exitcode == 128 + number, said
    assert f"sesame pretrain --resume {run}" in " ".join(said.split())
    assert '"interrupted"' in (run / "state.json").read_text()
    process = sesame("pretrain", "--resume", run, log=log)
    process.join(120)
    assert process.exitcode == 0, log.read_text()
    assert all(torch.equal(value, last(whole)[name]) for name, value in last(run).items())


def test_a_run_that_is_being_written_is_left_alone(store, tmp_path):
    run, log = tmp_path / "run", tmp_path / "log"
    process = sesame("pretrain", "bert-tiny", "--data", store, "--out", run, *SMALL, "--steps", 100000, log=log)
    while not (run / "state.json").exists():
        assert process.is_alive(), log.read_text()
        time.sleep(0.01)
    for words in (["--resume", run], ["bert-tiny", "--data", store, "--out", run, *SMALL]):
        second = sesame("pretrain", *words, log=tmp_path / "second")
        second.join(60)
        assert second.exitcode == 2
        assert f"written by process {process.pid}" in (tmp_path / "second").read_text()
        (tmp_path / "second").unlink()
    process.kill()
    process.join()
    shutil.rmtree(run)
