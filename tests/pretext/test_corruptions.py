"""Corruptions: what each keeps and changes, how often, that it can be undone, and that it knows no neighbours."""

import math
from collections import Counter
from itertools import groupby, pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sesame import config
from sesame.pretext.corruptions import (
    CORRUPTIONS,
    Marks,
    Texts,
    choose_fragment,
    choose_rest,
    choose_separately,
    choose_spans,
    choose_tokens,
    composition,
    corrupt,
    infill,
    mark_spans,
    mask_out,
    missing,
    missing_spans,
    most_spans,
    permute_sentences,
    poisson,
    rotate,
    shuffle,
)

FIRST = 1000
"""Ids of texts begin here, so that no token is a mark and every one says where it stood."""
MARKS = Marks(mask=1, ordinary=np.arange(500, 600), sentinels=np.arange(10, 110))
EVERY = [
    (config.TokenMasking(rate=0.3, random=0.2),),
    (config.TokenDeletion(rate=0.3),),
    (config.TextInfilling(),),
    (config.SentencePermutation(),),
    (config.DocumentRotation(),),
    (config.TokenShuffling(),),
    (config.SpanCorruption(rate=0.3),),
    (config.SpanCorruption(rate=0.5, independent=True),),
    (config.FragmentMasking(),),
    (config.PrefixSplit(),),
    (config.SentencePermutation(), config.TextInfilling(), config.DocumentRotation()),
    (config.TokenDeletion(), config.TokenDeletion(), config.SpanCorruption(span=2.0)),
]
names = [" ".join(type(c).__name__ for c in several) for several in EVERY]
sizes = st.lists(st.integers(0, 30), min_size=1, max_size=5)
rates = st.sampled_from([0.0, 0.1, 0.5, 0.9, 1.0])
seeds = st.integers(0, 20)


def texts(sizes: list[int], seed: int = 0, first_key: int = 50) -> Texts:
    """Every token is another one; about every fourth starts a sentence."""
    n, owner = sum(sizes), np.repeat(np.arange(len(sizes)), sizes)
    starts = np.random.default_rng(n).random(n) < 0.25
    key = np.arange(first_key, first_key + len(sizes)).astype(np.uint64)
    return Texts.of(FIRST + np.arange(n), owner, starts, key, np.zeros(len(sizes), int), seed)


def split(x: Texts, values: np.ndarray | None = None) -> list[list[int]]:
    """The ids (or other values) of each example."""
    values = x.ids if values is None else values
    return [values[x.owner == e].tolist() for e in range(len(x.key))]


def hidden(size: int, rate: float) -> int:
    return max(1, round(rate * size)) if rate and size else 0


def runs(where: list[bool]) -> list[tuple[bool, int]]:
    return [(value, len(list(same))) for value, same in groupby(where)]


# ------------------------------------------------------------------------------------------------ choose
@settings(max_examples=60, deadline=None)
@given(sizes=sizes, rate=rates, seed=seeds)
def test_the_nearest_whole_number_of_tokens_is_chosen(sizes: list[int], rate: float, seed: int) -> None:
    x = texts(sizes, seed)
    for chosen in (choose_tokens(x, rate), choose_fragment(x, rate)):
        assert [sum(w) for w in split(x, chosen)] == [hidden(size, rate) for size in sizes]
    for where in split(x, choose_fragment(x, rate)):
        assert [value for value, _ in runs(where)].count(True) <= 1  # one run


@settings(max_examples=60, deadline=None)
@given(sizes=sizes, rate=rates, span=st.sampled_from([1.0, 3.0, 10.0]), seed=seeds)
def test_spans_are_t5s(sizes: list[int], rate: float, span: float, seed: int) -> None:
    """The numbers of its random_spans_noise_mask: of tokens, of spans, a kept run first and a hidden one last."""
    x = texts(sizes, seed)
    for size, where in zip(sizes, split(x, choose_spans(x, rate, span)), strict=True):
        budget = min(hidden(size, rate), max(size - 1, 0))
        found = runs(where)
        assert sum(where) == budget
        if budget:
            spans = max(1, min(round(budget / span), size - budget))
            assert [value for value, _ in found] == [False, True] * spans
            assert spans + 1 <= most_spans(config.SpanCorruption(rate=rate, span=span), max(sizes))
            assert budget + spans + 1 + 1 <= size + 2  # spans, sentinels and [SEP] stand where [CLS] text [SEP] did


@settings(max_examples=60, deadline=None)
@given(sizes=sizes, rate=rates, seed=seeds)
def test_separate_tokens_fit_with_their_sentinels(sizes: list[int], rate: float, seed: int) -> None:
    x = texts(sizes, seed)
    for size, where in zip(sizes, split(x, choose_separately(x, rate)), strict=True):
        budget = min(hidden(size, rate), max(size - 1, 0))
        spans = [value for value, _ in runs(where)].count(True)
        assert sum(where) in (budget, budget - 1)
        assert sum(where) + spans + 2 <= size + 2
        assert not size or spans + 1 <= most_spans(config.SpanCorruption(rate=rate, independent=True), max(sizes))


def test_no_choice_of_tokens_is_likelier_than_another() -> None:
    x = texts([4] * 6000)
    counts = Counter(map(tuple, split(x, choose_tokens(x, 0.5))))
    assert len(counts) == math.comb(4, 2)
    assert [n / 6000 for n in counts.values()] == pytest.approx([1 / 6] * 6, abs=0.02)


def test_every_sum_is_equally_likely() -> None:
    x = texts([0] * 6000)
    parts = composition(x, "run", np.full(6000, 5), np.full(6000, 3)).reshape(-1, 3)
    counts = Counter(map(tuple, parts.tolist()))
    assert set(counts) == {(a, b, 5 - a - b) for a in range(1, 4) for b in range(1, 5 - a)}
    assert [n / 6000 for n in counts.values()] == pytest.approx([1 / 6] * 6, abs=0.02)


def test_mass_fragments_lie_at_the_start_the_end_and_anywhere() -> None:
    x = texts([10] * 6000)
    begin = Counter(where.index(True) for where in split(x, choose_fragment(x, 0.5)))
    assert begin[0] / 6000 == pytest.approx(0.2 + 0.6 / 6, abs=0.02)
    assert begin[5] / 6000 == pytest.approx(0.2 + 0.6 / 6, abs=0.02)
    assert [begin[i] / 6000 for i in range(1, 5)] == pytest.approx([0.1] * 4, abs=0.02)


def test_a_prefix_ends_anywhere_and_something_is_on_both_sides() -> None:
    x = texts([5] * 4000 + [1])
    cuts = Counter(where.index(True) for where in split(x, choose_rest(x))[:-1])
    assert {cut: pytest.approx(n / 4000, abs=0.03) for cut, n in cuts.items()} == dict.fromkeys(range(1, 5), 0.25)
    assert split(x, choose_rest(x))[-1] == [True]


# --------------------------------------------------------------------------------------------------- see
@settings(max_examples=40, deadline=None)
@given(sizes=sizes, seed=seeds, rate=rates)
def test_masking_changes_hidden_tokens_and_no_others(sizes: list[int], seed: int, rate: float) -> None:
    x = texts(sizes, seed)
    where = choose_tokens(x, rate)
    seen = mask_out(x, where, MARKS, 0.8, 0.1)
    assert seen.owner.tolist() == x.owner.tolist()
    for old, new, came, chosen in zip(x.ids, seen.ids, seen.origin, where, strict=True):
        assert new == old if not chosen else new in (old, MARKS.mask, *MARKS.ordinary)
        assert came == (old - FIRST if new == old else -1)


def test_masking_keeps_its_shares() -> None:
    x = texts([20_000])
    seen = mask_out(x, np.ones(20_000, bool), MARKS, 0.8, 0.1)
    assert (seen.ids == MARKS.mask).mean() == pytest.approx(0.8, abs=0.01)
    assert (seen.ids == x.ids).mean() == pytest.approx(0.1, abs=0.01)
    drawn = np.bincount(seen.ids[np.isin(seen.ids, MARKS.ordinary)] - 500, minlength=100)
    assert drawn.min() > 0 and drawn.max() < 4 * drawn.mean()  # any of them


@settings(max_examples=80, deadline=None)
@given(where=st.lists(st.lists(st.booleans(), max_size=12), min_size=1, max_size=4))
def test_spans_behind_sentinels_are_what_a_loop_makes_of_them(where: list[list[bool]]) -> None:
    x = texts([len(w) for w in where])
    chosen = np.array([value for w in where for value in w], bool)
    seen, written = split(mark_spans(x, chosen, MARKS)), split(missing_spans(x, chosen, MARKS))
    alone = split(missing(x, chosen))
    for example, (ids, mask) in enumerate(zip(split(x), where, strict=True)):
        sentinel, inputs, targets, before = 10, [], [], False
        for token, is_hidden in zip(ids, mask, strict=True):
            if is_hidden and not before:
                inputs, targets, sentinel = [*inputs, sentinel], [*targets, sentinel], sentinel + 1
            (targets if is_hidden else inputs).append(token)
            before = is_hidden
        assert seen[example] == inputs
        assert written[example] == [*targets, sentinel]
        assert alone[example] == [token for token, is_hidden in zip(ids, mask, strict=True) if is_hidden]
        assert unmarked(seen[example], written[example]) == ids


def unmarked(inputs: list[int], targets: list[int]) -> list[int]:
    """The text: every sentinel of the inputs gives way to what stands behind it in the targets."""
    behind: dict[int, list[int]] = {}
    for token in targets:
        if token < FIRST:
            behind[last := token] = []
        else:
            behind[last].append(token)
    return [t for token in inputs for t in (behind[token] if token < FIRST else [token])]


@settings(max_examples=60, deadline=None)
@given(sizes=sizes, rate=rates, span=st.sampled_from([0.3, 3.0, 8.0]), seed=seeds)
def test_infilling_hides_the_rate_keeps_the_rest_in_order_and_can_be_undone(
    sizes: list[int], rate: float, span: float, seed: int
) -> None:
    x = texts(sizes, seed)
    seen, where = infill(x, MARKS, rate, span)
    assert [sum(w) for w in split(x, where)] == [hidden(size, rate) for size in sizes]
    for ids, size in zip(split(seen), sizes, strict=True):
        assert len(ids) <= size
        assert ids.count(MARKS.mask) <= hidden(size, rate)
        assert (MARKS.mask in ids) == (hidden(size, rate) > 0)
    for ids, read, gone in zip(split(x), split(seen), split(missing(x, where)), strict=True):
        assert sorted([t for t in read if t != MARKS.mask] + gone) == ids
        assert [t for t in read if t != MARKS.mask] == [t for t in ids if t not in gone]
        # Where no [MASK] stands between two tokens, or before the first or after the last, nothing is hidden there.
        framed = [ids[0] - 1, *read, ids[-1] + 1] if ids else []
        assert all(b == a + 1 for a, b in pairwise(framed) if MARKS.mask not in (a, b))


def test_infilling_spans_are_poisson_and_lie_anywhere() -> None:
    x = texts([500] * 300)
    seen, where = infill(x, MARKS, 0.3, 3.0)
    masks = sum(ids.count(MARKS.mask) for ids in split(seen))
    assert where.sum() / masks == pytest.approx(3.0, abs=0.1)
    inserted = 0
    for ids in split(seen):
        for i, token in enumerate(ids[1:-1], 1):
            inserted += token == MARKS.mask and ids[i + 1] == ids[i - 1] + 1
    both_sides_kept = (1 - masks / len(seen.ids)) ** 2  # where an inserted [MASK] can be told from the text
    assert inserted / masks == pytest.approx(math.exp(-3) * both_sides_kept, abs=0.004)
    place = np.concatenate([np.flatnonzero(np.array(ids) == MARKS.mask) / len(ids) for ids in split(seen)])
    assert np.histogram(place, 5, (0, 1))[0] / len(place) == pytest.approx([0.2] * 5, abs=0.01)


@pytest.mark.parametrize("mean", [0.5, 3.0, 40.0])
def test_poisson_numbers_have_the_shares_of_the_formula(mean: float) -> None:
    drawn = poisson((np.arange(200_000) + 0.5) / 200_000, mean)
    for k in range(int(mean + 3 * math.sqrt(mean))):
        share = math.exp(k * math.log(mean) - mean - math.lgamma(k + 1))
        assert (drawn == k).mean() == pytest.approx(share, abs=1e-5)


@settings(max_examples=60, deadline=None)
@given(sizes=sizes, seed=seeds)
def test_sentences_are_permuted_and_stay_whole(sizes: list[int], seed: int) -> None:
    x = texts(sizes, seed)
    for before, after in zip(sentences(x), sentences(permute_sentences(x)), strict=True):
        assert sorted(before) == sorted(after)


def sentences(x: Texts) -> list[list[list[int]]]:
    pairs = [list(zip(ids, numbers, strict=True)) for ids, numbers in zip(split(x), split(x, x.sentence), strict=True)]
    return [[[t for t, _ in same] for _, same in groupby(example, key=lambda pair: pair[1])] for example in pairs]


def test_every_order_of_sentences_is_equally_likely() -> None:
    count = 3000
    starts = np.tile([True, False, True, True, False, False], count)
    owner, key = np.repeat(np.arange(count), 6), np.arange(count).astype(np.uint64)
    x = Texts.of(np.tile(np.arange(6), count), owner, starts, key, np.zeros(count, int), 0)
    orders = Counter(map(tuple, split(permute_sentences(x))))
    assert len(orders) == 6
    assert [n / count for n in orders.values()] == pytest.approx([1 / 6] * 6, abs=0.03)


@settings(max_examples=60, deadline=None)
@given(sizes=sizes, seed=seeds)
def test_rotation_and_shuffling_are_permutations(sizes: list[int], seed: int) -> None:
    x = texts(sizes, seed)
    for before, turned, mixed in zip(split(x), split(rotate(x)), split(shuffle(x)), strict=True):
        assert not before or turned in [before[i:] + before[:i] for i in range(len(before))]
        assert sorted(mixed) == before


def test_a_rotated_text_begins_with_any_token_and_shuffled_ones_come_in_any_order() -> None:
    x = texts([4] * 6000)
    first = Counter((ids[0] - FIRST) % 4 for ids in split(rotate(x)))
    assert [first[i] / 6000 for i in range(4)] == pytest.approx([0.25] * 4, abs=0.02)
    orders = Counter(tuple(t - min(ids) for t in ids) for ids in split(shuffle(x)))
    assert len(orders) == 24 and max(orders.values()) < 2 * min(orders.values())


# --------------------------------------------------------------------------------------------- all of them
@pytest.mark.parametrize("several", EVERY, ids=names)
@settings(max_examples=15, deadline=None)
@given(sizes=sizes, seed=seeds, chosen=st.data())
def test_an_example_is_damaged_the_same_whatever_stands_beside_it(several, sizes, seed, chosen) -> None:
    whole = texts(sizes, seed)
    i = chosen.draw(st.integers(0, len(sizes) - 1))
    here = whole.owner == i
    alone = Texts.of(
        whole.ids[here], 0 * whole.owner[here], np.diff(whole.sentence[here], prepend=-1) > 0, whole.key[i : i + 1],
        whole.epoch[:1], seed,
    )  # fmt: skip
    for one, several_at_once in zip(corrupt(alone, several, MARKS), corrupt(whole, several, MARKS), strict=True):
        if one is not None and several_at_once is not None:
            assert one.ids.tolist() == split(several_at_once)[i]


@pytest.mark.parametrize("several", EVERY, ids=names)
@settings(max_examples=15, deadline=None)
@given(sizes=sizes, seed=seeds)
def test_nothing_gets_longer_moves_to_another_example_or_comes_from_nowhere(several, sizes, seed) -> None:
    x = texts(sizes, seed)
    seen, left, _ = corrupt(x, several, MARKS)
    assert (seen.sizes <= x.sizes).all()
    assert (np.diff(seen.owner) >= 0).all()
    old = seen.origin >= 0
    assert (seen.ids[old] == x.ids[seen.origin[old]]).all()
    assert (x.owner[seen.origin[old]] == seen.owner[old]).all()
    assert (seen.ids[~old] < FIRST).all()
    if left is not None:
        assert (left.sizes + 1 <= x.sizes + 2).all()  # with its [SEP] it is no longer than [CLS] text [SEP]


@pytest.mark.parametrize("several", EVERY, ids=names)
def test_another_epoch_or_seed_damages_otherwise(several) -> None:
    given = texts([40] * 5)
    seen = set()
    for seed in range(3):
        for epoch in range(3):
            x = Texts.of(given.ids, given.owner, np.arange(200) % 7 == 0, given.key, np.full(5, epoch), seed)
            seen.add(corrupt(x, several, MARKS)[0].ids.tobytes())
    assert len(seen) == 9


def test_corruptions_are_done_in_order_and_twice_is_not_the_same_again() -> None:
    x = texts([60] * 4)
    first, second = config.SentencePermutation(), config.PrefixSplit()
    by_hand = CORRUPTIONS[type(second)](x_turn(CORRUPTIONS[type(first)](x, first, MARKS)[0], 1), second, MARKS)[0]
    assert corrupt(x, (first, second), MARKS)[0].ids.tolist() == by_hand.ids.tolist()
    assert corrupt(x, (second, first), MARKS)[0].ids.tolist() != by_hand.ids.tolist()
    half = config.TokenDeletion(rate=0.5)
    once = corrupt(x, (half,), MARKS)[0].origin
    kept = corrupt(x, (half, half), MARKS)[0].origin
    assert set(kept) < set(once) and len(kept) == len(once) / 2
    places = [np.flatnonzero(np.isin(once[:30], kept)), np.flatnonzero(np.isin(np.arange(30), once[:30]))]
    assert places[0].tolist() != places[1].tolist()  # the second time other places are chosen


def x_turn(x: Texts, turn: int) -> Texts:
    return Texts(x.ids, x.owner, x.origin, x.sentence, x.key, x.epoch, x.seed, turn)
