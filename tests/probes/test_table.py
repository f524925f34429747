"""The tables: what is written is what is read, nothing is doubled, and two writers lose nothing."""

import math
from concurrent.futures import ThreadPoolExecutor

import pyarrow.parquet as pq
import pytest

from sesame.errors import UserError
from sesame.probes import Item, Value
from sesame.probes.table import ITEM_SCHEMA, VALUE_SCHEMA, Tables, read, rows_of


def when(step: int = 0, probe: str = "rank", form: str = "live", made_from: str = "") -> dict[str, object]:
    return {
        "step": step, "tokens": 10 * step, "seconds": math.nan, "probe": probe, "source": "", "form": form,
        "made_from": made_from,
    }  # fmt: skip


def test_what_is_written_is_what_is_read(tmp_path):
    tables = Tables(tmp_path)
    guesses = (("cat", 0.5), ("dog", 0.25))
    item = Item("accuracy", 2**64 - 1, "noun", True, word="cat", text="a ⟦cat⟧", guesses=guesses)
    tables.write(rows_of(when(3), [Value("accuracy", 0.5, 2, "noun", 1, 0.1, 0.9), item]))
    assert pq.read_table(tables.values).to_pylist() == [
        {**when(3), "seconds": pytest.approx(math.nan, nan_ok=True), "layer": 1, "group": "noun",
         "metric": "accuracy", "value": 0.5, "n": 2, "low": 0.1, "high": 0.9}
    ]  # fmt: skip
    (row,) = pq.read_table(tables.items).to_pylist()
    assert (row["key"], row["text"]) == (2**64 - 1, "a ⟦cat⟧")
    assert row["guesses"] == [{"token": t, "probability": p} for t, p in guesses]


def test_the_same_measurement_replaces_the_earlier_one_and_no_other(tmp_path):
    tables = Tables(tmp_path)
    for step, probe, form, value in [(1, "rank", "live", 1.0), (1, "rank", "full", 2.0), (1, "loss", "live", 3.0),
                                     (2, "rank", "live", 4.0), (1, "rank", "live", 5.0)]:  # fmt: skip
        tables.write(rows_of(when(step, probe, form), [Value("m", value), Item("m", 1, "", value > 3)]))
    assert sorted(read(tables.values, VALUE_SCHEMA)["value"].to_pylist()) == [2.0, 3.0, 4.0, 5.0]
    assert len(read(tables.items, ITEM_SCHEMA)) == 4
    tables.write(rows_of(when(1), [Value("m", 6.0)]))  # this time without items: the old ones are of no number
    assert len(read(tables.items, ITEM_SCHEMA)) == 3


def test_a_run_that_goes_back_forgets_what_came_after(tmp_path):
    tables = Tables(tmp_path)
    tables.forget_after(0)
    assert list(tmp_path.iterdir()) == []
    for step in (0, 2, 4):
        tables.write(rows_of(when(step), [Value("m", float(step)), Item("m", 1, "", True)]))
    tables.forget_after(2)
    assert read(tables.values, VALUE_SCHEMA)["step"].to_pylist() == [0, 2]
    assert read(tables.items, ITEM_SCHEMA)["step"].to_pylist() == [0, 2]


def test_what_has_been_measured_of_which_weights(tmp_path):
    tables = Tables(tmp_path)
    assert tables.measured() == set()
    tables.write(rows_of(when(4, form="full", made_from="c0ffee"), [Value("m", 1.0), Value("n", 2.0)]))
    assert tables.measured() == {(4, "rank", "", "full", "c0ffee")}


def test_a_table_of_before_a_column_was_added_is_read(tmp_path):
    tables = Tables(tmp_path)
    tables.write(rows_of(when(1), [Value("m", 1.0)]))
    pq.write_table(pq.read_table(tables.values).drop_columns(["made_from"]), tables.values)
    tables.write(rows_of(when(2), [Value("m", 2.0)]))
    assert read(tables.values, VALUE_SCHEMA)["step"].to_pylist() == [1, 2]


def test_what_is_no_answer_is_refused(tmp_path):
    with pytest.raises(UserError, match="it gave a tuple"):
        rows_of(when(), iter([("m", 1.0)]))


def test_a_damaged_table_is_named(tmp_path):
    (tmp_path / "probes.parquet").write_bytes(b"PAR1 not really")
    with pytest.raises(UserError, match=r"probes\.parquet is damaged"):
        Tables(tmp_path).measured()


def test_two_writers_at_once_lose_nothing(tmp_path):
    def write(probe: str) -> None:
        for step in range(20):
            Tables(tmp_path).write(rows_of(when(step, probe), [Value("m", float(step))]))

    with ThreadPoolExecutor(2) as threads:  # a lock is the opener's, so two threads stand for two processes
        list(threads.map(write, ("a", "b")))
    table = read(tmp_path / "probes.parquet", VALUE_SCHEMA)
    assert sorted(zip(table["probe"].to_pylist(), table["step"].to_pylist(), strict=True)) == [
        (probe, step) for probe in ("a", "b") for step in range(20)
    ]
