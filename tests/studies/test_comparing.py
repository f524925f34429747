"""A comparison as a whole: what is decided at the start, what is shared, and that nothing is done twice."""

import pickle
import signal

import msgspec
import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from small_store import random_documents, store_of

from sesame.config import Bert
from sesame.data.batch import Cursor
from sesame.data.text import TextSet, TextStream
from sesame.engine import start
from sesame.engine.run import Run, found_in
from sesame.errors import UserError
from sesame.pretext.sentence_pairs import relations
from sesame.report import figures
from sesame.report.folders import open_folders
from sesame.studies import comparing, measuring, page, training
from sesame.studies.grid import Arm, FineTuned, Grid, HeldOut, chosen
from sesame.studies.measuring import Measured
from sesame.studies.training import Done, Stopped

SMALL = {
    "backbone.layers": 1, "backbone.width": 16, "backbone.heads": 2, "backbone.ffn": 32, "backbone.positions": 32,
    "data.length": 32, "data.rows": 4, "eval_rows": 4, "log_every": 1, "pretext.embeddings": "normal",
}  # fmt: skip
GRID = Grid(
    name="small",
    arms=(
        Arm(name="all", recipe="bert-tiny", changes={"pretext.mask": 1.0, "pretext.random": 0.0}),
        Arm(name="80/10/10", recipe="bert-tiny"),
    ),
    reference="80/10/10",
    changes=SMALL,
    equal="steps",
    amount=4,
    seeds=2,
    measurements=(HeldOut(name="masked LM", pretext=Bert(), term="masked_lm", metric="loss", rows=20),),
)


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    folder = tmp_path_factory.mktemp("text") / "store"
    store_of(folder, random_documents(80), held_out=0.2)
    return str(folder)


def weights(folder):
    (last,) = folder.glob("checkpoints/step-00000004")
    return load_file(last / "objective.safetensors")


def replaced(grid: Grid, **fields) -> Grid:
    return msgspec.structs.replace(grid, **fields)


@pytest.fixture(scope="module")
def finished(store, tmp_path_factory):
    """A comparison that was stopped in the middle of its third run, and gone on with."""
    out = tmp_path_factory.mktemp("small") / "out"
    told = []
    said = training._Said.__call__

    def stop(self, event, run, values):
        if self.label == "all, seed 1" and event == "log" and run.step == 2:
            signal.raise_signal(signal.SIGINT)
        said(self, event, run, values)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(training._Said, "__call__", stop)
        with pytest.raises(Stopped):
            comparing.compare(GRID, store, out, workers=1)
    states = {run.path.name: run.state().state for run in found_in(out)}
    with pytest.MonkeyPatch.context() as patch:
        for name in ("start", "resume"):
            real = getattr(start, name)

            def noted(*given, real=real, name=name, **more):
                where = given[1] if name == "start" else given[0]
                told.append((name, where.name))
                return real(*given, **more)

            patch.setattr(start, name, noted)
        outcome = comparing.compare(GRID, store, out, workers=1)
        again = comparing.compare(GRID, store, out, workers=1)
    return out, states, told, outcome, again


def test_a_comparison_that_was_stopped_goes_on_where_it_was(finished):
    _, states, told, outcome, again = finished
    assert states == {"all-seed-0": "finished", "80-10-10-seed-0": "finished", "all-seed-1": "interrupted"}
    assert told == [("resume", "all-seed-1"), ("start", "80-10-10-seed-1")]
    assert outcome == again  # and a third time there was nothing to do


def test_the_run_that_was_stopped_ends_with_the_weights_of_one_that_was_not(finished, tmp_path):
    out = finished[0]
    start.start(Run.open(out / "all-seed-1").recipe, tmp_path / "alone")
    ours, theirs = weights(out / "all-seed-1"), weights(tmp_path / "alone")
    assert ours.keys() == theirs.keys() and all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_its_runs_are_runs_like_any_other(finished):
    out = finished[0]
    runs = found_in(out)
    assert len(runs) == 4 and all(run.recipe.steps == 4 for run in runs)
    assert len(open_folders([run.path for run in runs]).runs) == 4


def test_the_outcome_holds_what_was_measured_of_each_run(finished):
    out, _, _, outcome, _ = finished
    (found,) = outcome.columns
    for arm, folder in (("all", "all"), ("80/10/10", "80-10-10")):
        for seed, value in enumerate(found.cells[arm].values):
            (kept,) = msgspec.json.decode((out / f"{folder}-seed-{seed}" / "compared.json").read_bytes()).values()
            assert kept[0] == value
    difference = np.subtract(found.cells["all"].values, found.cells["80/10/10"].values)
    assert found.cells["all"].difference.mean == pytest.approx(difference.mean())
    assert found.cells["80/10/10"].difference is None
    assert outcome.arms["all"].steps == 4 and outcome.arms["all"].positions == 4 * 4 * 32
    assert outcome.arms["all"].seconds > 0
    assert msgspec.json.decode(msgspec.json.encode(outcome), type=type(outcome)) == outcome


def test_arms_of_one_seed_read_the_same_text_in_the_same_order(finished, store):
    def keys(folder):
        recipe = Run.open(finished[0] / folder).recipe
        data = TextSet.open(recipe.data)
        stream = TextStream(data.store, recipe.data, relations(recipe.pretext), recipe.seed).train(Cursor(), 0, 4, 1)
        return [next(stream).parts[0].key.tolist() for _ in range(4)]

    assert keys("all-seed-0") == keys("80-10-10-seed-0") != keys("all-seed-1")


def test_the_figure_and_the_page_say_what_the_table_says(finished, tmp_path):
    outcome = finished[3]
    drawn = page.figure(outcome)
    chart = drawn.chart.properties(data=figures.alt.Data(values=drawn.rows))
    chart.to_dict(validate=True)
    assert len(drawn.rows) == 4
    found = outcome.columns[0].cells["all"]
    assert {row["value"] for row in drawn.rows if row["arm"] == "all"} == set(found.values)
    html = page.render(outcome, ["sesame compare it"])
    for said in ("80/10/10 (reference)", f"{found.mean.mean:.4g}", outcome.columns[0].words, "sesame compare it"):
        assert said in html


@pytest.mark.parametrize("spec", ["task.json", "hf:"])
def test_a_labelled_task_whose_files_changed_is_asked_again(store, tmp_path, monkeypatch, spec):
    sizes = []
    data = tmp_path / "data"
    data.mkdir()

    def measured(asked, model, data, seed):
        sizes.append(len(measuring.task_of(asked).train))
        return Measured(0.5, "accuracy", True)

    def write(examples):
        (data / "train.csv").write_text("text,label\n" + "".join(f"t1 t{n},a\nt3 t{n},b\n" for n in range(examples)))

    monkeypatch.setattr(training, "measure", measured)
    (tmp_path / "task.json").write_text('{"kind": "classification", "train": "data/train.csv"}')
    asked = FineTuned(task=f"hf:{data}" if spec == "hf:" else str(tmp_path / spec))
    grid = replaced(GRID, arms=GRID.arms[1:], seeds=1, measurements=(asked,))
    for examples in (30, 30, 40):
        write(examples)
        comparing.compare(grid, store, tmp_path / "out", workers=1)
    assert sizes[0] < sizes[1] and len(sizes) == 2


# ------------------------------------------------------------------------------------------------ the plan
@pytest.fixture
def untrained(monkeypatch):
    """Comparisons that decide everything and train nothing; the jobs that they would do."""
    jobs = []

    def pretend(job):
        jobs.append(job)
        return Done({"masked LM": Measured(1.0 + job.seed, "loss", False)}, 2.0, ())

    monkeypatch.setattr(comparing, "work", pretend)
    return jobs


def test_equal_tokens_are_equal_positions(untrained, store, tmp_path):
    wide = Arm(name="wide", recipe="bert-tiny", changes={"data.rows": 8})
    arms = (GRID.arms[0], wide)
    outcome = comparing.compare(
        replaced(GRID, arms=arms, reference="", equal="tokens", amount=4000), store, tmp_path / "out", workers=1
    )
    assert {name: line.steps for name, line in outcome.arms.items()} == {"all": 32, "wide": 16}  # 31.25, 15.6
    assert [(job.arm, job.seed, job.recipe.steps) for job in untrained] == [
        ("all", 0, 32), ("wide", 0, 16), ("all", 1, 32), ("wide", 1, 16)
    ]  # fmt: skip
    assert len({job.data for job in untrained}) == 1
    assert all(pickle.loads(pickle.dumps(job)) == job for job in untrained)


def test_steps_that_were_measured_are_fixed_and_not_measured_again(untrained, store, tmp_path, monkeypatch):
    speeds = iter([30, 20])
    monkeypatch.setattr(comparing, "steps_in", lambda told: next(speeds))
    timed = replaced(GRID, equal="seconds", amount=60, seeds=1)
    comparing.compare(timed, store, tmp_path / "out", workers=1)
    more = comparing.compare(replaced(timed, seeds=2), store, tmp_path / "out", workers=1)
    assert {name: line.steps for name, line in more.arms.items()} == {"all": 30, "80/10/10": 20}
    assert [(job.arm, job.seed, job.recipe.steps) for job in untrained[2:]] == [
        ("all", 0, 30), ("80/10/10", 0, 20), ("all", 1, 30), ("80/10/10", 1, 20)
    ]  # fmt: skip


def test_seconds_become_steps_by_the_measured_speed(store, tmp_path):
    recipe = training.placed(comparing.recipe_of(GRID.arms[0], GRID, {"threads": 1}), store)
    few, many = (training.steps_in((recipe, tmp_path, seconds)) for seconds in (1.0, 60.0))
    assert 1 <= few < many
    assert not list(tmp_path.iterdir())


def test_another_comparison_is_not_mixed_in(untrained, store, tmp_path):
    out = tmp_path / "out"
    comparing.compare(GRID, store, out, workers=1)
    changed = msgspec.structs.replace(GRID.arms[0], changes={"pretext.mask": 0.9, "pretext.random": 0.0})
    for grid, words in (
        (replaced(GRID, amount=5), "4 steps there, 5 steps here"),
        (replaced(GRID, name="large"), "grid: small there"),
        (replaced(GRID, arms=(changed, GRID.arms[1])), "the arm all was begun with other settings"),
    ):
        with pytest.raises(UserError, match=words):
            comparing.compare(grid, store, out, workers=1)
    with pytest.raises(UserError, match="holds something else"):
        comparing.compare(GRID, store, tmp_path, workers=1)
    fewer = comparing.compare(chosen(GRID, ["all"]), store, out, workers=1)
    assert list(fewer.arms) == ["all"] and fewer.reference == "all"
    plan = msgspec.json.decode((out / comparing.PLAN).read_bytes(), type=comparing.Plan)
    (out / comparing.PLAN).write_bytes(msgspec.json.encode(msgspec.structs.replace(plan, data="of other text")))
    with pytest.raises(UserError, match="it was made on other data"):
        comparing.compare(GRID, store, out, workers=1)
    # An earlier version kept nothing of images and speech: then there is nothing to compare, now as later.
    unknown = msgspec.json.encode(msgspec.structs.replace(plan, data=""))
    (out / comparing.PLAN).write_bytes(unknown)
    comparing.compare(GRID, store, out, workers=1)
    assert msgspec.json.decode((out / comparing.PLAN).read_bytes(), type=comparing.Plan).data == ""


def test_data_that_were_moved_are_read_where_they_are_now(tmp_path):
    first, later = tmp_path / "first", tmp_path / "later"
    store_of(first, random_documents(80), held_out=0.2)
    grid = replaced(GRID, arms=GRID.arms[1:], seeds=1)
    before = comparing.compare(grid, str(first), tmp_path / "out", workers=1)
    first.rename(later)
    store_of(first, random_documents(90), held_out=0.2)  # other text at the old place
    after = comparing.compare(replaced(grid, seeds=2), str(later), tmp_path / "out", workers=1)
    runs = [Run.open(tmp_path / "out" / f"80-10-10-seed-{seed}") for seed in (0, 1)]
    assert runs[0].config.data == runs[1].config.data
    assert [run.recipe.data.store for run in runs] == [str(first), str(later)]
    values = [outcome.columns[0].cells["80/10/10"].values[0] for outcome in (before, after)]
    assert values[0] == values[1] is not None


def test_an_arm_whose_numbers_break_leaves_the_others_their_results(store, tmp_path, monkeypatch):
    real = training.work
    good = Done({"masked LM": Measured(5.0, "loss", False)}, 2.0, ())
    monkeypatch.setattr(comparing, "work", lambda job: real(job) if job.arm == "wild" else good)
    wild = Arm(name="wild", recipe="bert-tiny", changes={"optimizer.lr": 1e30, "optimizer.clip": 0.0})
    arms = (GRID.arms[1], wild)
    outcome = comparing.compare(replaced(GRID, arms=arms, seeds=1), store, tmp_path / "out", workers=1)
    (found,) = outcome.columns
    assert found.cells["wild"].values == (None,) and found.cells["80/10/10"].mean.mean == 5.0
    assert any("wild, seed 0 did not get through" in note and "not finite" in note for note in outcome.notes)
