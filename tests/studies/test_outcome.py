"""The statistics of a comparison, against scipy's paired test and the definitions."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import ttest_rel

from sesame.studies.outcome import cell, column, paired

VALUES = st.floats(-1, 1).map(lambda x: round(x, 3))
PAIRS = st.lists(st.tuples(VALUES, VALUES), min_size=2, max_size=6)


@given(PAIRS)
@settings(max_examples=40, deadline=None)
def test_paired_differences_are_those_of_the_definition_and_of_scipy(pairs):
    ours, theirs = zip(*pairs, strict=True)
    found = paired(ours, theirs)
    differences = [a - b for a, b in pairs]
    mean = sum(differences) / len(pairs)
    spread = math.sqrt(sum((d - mean) ** 2 for d in differences) / (len(pairs) - 1))
    assert found.mean == pytest.approx(mean, abs=1e-12)
    assert found.se == pytest.approx(spread / math.sqrt(len(pairs)), abs=1e-12)
    if spread > 1e-9:
        test = ttest_rel(ours, theirs)
        low, high = test.confidence_interval(0.95)
        assert (found.low, found.high) == (pytest.approx(low), pytest.approx(high))
        if abs(test.pvalue - 0.05) > 1e-6:
            assert found.resolved == (test.pvalue < 0.05)


def test_one_seed_resolves_nothing():
    found = paired([0.9], [0.1])
    assert found.mean == pytest.approx(0.8)
    assert (found.se, found.low, found.resolved) == (None, None, False)
    tied = paired([0.75, 0.5], [0.5, 0.25])
    assert (tied.mean, tied.se, tied.resolved) == (0.25, 0.0, False)


def values(**arms: list[float | None]):
    return column("masked LM", "accuracy", True, arms, {}, "none")


def test_a_seed_that_is_missing_is_left_out_of_both():
    found = values(none=[0.1, None, 0.5], other=[0.2, 0.9, 0.9])
    difference = found.cells["other"].difference
    assert difference.n == 2 and difference.mean == pytest.approx(np.mean([0.1, 0.4]))
    assert found.cells["other"].mean.n == 3 and found.cells["none"].mean.n == 2
    assert found.cells["none"].difference is None


def test_the_words_say_what_shows_and_what_cannot_be_resolved():
    found = values(none=[0.50, 0.51, 0.52], up=[0.60, 0.61, 0.625], alike=[0.51, 0.50, 0.53], down=[0.3, 0.31, 0.322])
    assert found.words == (
        "up is above none by 10.2 ± 0.2; down is below none by 19.9 ± 0.1; alike cannot be told from none with 3 seeds."
    )
    assert cell(found.cells["none"], True) == "51.0 ± 0.6"
    assert cell(found.cells["down"], True) == "31.1 ± 0.6\n(−19.9 ± 0.1)"
    assert cell(found.cells["alike"], True).endswith("(≈ +0.3 ± 0.7)")


def test_the_words_where_there_is_little_to_say():
    assert values(none=[0.5], up=[0.7]).words == "One seed each: no difference can be resolved."
    silent = values(none=[None, None], up=[0.7, 0.8])
    assert silent.words == "up 75.0 ± 5.0; none has no value to compare with."
    assert cell(silent.cells["none"], True) == "–"
    assert values(none=[None], up=[None]).words == "No arm has a value."
    perplexity = column("ppl", "perplexity", False, {"none": [12.0, 13.0], "b": [11.0, 11.9]}, {}, "none")
    assert cell(perplexity.cells["none"], False) == "12.5 ± 0.5"
