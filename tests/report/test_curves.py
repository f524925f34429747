"""Means and bands over seeds equal the textbook's; what was only tried does not count."""

import random
import statistics

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from report_folders import ARMS, scores_of, write_tuning

from sesame.report.curves import gain_over_labels, mean_and_error, over_alpha, over_epochs, over_labels
from sesame.report.folders import open_folders


@pytest.fixture(scope="module")
def tuned(tmp_path_factory):
    return open_folders([write_tuning(tmp_path_factory.mktemp("curves") / "tuned")]).tunings[0]


@settings(max_examples=50, deadline=None)
@given(st.lists(st.floats(-100, 100), min_size=2, max_size=9))
def test_the_standard_error_is_that_of_the_mean(values):
    mean, error = mean_and_error(values)
    assert mean == pytest.approx(statistics.fmean(values), abs=1e-9)
    assert error == pytest.approx(statistics.stdev(values) / len(values) ** 0.5, abs=1e-6)


def test_a_single_seed_has_no_error():
    assert mean_and_error([0.5]) == (0.5, None)


def test_bands_over_epochs_are_those_of_the_seeds(tuned):
    for metric in ("accuracy", "macro_f1"):
        points = over_epochs(tuned.events, "pydocs/area", metric)
        assert len(points) == 3 * 8
        for point in points:
            seeds = [
                e["dev"][metric] for e in tuned.events
                if (e["event"], e["task"], e["arm"], e.get("epoch")) == ("evaluate", "pydocs/area", point.arm, point.x)
            ]  # fmt: skip
            assert point.n == len(seeds) == 5
            assert point.mean == pytest.approx(statistics.fmean(seeds))
            assert point.se == pytest.approx(statistics.stdev(seeds) / 5**0.5)


def test_neither_the_order_of_lines_nor_trials_nor_fewer_labels_change_a_curve(tuned):
    points = over_epochs(tuned.events, "pydocs/area", "accuracy")
    others = [e | {"event": "trial", "dev": {"accuracy": 9.0}} for e in tuned.events if e["event"] == "evaluate"]
    others += [e | {"labels": 100, "dev": {"accuracy": 9.0}} for e in tuned.events if e["event"] == "evaluate"]
    mixed = [*tuned.events, *others]
    random.Random(0).shuffle(mixed)
    assert over_epochs(mixed, "pydocs/area", "accuracy") == points


def test_where_a_seed_stopped_early_the_mean_is_over_the_others(tuned):
    left = [e for e in tuned.events if not (e.get("epoch", 0) > 4 and e["seed"] == 0)]
    assert {p.x: p.n for p in over_epochs(left, "pydocs/area", "accuracy")} == {
        1.0: 5, 2.0: 5, 3.0: 5, 4.0: 5, 5.0: 4, 6.0: 4, 7.0: 4, 8.0: 4,
    }  # fmt: skip


def test_over_labels_stand_the_results_of_every_size(tuned):
    result = tuned.tasks["pydocs/area"]
    points = {(p.arm, p.x): p for p in over_labels(result)}
    assert set(points) == {(arm, size) for arm in ARMS for size in (100, 300, 1519)}
    for (arm, size), point in points.items():
        scores = scores_of("pydocs/area", arm, 0 if size == 1519 else int(size), 5)
        assert (point.mean, point.se) == pytest.approx((statistics.fmean(scores), statistics.stdev(scores) / 5**0.5))
    gains = {p.x: p for p in gain_over_labels(result)}
    assert set(gains) == {100, 300, 1519}
    for size, gain in gains.items():
        ours, theirs = (scores_of("pydocs/area", a, 0 if size == 1519 else int(size), 5) for a in ARMS[:0:-1])
        paired = [a - b for a, b in zip(ours, theirs, strict=True)]
        assert (gain.mean, gain.se) == pytest.approx((statistics.fmean(paired), statistics.stdev(paired) / 5**0.5))


def test_the_loss_curve_is_as_it_was_logged(tuned):
    logged = next(e for e in tuned.events if e["event"] == "loss_curve" and e["arm"] == "pretrained")
    points = [p for p in over_alpha(tuned.events, logged["task"]) if p.arm == "pretrained"]
    assert [(p.x, p.mean) for p in points] == list(zip(logged["alpha"], logged["loss"], strict=True))
