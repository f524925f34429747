"""The examples behind a point are those of the table, at that step and at the end."""

import math

import msgspec
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from report_folders import MEASURED, TOKENS, write_probes, write_run

from sesame.probes.base import Item, Value
from sesame.probes.table import Tables, rows_of
from sesame.report import page
from sesame.report.examples import MOST_STEPS, examples
from sesame.report.folders import open_folders
from sesame.report.probe_reading import Cohort, Measure, cohorts
from sesame.report.report import compose

MASKED = Measure("word-classes", "gold.conllu", "mask_prediction")


def test_every_example_of_the_table_is_behind_its_point(cohort, watched_run):
    found = examples(cohort, MASKED, str)
    assert (found["steps"], found["tokens"]) == (list(MEASURED), [TOKENS * step for step in MEASURED])
    table = pq.read_table(watched_run / "probe-items.parquet")
    here = (pc.field("metric") == "mask_prediction") & (pc.field("text") != "")
    rows = {(row["group"], row["word"], row["step"]): row for row in table.filter(here).to_pylist()}
    told = {
        (group, thing["word"], found["steps"][step]): (thing["text"], right, guesses)
        for group, things in found["series"].items() for thing in things for _, step, right, guesses in thing["of"]
    }  # fmt: skip
    assert told.keys() == rows.keys()
    for key, (text, right, guesses) in told.items():
        row = rows[key]
        assert (text, bool(right)) == (row["text"], row["right"])
        assert guesses[0::2] == [guess["token"] for guess in row["guesses"]]
        assert guesses[1::2] == [round(100 * guess["probability"], 1) for guess in row["guesses"]]


def test_of_several_seeds_each_keeps_its_own(tmp_path):
    for seed in (0, 1):
        write_run(tmp_path / str(seed))
        write_probes(tmp_path / str(seed), seed, until=8)
    found = examples(Cohort(open_folders([tmp_path / "0", tmp_path / "1"]).measured), MASKED, str)
    assert found["runs"] == ["0", "1"]
    assert {run for things in found["series"].values() for thing in things for run, *_ in thing["of"]} == {0, 1}


def test_of_many_steps_some_are_kept_so_that_the_page_stays_small(tmp_path):
    write_run(tmp_path / "run")
    write_probes(tmp_path / "run", until=0)
    path = tmp_path / "run" / "probe-items.parquet"
    table = pq.read_table(path)
    step = table.schema.get_field_index("step")
    later = [table.set_column(step, "step", pa.array([number] * len(table))) for number in range(60)]
    pq.write_table(pa.concat_tables(later), path)
    found = examples(cohorts(open_folders([tmp_path / "run"]).measured)[0], MASKED, str)
    assert len(found["steps"]) == MOST_STEPS
    assert (found["steps"][0], found["steps"][-1]) == (0, 59)
    assert len(msgspec.json.encode(found)) < 150_000


def test_where_no_text_was_kept_there_is_nothing_to_show(cohort):
    assert examples(cohort, Measure("rank", "", "rankme"), str) is None


def test_what_was_said_without_a_probability_is_shown_without_one(tmp_path):
    said = (("O", math.nan), ("B-PER", 0.25))
    for step in (0, 10):
        answers = [Value("accuracy", step / 20, 9), Item("accuracy", 1, "", False, "I-PER", "see ⟦Ann⟧", said)]
        at = {"step": step, "tokens": step, "seconds": 1.0, "form": "live", "made_from": ""}
        Tables(tmp_path).write(rows_of(at | {"probe": "downstream", "source": "names"}, answers))
    found = open_folders([tmp_path])
    shown = examples(cohorts(found.measured)[0], Measure("downstream", "names", "accuracy"), str)
    ((thing,),) = shown["series"].values()
    assert [guesses for *_, guesses in thing["of"]] == 2 * [["O", None, "B-PER", 25.0]]
    assert '["O", null, "B-PER", 25.0]' in page.render(compose(*found))
