"""The loop: exact means, keyed chance, exact resuming, and stopping when asked or when numbers go wrong."""

import json
import os
import signal
import time
from pathlib import Path

import pytest
import torch
from tiny import TinyData

from sesame.config import Optimizer
from sesame.data.batch import Cursor
from sesame.engine import build, checkpoint, loop
from sesame.engine.hooks import evaluate
from sesame.engine.run import Config, Run
from sesame.errors import UserError


def weights(run: Run, step: int | None = None) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in run.at(step).objective.items()}  # not a view of the file


def same(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def gradients(recipe, tmp_path: Path) -> dict[str, torch.Tensor]:
    """The gradients of the first step, before clipping."""
    recipe = build.freeze(recipe, TinyData())
    training = loop.set_up(recipe, Run(tmp_path / "none", Config(recipe=recipe, machine={})), TinyData())
    taken = {}

    def clip():
        taken.update({name: p.grad.clone() for name, p in training.objective.named_parameters()})
        return torch.zeros(())

    training.optimizer.clip = clip
    batch = next(loop.batches(training, 1))
    loop.take_step(training, batch, training.agree(batch)[0])
    return taken


def test_four_micro_batches_give_the_gradient_of_one(tiny, tmp_path, monkeypatch):
    """Their counts differ (only odd keys count), so a mean of means would be wrong."""
    monkeypatch.setattr(torch.nn.functional, "dropout", lambda x, *_: x)
    one = gradients(tiny(precision="fp64"), tmp_path)
    four = gradients(tiny(precision="fp64", accumulate=4), tmp_path)
    for name in one:
        torch.testing.assert_close(four[name], one[name], rtol=1e-12, atol=1e-14)


def test_dropout_depends_on_seed_step_and_part_alone(tiny, tmp_path):
    recipe = tiny(precision="fp64")
    torch.manual_seed(1)
    first = gradients(recipe, tmp_path)
    torch.manual_seed(2)
    torch.rand(100)
    assert same(first, gradients(recipe, tmp_path))
    other = gradients(tiny(precision="fp64", seed=1), tmp_path)
    assert not same(first, other)


def test_fresh_weights_depend_on_the_seed_alone(tiny):
    torch.manual_seed(1)
    one = build.build(tiny(), TinyData()).state_dict()
    before = torch.get_rng_state()
    two = build.build(tiny(), TinyData()).state_dict()
    assert same(one, two)
    assert torch.equal(before, torch.get_rng_state())
    assert not same(one, build.build(tiny(seed=1), TinyData()).state_dict())


@pytest.mark.parametrize(
    "changes", [{}, {"ema": 0.9}, {"optimizer": Optimizer(name="muon", lr=0.01)}, {"accumulate": 2}]
)
@pytest.mark.parametrize("stop", [4, 5])
def test_a_run_stopped_and_resumed_is_the_run_never_stopped(tiny, train, changes, stop):
    whole = train(tiny(**changes), "whole")

    def interrupt(training):
        if training.step == stop and not training.ending:
            os.kill(os.getpid(), signal.SIGTERM)

    halved = train(tiny(**changes), "halved", extra=(interrupt,))
    assert halved.state().state == "interrupted"
    assert halved.state().step == stop + 1  # the signal came after a step, and the next one notices
    train(tiny(**changes), "halved")
    assert halved.state().state == "finished"
    assert same(weights(whole), weights(halved))
    told = ("event", "step", "loss", "sum.accuracy", "lr", "gradient_norm", "tokens")
    logs = [[{k: e.get(k) for k in told} for e in run.events()] for run in (whole, halved)]
    assert logs[0] == logs[1]


def test_a_run_falls_back_to_the_whole_checkpoint_before_a_damaged_one(tiny, train, caplog):
    run = train(tiny())
    expected = weights(run)
    newest = checkpoint.listed(run.checkpoints)[-1] / "objective.safetensors"
    newest.write_bytes(newest.read_bytes()[:-8])
    train(tiny())
    assert str(newest) in caplog.text
    assert same(weights(run), expected)
    assert [e["step"] for e in run.events("log")] == [3, 6, 9, 12]


def test_where_no_checkpoint_is_whole_nothing_begins_anew(tiny, train):
    run = train(tiny())
    before = (run.path / "metrics.jsonl").read_bytes()
    for folder in checkpoint.listed(run.checkpoints):
        (folder / "manifest.json").write_bytes(b"{")
    with pytest.raises(UserError, match="holds no whole checkpoint to go on with"):
        train(tiny())
    assert (run.path / "metrics.jsonl").read_bytes() == before


def test_the_first_line_after_a_pause_knows_its_speed(tiny, train):
    def stop(training):
        if training.step == 5:
            os.kill(os.getpid(), signal.SIGTERM)

    train(tiny(log_every=1, save_every=1), extra=(stop,))
    time.sleep(0.5)
    run = train(tiny(log_every=1, save_every=1))
    lines = list(run.events("log"))
    assert [line["step"] for line in lines] == list(range(1, 13))
    assert all(line["tokens_per_second"] > 0 for line in lines)


def test_a_killed_runs_unfinished_checkpoint_and_events_are_forgotten(tiny, train):
    run = train(tiny())
    expected = weights(run)
    kept = [line for line in (run.path / "metrics.jsonl").read_text().splitlines()]
    for folder in checkpoint.listed(run.checkpoints)[3:]:
        folder.rename(folder.with_name(folder.name + ".tmp"))
    with (run.path / "metrics.jsonl").open("a") as file:
        file.write('{"event": "log", "st')  # cut short
    train(tiny())
    assert same(weights(run), expected)
    assert not list(run.checkpoints.glob("*.tmp*"))
    again = [json.loads(line) for line in (run.path / "metrics.jsonl").read_text().splitlines()]
    assert [(e["event"], e["step"]) for e in again] == [(e["event"], e["step"]) for e in map(json.loads, kept)]


def test_not_a_number_stops_with_the_step_and_its_examples(tiny, train):
    def poison(training):
        if training.step == 7:
            with torch.no_grad():
                training.objective.pretext.head.bias.fill_(float("nan"))

    with pytest.raises(UserError, match=r"step 7 is not finite.* examples: 00000000") as error:
        train(tiny(), extra=(poison,))
    run = Run.open(error.value.args[0].split(":")[0])
    assert run.state().state == "failed"
    assert run.at().manifest.step == 4
    assert all(torch.isfinite(value).all() for value in weights(run).values())


def test_evaluation_is_the_same_each_time_and_changes_nothing(tiny, train):
    seen = []

    def twice(training):
        seen.append((evaluate(training), evaluate(training)))
        assert training.objective.training

    watched, plain = train(tiny(), "watched", extra=(twice,)), train(tiny(), "plain")
    assert all(a == b for a, b in seen)
    assert same(weights(watched), weights(plain))


def test_the_saved_model_is_the_average_of_the_weights(tiny, train):
    lived = []

    def watch(training):
        lived.append({name: p.detach().clone() for name, p in training.objective.named_parameters()})

    run = train(tiny(ema=0.9), extra=(watch,))
    mean = lived[0]
    for now in lived[1:]:
        mean = {name: 0.9 * mean[name] + 0.1 * now[name] for name in mean}
    for name, value in weights(run).items():
        torch.testing.assert_close(value, mean[name])


def test_a_task_over_the_whole_batch_refuses_micro_batches(tiny, train, monkeypatch):
    from tiny import TinyPretext

    monkeypatch.setattr(TinyPretext, "whole_batch", True)
    with pytest.raises(UserError, match="--accumulate 1"):
        train(tiny(accumulate=2))


def test_the_loaders_mistakes_reach_the_loop_and_its_thread_ends(tiny, train, monkeypatch):
    import threading

    from tiny import TinyPretext

    def split(self, batch):
        raise UserError("broken example")

    monkeypatch.setattr(TinyPretext, "split", split)
    with pytest.raises(UserError, match="broken example"):
        train(tiny(eval_every=100, steps=5))
    assert not [thread for thread in threading.enumerate() if thread.name == "loader"]


def test_zero_steps_save_the_fresh_weights(tiny, train):
    run = train(tiny(steps=0))
    assert run.state().state == "finished"
    assert run.at().manifest.cursor == Cursor()
    assert same(weights(run), build.build(run.recipe, TinyData()).state_dict())


def test_early_checkpoints_are_at_powers_of_two_before_the_first_regular_one(tiny, train):
    run = train(tiny(save_every=10, save_early=True, keep=99))
    assert sorted(int(folder.name.split("-")[1]) for folder in run.checkpoints.iterdir()) == [0, 1, 2, 4, 8, 10, 12]
