"""How many steps: by tokens, by minutes, and how often something is saved."""

import time

import msgspec
import pytest
import torch
from tiny import TinyData

from sesame.config import ImageData, Phase, Probe, TextData, Watch
from sesame.engine import build
from sesame.engine import plan as planning
from sesame.engine.plan import Speed, _fit, plan
from sesame.engine.run import Config, Run


def test_tokens_become_steps(tiny, tmp_path):
    recipe = tiny(data=TextData(length=128, rows=32), max_tokens=1_000_000, eval_every=0, save_every=0)
    found = plan(recipe, None, tmp_path)
    assert found.steps == 245  # 1,000,000 / 4,096, rounded up
    assert (found.eval_every, found.save_every) == (13, 25)


def test_a_schedule_of_lengths_counts_by_its_shares(tiny, tmp_path):
    phases = (Phase(share=0.9, length=128, rows=256), Phase(share=0.1, length=512, rows=256))
    recipe = tiny(data=TextData(phases=phases), max_tokens=10**9)
    assert plan(recipe, None, tmp_path).steps == -(-(10**9) // round(256 * (0.9 * 128 + 0.1 * 512)))


def test_images_are_counted_one_by_one(tiny, tmp_path):
    assert plan(tiny(data=ImageData(rows=256), max_tokens=2560), None, tmp_path).steps == 10


def test_what_is_set_stays(tiny, tmp_path):
    assert plan(tiny(), None, tmp_path) == tiny()


def test_evaluations_and_checkpoints_take_their_time(tiny):
    often = tiny(eval_every=10, save_every=20, save_minutes=0)
    # 100 s less 3 s before step 0; a step then costs 0.1 s + 1 s / 10 + 2 s / 20.
    assert _fit(often, 100.0, 0.1, 1.0, 2.0) == int(97 / 0.3)
    seldom = tiny(eval_every=0, save_every=0, save_minutes=0)
    assert _fit(seldom, 100.0, 0.1, 1.0, 2.0) == int((97 - 20 * 1 - 10 * 2) / 0.1)
    assert _fit(seldom, 100.0, 0.1, 1.0, 2.0, evaluations=3) == int((97 - 3 * 1 - 10 * 2) / 0.1)
    assert _fit(seldom, 1.0, 10.0, 1.0, 2.0) == 1


def test_minutes_are_measured_on_the_real_thing_and_nothing_is_left_behind(tiny, tmp_path):
    recipe = tiny(max_minutes=0.5, eval_every=0, save_every=0)
    found = plan(recipe, TinyData(), tmp_path / "run")
    assert found.steps > 1
    assert msgspec.structs.replace(found, steps=recipe.steps, eval_every=0, save_every=0) == recipe
    assert list(tmp_path.iterdir()) == []


def test_measuring_changes_nothing_that_is_trained(tiny, tmp_path):
    before = build.build(tiny(), TinyData()).state_dict()
    plan(tiny(max_minutes=0.05), TinyData(), tmp_path / "run")
    after = build.build(tiny(), TinyData()).state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_less_time_than_the_measurement_takes_is_one_step(tiny, tmp_path):
    assert plan(tiny(max_minutes=0.0001), TinyData(), tmp_path / "run").steps == 1


# --------------------------------------------------------------------------------------------------- probes
@pytest.fixture
def speeds(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """A tenth of a second a step, a second an evaluation, two a checkpoint, four to measure that; and how often."""
    asked: list[float] = []

    def speed(recipe, data, out, least):
        asked.append(least)
        return Speed(0.1, 1.0, 2.0, 4.0)

    monkeypatch.setattr(planning, "_speed", speed)
    return asked


WATCHED = Watch(probes=(Probe(name="rank"),))


def test_probes_get_their_share_of_the_steps_that_are_asked_for(tiny, tmp_path, speeds):
    assert plan(tiny(steps=600, watch=WATCHED), None, tmp_path).watch.seconds == pytest.approx(0.05 * 600 * 0.1)
    tokens = tiny(data=ImageData(rows=10), max_tokens=6000, watch=WATCHED)
    assert plan(tokens, None, tmp_path).watch.seconds == pytest.approx(0.05 * 600 * 0.1)
    assert len(speeds) == 2


def test_the_speed_is_measured_only_where_a_share_is_to_be_worked_out(tiny, tmp_path, speeds):
    for watch in (
        Watch(),
        msgspec.structs.replace(WATCHED, every=5),
        msgspec.structs.replace(WATCHED, at=(5,)),
        msgspec.structs.replace(WATCHED, seconds=7.0),
        msgspec.structs.replace(WATCHED, budget=0.0),
    ):
        assert plan(tiny(watch=watch), None, tmp_path).watch == watch
    assert speeds == []


def test_in_given_minutes_the_share_comes_out_of_them(tiny, tmp_path, speeds):
    recipe = tiny(max_minutes=10.0, eval_every=10, save_every=20, save_minutes=0)
    without, found = (plan(msgspec.structs.replace(recipe, watch=w), None, tmp_path) for w in (Watch(), WATCHED))
    left = 600 - 4.0
    assert found.watch.seconds == pytest.approx(0.05 * left)
    # A step costs 0.1 s + 1 s / 10 + 2 s / 20, and 3 s go before step 0.
    assert (without.steps, found.steps) == (int((left - 3) / 0.3), int((0.95 * left - 3) / 0.3))
    assert len(speeds) == 2
    fixed = msgspec.structs.replace(WATCHED, seconds=60.0)
    assert plan(msgspec.structs.replace(recipe, watch=fixed), None, tmp_path).steps == int((left - 60 - 3) / 0.3)


# --------------------------------------------------------------------------------------------------- a busy machine
def _measured(monkeypatch: pytest.MonkeyPatch, *found: Speed) -> list[Speed]:
    """What measuring finds, one after the other; what has not been asked for is left."""
    left = list(found)
    monkeypatch.setattr(planning, "_speed", lambda recipe, data, out, least: left.pop(0))
    return left


def test_a_busy_machine_is_measured_again(tiny, tmp_path, monkeypatch, caplog):
    busy, calm = Speed(1.4, 1.0, 2.0, 5.0, in_line=0.6), Speed(0.2, 1.0, 2.0, 4.0, in_line=0.02)
    left = _measured(monkeypatch, busy, calm, calm)
    recipe = tiny(max_minutes=2.0, eval_every=10, save_every=20, save_minutes=0)
    assert plan(recipe, None, tmp_path).steps == int((120 - 9 - 3) / (0.2 + 0.1 + 0.1))
    assert left == [calm]
    assert "busy" not in caplog.text


def test_a_machine_that_stays_busy_is_told(tiny, tmp_path, monkeypatch, caplog):
    found = [Speed(step, 1.0, 2.0, 5.0, in_line=0.6) for step in (1.0, 0.8, 0.9, 0.1)]
    left = _measured(monkeypatch, *found)
    recipe = tiny(max_minutes=2.0, eval_every=10, save_every=20, save_minutes=0)
    assert plan(recipe, None, tmp_path).steps == int((120 - 15 - 3) / (0.8 + 0.1 + 0.1))
    assert left == found[3:]
    assert "waited 60% of the time for a core" in caplog.text


def test_no_more_than_a_third_of_the_time_is_measured(tiny, tmp_path, monkeypatch):
    left = _measured(monkeypatch, *[Speed(1.0, 1.0, 2.0, 15.0, in_line=0.6)] * 2)
    plan(tiny(max_minutes=1.0), None, tmp_path)
    assert len(left) == 1


def test_a_first_evaluation_that_fills_caches_is_not_believed(tiny, tmp_path):
    training = planning.set_up(tiny(), Run(tmp_path / "run", Config(recipe=tiny(), machine={})), TinyData())
    waits = [0.05, 0.0]
    assert planning._seconds_of(lambda: time.sleep(waits.pop(0)), training, enough=1.0) < 0.04
    waits = [0.05, 0.0]
    assert planning._seconds_of(lambda: time.sleep(waits.pop(0)), training, enough=0.01) >= 0.05
    assert waits == [0.0]
