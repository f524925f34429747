"""Which words are read, who is whose neighbour, what is drawn by chance: distributions, brute force, keyed chance."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chisquare
from small_text import VOCABULARY, packed, texts

from sesame.data import chance
from sesame.pretext.word_windows import Noise, Words, keep_rate, neighbours

EVERY = np.ones(VOCABULARY.size)


def words_of(sizes: list[int], rate: np.ndarray = EVERY) -> Words:
    return Words.of(packed(texts(*sizes), 24), rate)


def test_the_rate_is_that_of_word2vecs_code() -> None:
    counts = np.array([0, 900, 90, 9, 1])
    expected = [0.0] + [
        min(1.0, (np.sqrt(f / 1e-3) + 1) * 1e-3 / f) for f in counts[1:] / 1000
    ]  # as it is written there
    np.testing.assert_allclose(keep_rate(counts, 1e-3), expected)
    np.testing.assert_array_equal(keep_rate(counts, 0.0), [0, 1, 1, 1, 1])


def test_words_are_read_as_often_as_their_rate_says() -> None:
    rate = np.linspace(0, 1, VOCABULARY.size)
    given = texts(*[20] * 500)
    read = np.bincount(Words.of(packed(given), rate).ids, minlength=VOCABULARY.size)
    there = np.bincount(np.concatenate(given), minlength=VOCABULARY.size)
    spread = np.sqrt(np.maximum(there * rate * (1 - rate), 1))
    assert (np.abs(read - there * rate) < 4.5 * spread).all()
    assert read[-1] == there[-1] and not read[:5].any()


def test_a_window_reaches_every_distance_equally_often() -> None:
    at, there = neighbours(words_of([20] * 500), 5)
    reach = np.array([np.abs(a[t] - i).max(initial=0) for i, (a, t) in enumerate(zip(at, there, strict=True))])
    middle = np.arange(len(reach)) % 20
    inner = reach[(middle >= 5) & (middle < 15)]
    assert chisquare(np.bincount(inner, minlength=6)[1:]).pvalue > 1e-4


@given(st.lists(st.integers(1, 18), min_size=1, max_size=6), st.integers(1, 7))
@settings(max_examples=25, deadline=None)
def test_neighbours_are_those_of_a_double_loop(sizes: list[int], window: int) -> None:
    words = words_of(sizes, np.full(VOCABULARY.size, 0.7))
    at, there = neighbours(words, window)
    reach = 1 + chance.integers(window, "window", words.key)
    for i in range(len(words.ids)):
        expected = [
            j
            for j in range(len(words.ids))
            if j != i and abs(i - j) <= reach[i] and words.example[i] == words.example[j]
        ]
        assert at[i][there[i]].tolist() == expected


def test_choices_depend_on_the_example_and_not_on_its_batch() -> None:
    given = texts(18, 11, 7)
    alone, together = Words.of(packed(given[:1]), EVERY), Words.of(packed(given), EVERY)
    first = together.example == together.example[0]
    np.testing.assert_array_equal(alone.key, together.key[first])
    np.testing.assert_array_equal(alone.ids, together.ids[first])


def test_noise_has_the_given_distribution_and_draws_nothing_of_weight_zero() -> None:
    weight = np.array([0.0, 5, 1, 0.25, 100, 3, 0]) ** 0.75
    drawn = np.bincount(Noise.of(weight).draw(chance.bits("test", np.arange(20_000)), 5).ravel(), minlength=7)
    assert drawn[0] == drawn[6] == 0
    some = weight > 0
    assert chisquare(drawn[some], drawn.sum() * weight[some] / weight.sum()).pvalue > 1e-4


@given(st.lists(st.floats(0, 1e6), min_size=1, max_size=40).filter(any))
@settings(max_examples=50, deadline=None)
def test_the_alias_table_holds_exactly_the_probabilities(weights: list[float]) -> None:
    weight = np.array(weights)
    noise = Noise.of(weight)
    share = noise.edge.copy()
    np.add.at(share, noise.alias, 1 - noise.edge)
    np.testing.assert_allclose(share / len(weight), weight / weight.sum(), atol=1e-12)
