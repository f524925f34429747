"""Captions and bands say how sure a score is, and where nobody knows."""

import altair as alt
import vl_convert
from report_folders import write_tuning

from sesame.report.folders import open_folders
from sesame.report.report import compose


def drawn(folder, seeds):
    made = compose(*open_folders([write_tuning(folder, tasks=("pydocs/area",), seeds=seeds)]))
    return {figure.name: figure for figure in made.figures}


def test_one_seed_has_no_error_and_no_band(tmp_path):
    figures = drawn(tmp_path / "tuned", seeds=1)
    assert len(figures) == 5
    for name, figure in figures.items():
        assert "±" not in figure.summary and "standard error" not in figure.summary, name
        assert ("ne seed, no error known" in figure.summary) == ("loss-curve" not in name), name
        assert all(row[end] is None for row in figure.rows for end in ("se", "low", "high")), name
        alt.Chart.from_dict(figure.spec, validate=True)
        assert vl_convert.vegalite_to_svg(figure.picture()).startswith("<svg")


def test_several_seeds_have_an_error_and_a_band(tmp_path):
    for name, figure in drawn(tmp_path / "tuned", seeds=2).items():
        assert ("standard error" in figure.summary) == ("loss-curve" not in name), name
        assert all(row["low"] <= row["mean"] <= row["high"] for row in figure.rows if row["se"] is not None), name
