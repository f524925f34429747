"""Whatever was measured is drawn, each kind of number in its way, with the numbers of the table."""

import math

import altair as alt
import pytest
import vl_convert
from report_folders import CLASSES, LAYERS, MEASURED, recipe, write_probes, write_run

from sesame import config
from sesame.report.folders import open_folders
from sesame.report.learning_chart import CURVE, LEVEL, LOSS, TRAINING
from sesame.report.probe_figures import parts
from sesame.report.probe_reading import Measure, cohorts
from sesame.report.report import compose


@pytest.fixture(scope="module")
def made(cohort):
    return {part.anchor: part for part in parts([cohort])}


@pytest.fixture(scope="module")
def figures(made):
    return {figure.name: figure for part in made.values() for figure in part.figures}


def test_every_measure_has_a_figure_or_a_word(made, figures, cohort):
    assert list(made) == [
        "learned-word-classes", "learned-linear", "learned-rank", "learned-attention", "learned-calibration",
        "learned-minimal-pairs", "learned-probes-my-own-py",
    ]  # fmt: skip
    drawn = {
        "learned-word-classes-mask-prediction", "learned-word-classes-mask-prediction-matched",
        "learned-word-classes-reconstruction", "learned-word-classes-reconstruction-matched",
        "learned-linear-pos-accuracy-layers", "learned-linear-pos-accuracy-start", "learned-linear-pos-accuracy-end",
        "learned-rank-rankme-layers", "learned-attention-previous-mean",
        "learned-attention-previous-start", "learned-attention-previous-end", "learned-attention-heads",
        "learned-attention-heads-start", "learned-attention-heads-end", "learned-calibration-ece",
        "learned-calibration-reliability", "learned-minimal-pairs-accuracy", "learned-probes-my-own-py-zest",
    }  # fmt: skip
    assert set(figures) == drawn
    assert made["learned-attention"].said == ["uniform 0.03"]


@pytest.mark.parametrize("name", [
    "learned-word-classes-mask-prediction", "learned-rank-rankme-layers", "learned-attention-heads",
    "learned-attention-previous-end", "learned-calibration-reliability", "learned-probes-my-own-py-zest",
])  # fmt: skip
def test_every_kind_of_chart_is_valid(figures, name):
    alt.Chart.from_dict(figures[name].spec, validate=True)
    assert vl_convert.vegalite_to_vega(figures[name].spec)["marks"]


def test_the_orders_chart_is_valid(made):
    (first, _) = made["learned-word-classes"].orders
    alt.Chart.from_dict(first.figure.spec, validate=True)


def test_a_class_is_a_line_with_its_interval_over_its_level_and_the_loss(figures, cohort):
    rows = figures["learned-word-classes-mask-prediction"].rows
    curve = {(row["series"], row["step"]): row for row in rows if row["kind"] == CURVE}
    assert curve.keys() == {(group, step) for group in CLASSES for step in MEASURED}
    of_table = cohort.members[0].values[Measure("word-classes", "gold.conllu", "mask_prediction")]
    for row in of_table:
        drawn = curve[row["group"], row["step"]]
        assert [drawn[key] for key in ("value", "low", "high")] == [row[key] for key in ("value", "low", "high")]
    levels = {row["series"]: row["value"] for row in rows if row["kind"] == LEVEL}
    assert levels == {group: frequent for group, (_, _, frequent) in CLASSES.items()}
    losses = [row["value"] for row in rows if row["kind"] == LOSS]
    assert losses == pytest.approx([row["loss"] for row in cohort.members[0].run.held_out])
    assert sum(row["kind"] == TRAINING for row in rows) == len(cohort.members[0].run.training)


def test_plain_and_matched_curves_are_drawn_to_one_scale(figures):
    def ends(name):
        return figures[name].spec["vconcat"][0]["layer"][1]["encoding"]["y"]["scale"]["domain"]

    for metric in ("mask-prediction", "reconstruction"):
        plain = ends(f"learned-word-classes-{metric}")
        assert plain == ends(f"learned-word-classes-{metric}-matched")
        assert plain[1] >= max(
            row["value"] for row in figures[f"learned-word-classes-{metric}-matched"].rows if row["kind"] == CURVE
        )


def test_names_of_classes_stand_in_the_published_order_and_look_different(figures):
    scale = figures["learned-word-classes-mask-prediction"].spec["vconcat"][0]["layer"][2]["encoding"]
    assert scale["color"]["scale"]["domain"] == list(CLASSES)
    looks = zip(*(scale[part]["scale"]["range"] for part in ("color", "strokeDash")), strict=True)
    assert len({(colour, tuple(dash)) for colour, dash in looks}) == len(CLASSES)


def test_layers_are_a_heat_map_over_steps(figures):
    rows = figures["learned-rank-rankme-layers"].rows
    assert {(row["layer"], row["step"]) for row in rows} == {(i, s) for i in range(LAYERS + 1) for s in MEASURED}
    for row in rows:
        assert row["value"] == pytest.approx(30 - 8 * row["layer"] * (1 - math.exp(-row["step"] / 50)))


def test_classes_by_layer_are_told_apart_at_both_ends_and_all_together_on_the_way(figures):
    whole = figures["learned-linear-pos-accuracy-layers"].rows
    assert {(row["layer"], row["step"]) for row in whole} == {(i, s) for i in range(LAYERS + 1) for s in MEASURED}
    assert not any(row.get("group") for row in whole)
    for name, step in (("start", MEASURED[0]), ("end", MEASURED[-1])):
        rows = figures[f"learned-linear-pos-accuracy-{name}"].rows
        assert {row["group"] for row in rows} == {"ADJ", "ADV", "NOUN", "VERB"} and {row["step"] for row in rows} == {
            step
        }
        assert len(rows) == 4 * (LAYERS + 1)


def test_heads_are_told_apart_at_the_end_and_averaged_on_the_way(figures):
    last = figures["learned-attention-previous-end"].rows
    assert {(row["layer"], row["group"], row["step"]) for row in last} == {
        (layer, head, 400) for layer in (1, 2) for head in (1, 2, 3, 4)
    }
    means = {(row["layer"], row["step"]): row["value"] for row in figures["learned-attention-previous-mean"].rows}
    at_end = [row["value"] for row in last if row["layer"] == 2]
    assert means[2, 400] == pytest.approx(sum(at_end) / 4)


def test_patterns_are_lines_in_all_and_told_by_layer_at_both_ends(figures):
    rows = figures["learned-attention-heads"].rows
    counts = {(row["series"], row["step"]): row["value"] for row in rows if row["kind"] == CURVE}
    assert [counts["broad", step] for step in MEASURED] == [4.0 * LAYERS * (step < 100) for step in MEASURED]
    for when, kind in (("start", "broad"), ("end", "previous")):
        by_layer = figures[f"learned-attention-heads-{when}"].rows
        assert {(row["layer"], row["group"]) for row in by_layer if row["value"]} == {(1, kind), (2, kind)}


def test_reliability_is_drawn_over_confidence(figures):
    figure = figures["learned-calibration-reliability"]
    steps = sorted({row["step"] for row in figure.rows})
    assert (len(steps), steps[0], steps[-1]) == (4, 0, 400)
    for row in figure.rows:
        assert row["confidence"] - row["accuracy"] == pytest.approx(100 / (row["step"] + 100) / 5)
    assert "bins are 4.0% off" in figure.summary


def test_more_groups_than_lines_become_a_heat_map_with_their_levels(figures):
    figure = figures["learned-minimal-pairs-accuracy"]
    assert [row["series"] for row in figure.rows if row["step"] == 0] == [
        f"phenomenon {number} ({50 + number}.0%)" for number in range(14)
    ]
    assert "In brackets: by word frequency alone" in figure.summary


def test_other_recipes_have_figures_of_their_own_and_one_where_there_are_no_groups(tmp_path):
    for name, changes in (("run", {}), ("ema", {"ema": 0.9})):
        write_run(tmp_path / name, recipe(**changes))
        write_probes(tmp_path / name, until=4)
    found = cohorts(open_folders([tmp_path / "run", tmp_path / "ema"]).measured)
    figures = {figure.name: figure for part in parts(found) for figure in part.figures}
    names = list(figures)
    assert len(set(names)) == len(names)
    for label in ("run", "ema"):
        assert f"learned-word-classes-mask-prediction-{label}" in figures
        assert f"learned-rank-rankme-{label}-layers" in figures
    zest = figures["learned-probes-my-own-py-zest"]
    assert {row["series"] for row in zest.rows} == {"run", "ema"}


def test_families_that_count_different_things_are_drawn_over_steps(tmp_path):
    for name, data in (("images", config.ImageData()), ("text", config.TextData())):
        write_run(tmp_path / name, recipe(data=data))
        write_probes(tmp_path / name, until=4, only="probes/my_own.py")
    found = cohorts(open_folders([tmp_path / "images", tmp_path / "text"]).measured)
    ((both,),) = (part.figures for part in parts(found))
    assert both.spec["layer"][0]["encoding"]["x"]["title"] == "steps"
    ((one,),) = (part.figures for part in parts(found[:1]))
    assert one.spec["layer"][0]["encoding"]["x"]["title"] == "images seen"


def test_a_caption_tells_each_series_own_steps_where_they_differ(tmp_path):
    for seed, until in ((0, 400), (1, 0)):
        write_run(tmp_path / str(seed), recipe(seed=seed), step=until)
        write_probes(tmp_path / str(seed), until=until, only="probes/my_own.py")
    found = cohorts(open_folders([tmp_path / "0", tmp_path / "1"]).measured)
    ((both,),) = (part.figures for part in parts(found))
    assert both.summary == "0 0 → 20 (from step 0 to 400); 1 0 → 0 (at step 0)."
    ((one,),) = (part.figures for part in parts(found[:1]))
    assert one.summary == "From step 0 to 400: 0 → 20."


def test_names_of_figures_stay_short_and_apart_however_long_runs_are_called(tmp_path):
    paths = [tmp_path / f"{'a-rather-long-name-of-a-run-' * 6}{number}" for number in range(10)]
    for number, path in enumerate(paths):  # eight seeds of one recipe, and two recipes that differ at their end alone
        write_run(path, recipe(seed=number, steps=400 + max(0, number - 7)))
        write_probes(path, until=4)
    names = [figure.name for figure in compose(*open_folders(paths)).figures]
    assert len(set(names)) == len(names)
    assert max(len(name) for name in names) <= 220
    assert any("8-seeds-a-rather-long" in name for name in names)
