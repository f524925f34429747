"""The bus: what is measured while a run trains, and that training does not notice."""

import itertools
import json
import logging
import re

import msgspec
import pyarrow.parquet as pq
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from watched import LOUD, QUIET, Killed, probe, recipe, train, watching

from sesame.config import Bert, Probe, Watch
from sesame.engine import checkpoint, machine
from sesame.engine.run import Run
from sesame.errors import UserError
from sesame.probes import Ask, bus, schedule

torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """How fast the machine multiplies is measured at the start of every sitting, and matters to none of these."""
    monkeypatch.setattr(machine, "matmul_limit", lambda *_: 1.0)


def saved(run: Run, step: int = 10) -> dict[str, torch.Tensor]:
    """Every tensor of a checkpoint, those of the optimizer too."""
    found = checkpoint.read(checkpoint.folder_of(run.checkpoints, step))
    return {**found.objective, **{f"optimizer {name}": value for name, value in found.optimizer.items()}}


def same(a: Run, b: Run) -> bool:
    one, two = saved(a), saved(b)
    return one.keys() == two.keys() and all(torch.equal(one[name], two[name]) for name in one)


def rows(run: Run, table: str = "probes.parquet") -> list[dict]:
    """Of a table, without the clock."""
    told = pq.read_table(run.path / table).drop_columns(["seconds"]).to_pylist()
    return [{name: None if value != value else value for name, value in row.items()} for row in told]  # NaN


def steps_of(run: Run) -> list[int]:
    return sorted({row["step"] for row in rows(run)})


@pytest.mark.parametrize("kind", ["bert", "gpt", "byol", "apc"])
def test_a_watched_run_ends_with_the_weights_of_an_unwatched_one_also_when_it_is_killed(kind, tmp_path):
    plain = train(recipe(kind, tmp_path), tmp_path / "plain")
    watch = watching(probe(tmp_path, "loud.py", LOUD), probe(tmp_path, "quiet.py", QUIET), every=2)
    made = recipe(kind, tmp_path, watch=watch)
    with pytest.raises(Killed):
        train(made, tmp_path / "cut", killed_at=8)  # past the checkpoint of step 4, before that of 8
    assert steps_of(Run.open(tmp_path / "cut")) == [0, 1, 2, 4, 6]
    cut = train(made, tmp_path / "cut")
    assert same(plain, cut) and steps_of(cut) == [0, 1, 2, 4, 6, 8, 10]
    assert torch.get_num_threads() == 1
    if kind != "bert":
        return
    whole = train(made, tmp_path / "whole")
    assert same(plain, whole)
    told = [row for row in rows(whole) if row["metric"] != "step"]  # its n counts measurements of a sitting
    assert told == [row for row in rows(cut) if row["metric"] != "step"]
    assert rows(whole, "probe-items.parquet") == rows(cut, "probe-items.parquet")
    assert [row["value"] for row in told if row["metric"] == "training"] == [0.0] * 7


def test_what_is_measured_are_the_weights_that_a_checkpoint_of_the_step_holds(tmp_path):
    made = recipe("bert", tmp_path, watch=watching(probe(tmp_path, "loud.py", LOUD), at=(4, 8)))
    run = train(made, tmp_path / "run")
    found = {row["step"]: row["value"] for row in rows(run) if row["metric"] == "square"}
    for step in (4, 8):  # the running average, which is the model of such a recipe
        weights = run.at(step).objective
        assert found[step] == pytest.approx(sum(float(value.double().square().sum()) for value in weights.values()))
    assert len(found) == 2
    tokens = {row["step"]: row["tokens"] for row in rows(run)}
    assert tokens == {step: checkpoint.read_manifest(run.checkpoints / f"step-{step:08d}").size for step in (4, 8)}


def test_every_so_many_tokens(tmp_path):
    watch = watching(probe(tmp_path, "quiet.py", QUIET), every=300, unit="tokens")
    run = train(recipe("bert", tmp_path, watch=watch), tmp_path / "run")
    found = {row["step"]: row["tokens"] for row in rows(run)}
    sizes = [0]
    for step in range(1, 11):
        sizes.append(found.get(step, sizes[-1]))
    assert found[0] == 0 and 10 in found  # the first, the last, …
    for threshold in range(300, max(found.values()) + 1, 300):  # … and the first that has seen each multiple
        assert min(size for size in found.values() if size >= threshold) < threshold + 4 * 32


def test_steps_that_never_come_are_named(tmp_path, caplog):
    quiet = probe(tmp_path, "quiet.py", QUIET)
    with pytest.raises(UserError, match=r"--watch.at 20 30: the run ends at step 10, so nothing would be measured"):
        train(recipe("bert", tmp_path, watch=watching(quiet, at=(20, 30))), tmp_path / "none")
    run = train(recipe("bert", tmp_path, watch=watching(quiet, at=(4, 20))), tmp_path / "run")
    assert steps_of(run) == [4] and "--watch.at 20: the run ends at step 10; the others are measured" in caplog.text


def test_seconds_go_on_where_the_earlier_sitting_stopped(tmp_path):
    made = recipe("byol", tmp_path, watch=watching(probe(tmp_path, "quiet.py", QUIET), every=1))
    with pytest.raises(Killed):
        train(made, tmp_path / "run", killed_at=6)
    before = pq.read_table(tmp_path / "run" / "probes.parquet").to_pylist()
    run = train(made, tmp_path / "run")
    seconds = {row["step"]: row["seconds"] for row in pq.read_table(run.path / "probes.parquet").to_pylist()}
    at_four = next(row["seconds"] for row in before if row["step"] == 4)
    assert seconds[4] == at_four <= seconds[5] <= seconds[10]
    assert sorted(seconds.values()) == [seconds[step] for step in sorted(seconds)]
    # A checkpoint of before seconds were counted: not known is not nought.
    manifest = run.checkpoints / "step-00000010" / "manifest.json"
    assert json.loads(manifest.read_bytes())["seconds"] >= seconds[10]
    without = {key: value for key, value in json.loads(manifest.read_bytes()).items() if key != "seconds"}
    manifest.write_text(json.dumps(without))
    assert checkpoint.read_manifest(manifest.parent).seconds is None


# ------------------------------------------------------------------------------------------------- the budget
def test_the_budget_decides_and_is_frozen_and_read_again(tmp_path, caplog):
    caplog.set_level(logging.INFO, "sesame")
    quiet = probe(tmp_path, "quiet.py", QUIET)
    made = recipe("byol", tmp_path, steps=16, watch=watching(quiet, budget=1.0, seconds=60.0))
    with pytest.raises(Killed):
        train(made, tmp_path / "run", killed_at=7)
    plan = json.loads((tmp_path / "run" / "probes.json").read_bytes())
    assert plan["at"] == list(range(17)) and plan["cost"] < 1  # a minute is enough for every step
    assert "s each time, 17 times: at steps 0, 1, 2 … 16" in caplog.text
    plan["at"] = [0, 3, 9, 16]  # what is read is what holds
    (tmp_path / "run" / "probes.json").write_text(json.dumps(plan))
    run = train(made, tmp_path / "run")
    assert steps_of(run) == [0, 1, 2, 3, 4, 9, 16]


def test_probes_that_are_too_dear_are_measured_first_and_last_and_it_is_said(tmp_path, caplog):
    slow = probe(tmp_path, "slow.py", QUIET.replace("    yield", "    import time; time.sleep(0.05)\n    yield", 1))
    run = train(recipe("byol", tmp_path, watch=watching(slow, seconds=0.06)), tmp_path / "run")
    assert steps_of(run) == [0, 10]
    assert "all together may take 0.1 s (--watch.budget 0.05): measured at steps 0, 10 only." in caplog.text
    assert "start the run with --watch." in caplog.text and "--watch.at" in caplog.text


def said(caplog, end: int, cost: float, seconds: float, budget: float = 0.05) -> logging.LogRecord:
    caplog.set_level(logging.INFO, "sesame")
    caplog.clear()
    bus._say(schedule.planned(end, cost, seconds, seconds), end, budget, 0.0)
    (record,) = caplog.records
    return record


def test_powers_of_two_above_the_spacing_are_not_missed(caplog):
    record = said(caplog, 9766, 0.3, 76.0)
    assert record.levelno == logging.INFO
    assert record.getMessage() == (
        "probes: 0.3 s each time, 252 times: at steps 0, 1, 2 … 32, 40, then every 40 up to 9766"
    )


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    end=st.integers(1, 20_000),
    cost=st.floats(0.001, 3),
    seconds=st.floats(0, 200),
    budget=st.sampled_from([0.004, 0.05, 0.3, 0.99, 1.0]),
)
def test_what_is_said_of_a_schedule_is_short_and_advises_no_smaller_budget(caplog, end, cost, seconds, budget):
    record = said(caplog, end, cost, seconds, budget)
    message = record.getMessage()
    at = schedule.planned(end, cost, seconds, seconds).at
    steps = re.search(r"at steps (.*?)( only|$)", message).group(1)  # type: ignore[union-attr]
    assert len(re.findall(r"\d+", steps)) <= bus.FEW + 2 and steps.startswith("0") and steps.endswith(str(end))
    gap = max(b - a for a, b in itertools.pairwise(at))
    left_out = {2**k for k in range(15) if 2**k < min(gap, end)} - set(at)
    assert (record.levelno == logging.WARNING) == bool(left_out)
    if advised := re.search(r"start the run with --watch\.budget ([\d.]+)", message):
        assert budget < float(advised.group(1)) < 1


def test_what_is_prepared_once_is_no_cost_of_a_measurement():
    clock = iter(range(100))
    ask = Ask()
    import sesame.probes.base as base

    class Clock:
        perf_counter = staticmethod(lambda: float(next(clock)))

    base_time, base.time = base.time, Clock  # type: ignore[assignment]
    try:
        inner = lambda: ask.once("inner", lambda: 1)  # noqa: E731
        assert ask.once("outer", inner) == 1
        assert ask.once("outer", inner) == 1
    finally:
        base.time = base_time
    assert ask.preparing == 3.0  # from the first look at the clock to the last, the inner making within it


def test_the_share_of_the_planned_time_is_measured_before_the_run(tmp_path):
    made = recipe("byol", tmp_path, steps=20, watch=watching(probe(tmp_path, "quiet.py", QUIET), budget=0.5))
    run = train(made, tmp_path / "run")
    frozen = Run.open(run.path).recipe.watch
    assert frozen.seconds > 0 and msgspec.structs.replace(frozen, seconds=0.0) == made.watch
    log = [event for event in run.events("log")]
    took = log[-1]["time"] - log[0]["time"]
    assert frozen.seconds < 0.5 * 20 * max(10 * took, 1.0)


# ---------------------------------------------------------------------------------------------------- faults
def test_a_probe_that_fails_at_step_0_stops_the_run_before_it_trains(tmp_path):
    bad = probe(tmp_path, "bad.py", "def measure(model, ask):\n    yield 1 / 0\n")
    with pytest.raises(UserError, match=r"probe bad\.py failed with ZeroDivisionError.*bad\.py, line 2"):
        train(recipe("byol", tmp_path, watch=watching(bad, every=2)), tmp_path / "run")
    assert not (tmp_path / "run").exists()
    (tmp_path / "bad.py").write_text(QUIET)
    mended = train(recipe("byol", tmp_path, watch=watching(bad, every=2)), tmp_path / "run")
    assert steps_of(mended) == [0, 1, 2, 4, 6, 8, 10]


def test_a_probe_that_fails_later_is_left_out_and_training_goes_on(tmp_path, caplog):
    late = "from sesame.probes import Value\ndef measure(model, ask):\n    yield Value('m', [1.0, 2.0][ask.step])\n"
    watch = watching(probe(tmp_path, "late.py", late), probe(tmp_path, "quiet.py", QUIET), every=2)
    run = train(recipe("byol", tmp_path, watch=watch), tmp_path / "run")
    assert run.state().state == "finished"
    told = {(row["probe"], row["step"]) for row in rows(run)}
    assert told == {("late.py", 0), ("late.py", 1)} | {("quiet.py", step) for step in (0, 1, 2, 4, 6, 8, 10)}
    assert caplog.text.count("IndexError") == 1 and "left out from here on" in caplog.text


def test_a_probe_for_other_data_is_refused_before_anything_happens(tmp_path):
    images = probe(tmp_path, "images.py", QUIET + "\nREADS = ('images',)\n")
    watch = Watch(probes=(Probe(name=images),))
    with pytest.raises(UserError, match="measures models of images, and this one is trained on text"):
        bus.hooks(recipe("bert", tmp_path, watch=watch))
    assert bus.hooks(recipe("bert", tmp_path, pretext=Bert())) == []
    watch = watching(images, every=100, unit="tokens")
    with pytest.raises(UserError, match=r"--watch\.every 100 tokens: one step sees 128"):
        bus.hooks(recipe("bert", tmp_path, watch=watch))
