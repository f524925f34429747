"""Folders are taken for what they are, whatever their order."""

import pytest
from report_folders import write_probes, write_run, write_tuning

from sesame.errors import UserError
from sesame.report.folders import labels, open_folders


def test_labels_are_the_shortest_ends_that_differ(tmp_path):
    assert labels([tmp_path / "a" / "run", tmp_path / "b" / "run"]) == ["a/run", "b/run"]
    assert labels([tmp_path / "a" / "run", tmp_path / "a" / "other"]) == ["run", "other"]


def test_runs_and_fine_tuning_are_told_apart(tmp_path):
    write_run(tmp_path / "run")
    write_tuning(tmp_path / "tuned")
    write_tuning(tmp_path / "half", finished=False)
    runs, tunings, measured = open_folders([tmp_path / name for name in ("tuned", "run", "half")])
    assert [run.label for run in runs] == ["run"]
    assert [(t.label, t.finished, list(t.tasks)) for t in tunings] == [
        ("tuned", True, ["pydocs/area", "pydocs/names"]), ("half", False, []),
    ]  # fmt: skip
    assert measured == []
    assert tunings[1].names == ["pydocs/area", "pydocs/names"]


def test_a_folder_that_is_no_run_is_named_with_the_runs_inside_it(tmp_path):
    write_run(tmp_path / "demo" / "run")
    write_tuning(tmp_path / "demo" / "tuned", seeds=2)
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match=r"demo is neither .* There are some in it: .*run, .*tuned"):
        open_folders([tmp_path / "demo"])
    with pytest.raises(UserError, match="empty is neither a run, nor"):
        open_folders([tmp_path / "empty"])
    with pytest.raises(UserError, match="nowhere does not exist"):
        open_folders([tmp_path / "nowhere"])
    with pytest.raises(UserError, match="given twice"):
        open_folders([tmp_path / "demo" / "run", tmp_path / "demo" / ".." / "demo" / "run"])


def test_what_was_measured_is_read_of_runs_and_of_other_checkpoints(tmp_path):
    write_run(tmp_path / "run")
    write_run(tmp_path / "plain")
    (tmp_path / "series").mkdir()
    for name in ("run", "series"):
        write_probes(tmp_path / name, until=2)
    runs, _, measured = open_folders([tmp_path / name for name in ("plain", "series", "run")])
    assert [(one.label, one.run) for one in measured] == [("series", None), ("run", runs[1])]
    with pytest.raises(UserError, match=r"There are some in it: .*plain, .*run, .*series"):
        open_folders([tmp_path])


def test_a_damaged_table_is_named(tmp_path):
    write_run(tmp_path / "run")
    (tmp_path / "run" / "probes.parquet").write_bytes(b"PAR1 and no more")
    with pytest.raises(UserError, match=r"probes.parquet is damaged .* sesame watch"):
        open_folders([tmp_path / "run"])
