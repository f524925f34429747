"""Of two forms the full one counts, and seeds of one recipe become one curve."""

import statistics

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from report_folders import MEASURED, TOKENS, WORDS, recipe, write_probes, write_run

from sesame import config
from sesame.probes.base import Value
from sesame.probes.table import rows_of
from sesame.report import wording
from sesame.report.folders import open_folders
from sesame.report.probe_reading import Measure, cohorts

CLASSES = Measure("word-classes", "gold.conllu", "mask_prediction")
WHEN = {"step": 0, "tokens": -1, "seconds": 0.0, "probe": "p", "source": "", "form": "live", "made_from": ""}
P = Measure("p", "", "m")


def measured(folder, rows):
    """The one table, of (step, form, value) or (step, form, value, low, tokens)."""
    folder.mkdir()
    tables = [
        rows_of(WHEN | {"step": step, "form": form, "tokens": more[1] if more else -1},
                [Value("m", value, low=more[0] if more else float("nan"))]).values
        for step, form, value, *more in rows
    ]  # fmt: skip
    pq.write_table(pa.concat_tables(tables), folder / "probes.parquet")
    return open_folders([folder]).measured[0]


def test_of_two_forms_one_is_read_at_all_steps(tmp_path):
    few = measured(tmp_path / "a", [(2, "live", 0.2), (0, "live", 0.5), (2, "full", 0.3), (4, "live", 0.4)])
    assert [(row["step"], row["form"], row["value"]) for row in few.values[P]] == [
        (0, "live", 0.5), (2, "live", 0.2), (4, "live", 0.4),
    ]  # fmt: skip
    enough = measured(tmp_path / "b", [(2, "live", 0.2), (0, "live", 0.5), (4, "full", 0.3), (3, "full", 0.4)])
    assert [(row["step"], row["form"], row["value"]) for row in enough.values[P]] == [
        (3, "full", 0.4), (4, "full", 0.3),
    ]  # fmt: skip


def test_what_is_not_known_is_none_and_what_is_no_number_is_left_out(tmp_path):
    rows = [(0, "live", 0.5), (1, "live", float("nan")), (2, "live", 0.5, 0.25, 10)]
    first, last = measured(tmp_path / "a", rows).values[P]
    assert (first["tokens"], first["low"], first["high"]) == (None, None, None)
    assert (last["tokens"], last["low"], last["high"]) == (10, 0.25, None)


def test_only_things_with_a_text_are_kept_and_what_was_asked_is_known(tmp_path):
    write_run(tmp_path / "run")
    write_probes(tmp_path / "run", until=4)
    (found,) = open_folders([tmp_path / "run"]).measured
    assert found.shares == {CLASSES, CLASSES._replace(metric="reconstruction")}
    assert {row["step"] for row in found.examples[CLASSES]} == {0, 1, 4}
    assert all(row["text"] and row["guesses"] for row in found.examples[CLASSES])
    assert len(pq.read_table(tmp_path / "run" / "probe-items.parquet")) == 4 * 2 * 9 * WORDS  # step 0 in both forms
    assert len(found.examples[CLASSES]) == 3 * 9 * 4


def test_runs_that_differ_by_their_seed_alone_are_one(tmp_path):
    for name, changes in {
        "a": {"products": "torch"}, "b": {"seed": 1, "products": "onednn"},
        "watched": {"seed": 2, "watch": config.Watch(seconds=9.0), "threads": 1},
        "other": {"seed": 1, "ema": 0.9}, "longer": {"seed": 3, "steps": 800},
    }.items():  # fmt: skip
        write_run(tmp_path / name, recipe(**changes), step=100)
        write_probes(tmp_path / name, until=0, only="rank")
    write_run(tmp_path / "text", recipe(seed=4), data="another", step=100)
    write_probes(tmp_path / "text", until=0, only="rank")
    names = ("a", "other", "b", "text", "watched", "longer")
    found = cohorts(open_folders([tmp_path / name for name in names]).measured)
    assert [[member.label for member in cohort.members] for cohort in found] == [
        ["a", "b", "watched"], ["other"], ["text"], ["longer"],
    ]  # fmt: skip


@pytest.mark.parametrize("hash", ["same", ""])
def test_seeds_on_the_same_data_are_one_wherever_these_lie(hash, tmp_path):
    for seed, name in enumerate(("a", "b")):
        text = config.TextData(store=f"/home/{name}/data", length=32)
        image = config.ImageData(source=f"{name}.zip", cache=name)
        for data in (text, image):
            kind = type(data).__name__
            write_run(tmp_path / kind / name, recipe(data=data, seed=seed), data=hash and hash + kind, step=100)
            write_probes(tmp_path / kind / name, until=0, only="rank")
    for kind in ("TextData", "ImageData"):
        found = cohorts(open_folders([tmp_path / kind / "a", tmp_path / kind / "b"]).measured)
        assert len(found) == (1 if hash else 2)  # without a hash nobody knows


@pytest.fixture(scope="module")
def seeds(tmp_path_factory):
    folder = tmp_path_factory.mktemp("seeds")
    for seed, until in enumerate((400, 400, 300)):
        write_run(folder / str(seed), recipe(seed=seed), step=until)
        write_probes(folder / str(seed), seed, until)
    return cohorts(open_folders([folder / str(seed) for seed in range(3)]).measured)[0]


def test_a_curve_of_seeds_is_their_mean_between_the_lowest_and_the_highest(seeds):
    of_seeds = [{(row["step"], row["group"]): row for row in member.values[CLASSES]} for member in seeds.members]
    curve = seeds.curve(CLASSES)
    assert {row["step"] for row in curve} == set(MEASURED) - {400}  # the third never got there
    assert len(curve) == (len(MEASURED) - 1) * 9
    for row in curve:
        values = [of_seed[row["step"], row["group"]]["value"] for of_seed in of_seeds]
        assert row["value"] == pytest.approx(statistics.fmean(values))
        assert (row["low"], row["high"], row["seeds"]) == (min(values), max(values), 3)
        assert row["tokens"] == TOKENS * row["step"]
        assert row["form"] == "live"  # of which there are more
    assert any(row["low"] < row["high"] for row in curve)


def test_a_seed_that_has_barely_begun_is_by_itself_and_empties_no_curve(tmp_path):
    for seed, until in enumerate((400, 0, 400, 200, 150)):
        write_run(tmp_path / str(seed), recipe(seed=seed), step=until)
        write_probes(tmp_path / str(seed), seed, until, only="rank")
    found = cohorts(open_folders([tmp_path / str(seed) for seed in range(5)]).measured)
    assert [[one.label for one in cohort.members] for cohort in found] == [["0", "2", "3"], ["1"], ["4"]]
    (measure,) = found[0].members[0].values
    assert [cohort.curve(measure)[-1]["step"] for cohort in found] == [200, 0, 150]
    said = wording.measured(found)
    assert sum("differs from 0 by its seed alone, but has come less than half as far" in one for one in said) == 2


def test_the_loss_of_seeds_is_their_mean_where_all_have_one(seeds):
    for training, every in ((False, 50), (True, 10)):
        rows = seeds.loss(training)
        assert [row["step"] for row in rows] == list(range(every if training else 0, 301, every))
        member = seeds.members[0].run
        own = {row["step"]: row["loss"] for row in (member.training if training else member.held_out)}
        assert [row["value"] for row in rows] == pytest.approx([own[row["step"]] for row in rows])
