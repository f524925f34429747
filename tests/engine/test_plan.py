"""How many steps: by tokens, by minutes, and how often something is saved."""

import msgspec
import torch
from tiny import TinyData

from sesame.config import ImageData, Phase, TextData
from sesame.engine import build
from sesame.engine.plan import _fit, plan


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
