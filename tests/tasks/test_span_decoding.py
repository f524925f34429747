"""Spans from scores: equal to trying every span; the threshold of "no answer" equal to trying every threshold."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sesame.tasks.span_decoding import best_threshold, find_spans, max_context, null_score, probabilities


@st.composite
def read(draw):
    """Scores of windows on end, their edges, and where answers may start."""
    sizes = draw(st.lists(st.integers(1, 9), min_size=1, max_size=4))
    chance = np.random.default_rng(draw(st.integers(0, 10**6)))
    total = sum(sizes)
    levels = draw(st.sampled_from([3, 1000]))  # few levels make ties
    scores = chance.integers(-levels, levels, (total, 2)) / 7.0
    edges = np.array([0, *np.cumsum(sizes)])
    may_start = chance.random(total) < draw(st.sampled_from([0.3, 1.0]))
    return scores, edges, may_start


def try_all(scores, edges, may_start, best, longest) -> list[tuple[float, int, int]]:
    """Every legal span of each window, of its `best` allowed starts and `best` ends, the best first."""
    found = []
    for begin, stop in pairwise(edges):
        inside = range(begin + 1, stop)
        starts = sorted((i for i in inside if may_start[i]), key=lambda i: (-scores[i, 0], i))[:best]
        ends = sorted(inside, key=lambda i: (-scores[i, 1], i))[:best]
        for i in starts:
            for j in ends:
                if i <= j < i + longest:
                    found.append((scores[i, 0] + scores[j, 1], i, j))
    return sorted(found, key=lambda span: (-span[0], span[1], span[2]))


@settings(max_examples=150, deadline=None)
@given(read(), st.integers(1, 10), st.integers(1, 10))
def test_spans_are_those_found_by_trying_all(windows, best, longest):
    scores, edges, may_start = windows
    expected = try_all(scores, edges, may_start, best, longest)
    if not expected:
        expected = try_all(scores, edges, may_start, len(scores), longest)
    spans = find_spans(scores, edges, may_start, best, longest)
    assert list(zip(spans.score.tolist(), spans.start.tolist(), spans.end.tolist(), strict=True)) == expected


def test_there_is_a_span_as_long_as_one_may_start():
    scores = np.array([[9.0, 9.0], [0.0, 5.0], [0.0, 4.0], [3.0, 0.0]])  # the best start stands after the best end
    spans = find_spans(scores, np.array([0, 4]), np.array([True] * 4), best=1, longest=4)
    assert (spans.start[0], spans.end[0]) == (1, 1)
    nothing = find_spans(scores, np.array([0, 4]), np.array([True, False, False, False]), best=4, longest=4)
    assert len(nothing.start) == 0


@settings(max_examples=30, deadline=None)
@given(read())
def test_one_sure_window_speaks_against_no_answer(windows):
    scores, edges, _ = windows
    assert null_score(scores, edges) == min(scores[i, 0] + scores[i, 1] for i in edges[:-1])


@settings(max_examples=80, deadline=None)
@given(st.integers(1, 40), st.integers(1, 12), st.integers(1, 12))
def test_each_token_belongs_to_the_window_that_shows_most_around_it(tokens, room, stride):
    begin = np.arange(0, max(tokens - room, 0) + stride, min(stride, room))
    begin = begin[begin < tokens]
    end = np.minimum(begin + room, tokens)
    widest = max_context(begin, end)
    for token in range(int(end.max())):
        context = {
            w: min(token - a, b - 1 - token) + 0.01 * (b - a)
            for w, (a, b) in enumerate(zip(begin.tolist(), end.tolist(), strict=True))
            if a <= token < b
        }
        chosen = [w for w in context if widest[w][token - begin[w]]]
        assert chosen == [max(context, key=lambda w: (context[w], -w))]


def test_context_by_hand():
    first, second = max_context(np.array([0, 2]), np.array([5, 6]))  # token 2: 2 left, 2 right; or 0 left, 3 right
    assert first.tolist() == [True, True, True, True, False]  # token 3: 1 and 1, the longer window
    assert second.tolist() == [False, False, True, True]  # token 4: 0 right; or 2 left, 1 right


def test_probabilities_are_a_softmax():
    share = probabilities(np.array([1000.0, 1000.0 + np.log(3), -1000.0]))
    np.testing.assert_allclose(share, [0.25, 0.75, 0.0], atol=1e-12)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(st.integers(-3, 3), st.integers(0, 2), st.integers(0, 1)), min_size=1, max_size=9))
def test_no_other_threshold_scores_more(questions):
    margin, answered, unanswered = np.array(questions, float).T

    def total(threshold: float) -> float:
        return float(np.where(margin > threshold, unanswered, answered).sum())

    threshold = best_threshold(margin, answered, unanswered)
    assert total(threshold) == pytest.approx(max(map(total, [-9.0, *margin])))
