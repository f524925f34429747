"""Metrics of classes and numbers, against their definitions."""

import math
from collections import Counter
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sesame.tasks import metrics

labels = st.lists(st.tuples(st.sampled_from("abcd"), st.sampled_from("abcd")), min_size=1, max_size=20)
value = st.integers(-5, 5).map(float)
numbers = st.lists(st.tuples(value, value), min_size=2, max_size=20)


@settings(max_examples=25, deadline=None)
@given(labels)
def test_accuracy_and_macro_f1_follow_their_definitions(rows):
    gold, predicted = zip(*rows, strict=True)
    right, of_gold, of_predicted = (Counter(x) for x in ((g for g, p in rows if g == p), gold, predicted))
    f1 = [2 * right[k] / (of_gold[k] + of_predicted[k]) for k in set(gold) | set(predicted)]
    assert metrics.accuracy(gold, predicted) == pytest.approx(right.total() / len(rows))
    assert metrics.macro_f1(gold, predicted) == pytest.approx(np.mean(f1))


@settings(max_examples=25, deadline=None)
@given(labels)
def test_matthews_is_the_correlation_of_the_indicators(rows):
    """Gorodkin (2004): the covariance of the two indicator matrices over the root of their variances."""
    gold, predicted = (np.array([[row[side] == k for k in "abcd"] for row in rows], float) for side in (0, 1))
    gold, predicted = gold - gold.mean(0), predicted - predicted.mean(0)
    scale = math.sqrt((gold**2).sum() * (predicted**2).sum())
    expected = (gold * predicted).sum() / scale if scale else 0.0
    assert metrics.matthews([gold for gold, _ in rows], [predicted for _, predicted in rows]) == pytest.approx(
        expected, abs=1e-9
    )


def test_matthews_of_a_table_by_hand():
    """tp 6, tn 3, fp 1, fn 2: (6·3 - 1·2) / sqrt(7·8·4·5)."""
    gold, predicted = list("111111000011"), list("111111000100")
    assert metrics.matthews(gold, predicted) == pytest.approx(16 / math.sqrt(1120))


@settings(max_examples=25, deadline=None)
@given(numbers)
def test_correlations_follow_their_definitions(rows):
    def correlation(x, y):
        x, y = np.array(x) - np.mean(x), np.array(y) - np.mean(y)
        scale = math.sqrt((x @ x) * (y @ y))
        return x @ y / scale if scale > 1e-9 else 0.0

    def ranks(values):
        return [sum((v < value) + (v == value) / 2 for v in values) for value in values]

    gold, predicted = zip(*rows, strict=True)
    assert metrics.pearson(gold, predicted) == pytest.approx(correlation(gold, predicted), abs=1e-9)
    assert metrics.spearman(gold, predicted) == pytest.approx(correlation(ranks(gold), ranks(predicted)), abs=1e-9)


def test_perfect_and_reversed_predictions():
    assert metrics.pearson([1.0, 2.0, 4.0], [10.0, 20.0, 40.0]) == pytest.approx(1)
    assert metrics.spearman([1.0, 2.0, 4.0], [3.0, 2.5, -100.0]) == pytest.approx(-1)
    assert metrics.matthews(list("0011"), list("1100")) == -1
    assert metrics.macro_f1(list("0011"), list("1100")) == 0


@pytest.mark.parametrize("score", [metrics.pearson, metrics.spearman])
def test_a_correlation_with_a_constant_is_0_and_never_nan(score, recwarn):
    varied = [1.0, 2.0, 3.0]
    for gold, predicted in product((varied, [2.7] * 3), repeat=2):
        if gold is not varied or predicted is not varied:
            assert score(gold, predicted) == 0.0
    assert score([1.0], [2.0]) == 0.0
    assert score([1.0, 2.0], [0.0, 1e-300]) == pytest.approx(1)
    assert not recwarn.list
