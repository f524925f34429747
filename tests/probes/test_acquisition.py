"""When something was learned: against brute force, and against curves of which it is known."""

from itertools import combinations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from items import tables
from scipy.optimize import isotonic_regression
from scipy.stats import somersd

from sesame.errors import UserError
from sesame.probes.acquisition import LAST, SHARES, Rise, acquired, agreement, isotonic, reach, rises
from sesame.probes.answers import Answered, answered, curves, resampled
from sesame.probes.table import form_of

STEPS = [0, *(1 << k for k in range(14))]


def run_of(right: dict[str, np.ndarray], steps=STEPS, label: str = "the run", **told) -> Answered:
    return answered(*tables(right, steps, **told), "word-classes", "mask_prediction", label=label)


def logistic(middle: float, plateau: float = 0.8) -> np.ndarray:
    """The chance of being right at each of STEPS, which rises around e**middle steps."""
    return plateau / (1 + np.exp(-2 * (np.log(np.maximum(STEPS, 0.5)) - middle)))


def drawn(chance: np.ndarray, items: int, seed: int) -> np.ndarray:
    return (np.random.default_rng(seed).random((items, len(chance))) < chance).astype(float)


# ---------------------------------------------------------------------------------------------- answers
@pytest.mark.parametrize(("full_at", "form"), [([0, 2], "live"), ([0, 1, 2, 4], "full"), ([0, 2, 4, 8, 16], "full")])
def test_of_two_forms_one_counts_at_all_steps(full_at: list[int], form: str) -> None:
    """The full one asks items that the live one does not: together they would rise and fall by that alone."""
    live_at = [0, 1, 2, 4]
    live = np.array([[0.0, 0, 0, 1], [0, 1, 1, 1]])
    full = np.concatenate([np.ones((1, len(full_at))), np.zeros((3, len(full_at)))])
    both = [tables({"noun": full}, full_at), tables({"noun": live}, live_at, form="live")]
    values, items = (pa.concat_tables(parts) for parts in zip(*both, strict=True))
    found = answered(values, items, "word-classes", "mask_prediction")
    np.testing.assert_array_equal(found.right, full if form == "full" else live)
    assert found.steps.tolist() == (full_at if form == "full" else live_at) and found.counted
    assert found.tokens.tolist() == [1000 * step for step in found.steps.tolist()]


def test_enough_measurements_in_full_make_a_curve_whatever_there_is_live() -> None:
    assert [form_of(full, live) for full, live in ((0, 9), (7, 200), (8, 200), (3, 3), (1, 0))] == [
        "live", "live", "full", "full", "full",
    ]  # fmt: skip


def test_the_order_of_the_rows_says_nothing() -> None:
    right = {name: drawn(logistic(m), 9, seed) for seed, (name, m) in enumerate({"b": 2.0, "a": 4.0}.items())}
    values, items = tables(right, STEPS, baseline={"a": 0.25, "b": 0.5})
    mixed = items.take(np.random.default_rng(0).permutation(len(items)))
    one, two = (answered(values, table, "word-classes", "mask_prediction") for table in (items, mixed))
    np.testing.assert_array_equal(one.right, two.right)
    assert (one.keys == two.keys).all() and one.groups == two.groups and one.names() == ["a", "b"]
    assert one.baseline == {"a": 0.25, "b": 0.5}
    np.testing.assert_array_equal(one.of("a").right, right["a"])


def test_what_is_not_there_or_not_clear_is_said() -> None:
    values, items = tables({"noun": np.ones((2, 2))}, [0, 1])
    with pytest.raises(UserError, match=r"no items of rank, mask_prediction.*: word-classes, mask_prediction"):
        answered(values, items, "rank", "mask_prediction")
    other = tables({"noun": np.ones((2, 2))}, [0, 1], source="gold.conllu")[1]
    with pytest.raises(UserError, match="several sources"):
        answered(values, pa.concat_tables([items, other]), "word-classes", "mask_prediction")
    with pytest.raises(UserError, match="at 4 steps or more"):
        acquired([answered(values, items, "word-classes", "mask_prediction")])


def test_without_tokens_it_is_counted_in_steps() -> None:
    found = run_of({"noun": np.ones((2, 5))}, [0, 1, 2, 4, 8], tokens=-1)
    assert not found.counted and found.tokens.tolist() == [0, 1, 2, 4, 8]


@settings(max_examples=20, deadline=None)
@given(data=st.data(), items=st.integers(1, 6), steps=st.integers(1, 5))
def test_curves_of_resamples_are_means_over_their_items(data, items: int, steps: int) -> None:
    right = data.draw(arrays(float, (items, steps), elements=st.sampled_from([0.0, 1.0, np.nan])))
    weight = resampled(np.arange(items, dtype=np.uint64), 7)
    assert (weight.sum(1) == items).all() and (weight[0] == 1).all()
    made = curves(right, weight)
    for r, often in enumerate(weight):
        for step in range(steps):
            chosen = [right[i, step] for i in range(items) for _ in range(often[i]) if not np.isnan(right[i, step])]
            assert made[r, step] == pytest.approx(np.mean(chosen) if chosen else made[0, step])


def test_the_same_items_are_drawn_in_every_run() -> None:
    keys = np.random.default_rng(0).integers(0, 2**63, 40).astype(np.uint64)
    assert (resampled(keys, 50) == resampled(keys.copy(), 50)).all()
    drawn_often = resampled(keys, 4000)[1:]
    np.testing.assert_allclose(drawn_often.mean(0), 1, atol=0.1)  # every item equally often, …
    np.testing.assert_allclose(drawn_often.var(0), 1 - 1 / 40, atol=0.15)  # … as if drawn one by one


# ---------------------------------------------------------------------------------------------- reached
@settings(max_examples=40, deadline=None)
@given(data=st.data(), steps=st.integers(1, 12))
def test_the_fit_is_the_isotonic_regression(data, steps: int) -> None:
    values = data.draw(arrays(float, (3, steps), elements=st.floats(0, 1)))
    weight = data.draw(arrays(np.int64, steps, elements=st.integers(1, 9)))
    expected = [isotonic_regression(curve, weights=weight).x for curve in values]
    np.testing.assert_allclose(isotonic(values, weight), expected, atol=1e-12)


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_a_level_is_reached_where_the_line_crosses_it(data) -> None:
    fit = np.sort(data.draw(arrays(float, 6, elements=st.floats(0, 1, width=16))))
    level = data.draw(st.floats(0, 1)) * fit[-1]
    tokens = np.array([0, 10, 40, 50, 800, 3000])
    found = reach(fit[None], tokens, np.array([level]))[0]
    for i in range(6):
        if fit[i] >= level - 1e-12:
            break
    if i == 0:
        assert found == 0
    elif i == 1:
        assert found == pytest.approx(10 * (level - fit[0]) / (fit[1] - fit[0]), abs=1e-6)
    else:
        expected = np.exp(np.interp(level, fit[i - 1 : i + 1], np.log(tokens[i - 1 : i + 1])))
        assert found == pytest.approx(expected, rel=1e-6)


def test_a_line_over_the_logarithm_is_read_exactly() -> None:
    """Of 64 items that know once and for all, one more is right at each e-fold: half are at the middle of the log."""
    steps = [*np.round(np.exp(np.linspace(0, 8, 65))).astype(int)]
    steps = sorted(set(steps))
    share = (np.log(steps) / np.log(steps[-1]) * 640).round()
    right = (np.arange(640)[:, None] < share[None]).astype(float)
    found = acquired([run_of({"noun": right}, steps)], resamples=50).groups[0]
    final = right[:, -LAST:].mean()
    for reached in found.reached:
        assert np.log(reached.step) == pytest.approx(reached.share * final * np.log(steps[-1]), abs=0.02)
        assert reached.tokens == pytest.approx(1000 * reached.step, rel=1e-3)
        assert reached.tokens_low < reached.tokens < reached.tokens_high


def test_one_unlucky_measurement_is_neither_learning_nor_forgetting() -> None:
    """A curve at its final score from step 16 on, but for one measurement, is learned by 16 and not after that one."""
    right = np.zeros((100, len(STEPS)))
    right[:, 5:] = 1
    right[:15, 9] = 0
    found = acquired([run_of({"noun": right})], resamples=50).groups[0]
    assert 8 < found.reached[0].step <= 16 and found.reached[1].step <= 16


def test_intervals_hold_the_truth_as_often_as_they_say() -> None:
    truth = {name: logistic(middle) for name, middle in {"early": 3.0, "late": 5.5}.items()}
    tokens = 1000 * np.array(STEPS)
    inside = []
    for seed in range(50):
        run = run_of({name: drawn(chance, 60, 2 * seed + i) for i, (name, chance) in enumerate(truth.items())})
        for group in acquired([run], published=(), resamples=150).groups:
            curve = truth[group.name][None]
            for reached in group.reached:
                level = np.array([reached.share * curve[0, -LAST:].mean()])
                true = reach(isotonic(curve, np.ones(len(STEPS), np.int64)), tokens, level)[0]
                inside.append((reached.share, reached.tokens_low <= true <= reached.tokens_high))
    for share in SHARES:
        held = np.mean([hit for of, hit in inside if of == share])
        assert held > 0.88, (share, held)  # 0.95 of 100, less often than once in two hundred
    assert np.mean([hit for _, hit in inside]) < 1


# ----------------------------------------------------------------------------------------------- orders
def test_what_ends_low_or_at_the_baseline_was_not_learned() -> None:
    right = {name: drawn(logistic(3.0, plateau), 300, i) for i, (name, plateau) in enumerate(
        {"high": 0.8, "low": 0.07, "frequent": 0.5, "above": 0.5}.items()
    )}  # fmt: skip
    found = acquired([run_of(right, baseline={"high": 0.3, "frequent": 0.7, "above": 0.2})], resamples=20)
    why = {group.name: group.not_learned for group in found.groups}
    assert why["high"] == why["above"] == ""
    assert "not above 10%" in why["low"] and "unigram baseline, 70.0%" in why["frequent"]
    assert set(found.learned) == {"high", "above"} and [bool(g.reached) for g in found.groups] == [1, 1, 0, 0]


def test_of_pairs_half_are_right_by_guessing() -> None:
    """A coin learned nothing; what rises from a half to nine tenths has half of that where it has seven tenths."""
    coin = np.random.default_rng(0).random((200, len(STEPS))) < 0.5
    risen = np.array([0.5] * 8 + [0.7] + [0.9] * 6)
    known = (np.arange(200)[:, None] < 200 * risen).astype(float)
    run = run_of({"coin": coin.astype(float), "known": known}, chance={"coin": 0.5, "known": 0.5})
    found = acquired([run], resamples=50)
    assert found.learned == ("known",)
    assert "not clearly above the 50% of guessing" in found.groups[1].not_learned
    assert found.groups[0].reached[0].step == pytest.approx(STEPS[8])


def test_runs_with_and_without_tokens_are_both_counted_in_steps() -> None:
    right = {"noun": drawn(logistic(3.0), 200, 0)}
    both = acquired([run_of(right), run_of(right, tokens=-1)], resamples=10)
    (half, _) = both.groups[0].reached
    assert not both.counted and half.tokens == pytest.approx(half.step)


def test_a_group_that_one_run_lacks_is_named() -> None:
    a, b = ({name: drawn(logistic(3.0), 50, i) for i, name in enumerate(names)} for names in (["x", "y"], ["x"]))
    found = acquired([run_of(a), run_of(b)], resamples=10)
    assert [group.name for group in found.groups] == ["x"] and found.left_out == ("y",)
    assert acquired([run_of(b), run_of(a)], resamples=10).left_out == ("y",)


def test_the_order_of_three_groups_and_how_sure_it_is() -> None:
    middles = {"c": 6.0, "b": 3.1, "a": 3.0}
    run = run_of({name: drawn(logistic(m), 80, i) for i, (name, m) in enumerate(middles.items())})
    found = acquired([run], resamples=400)
    assert found.learned[2] == "c" and found.groups[2].name == "c"
    place = {name: i for i, name in enumerate(found.learned)}
    before = found.before[0.5]
    assert before[place["a"], place["c"]] == before[place["b"], place["c"]] == 1
    assert 0 < before[place["a"], place["b"]] < 1
    np.testing.assert_allclose(before + before.T, 1)
    ranks = {group.name: group.reached[0] for group in found.groups}
    assert (ranks["c"].rank, ranks["c"].rank_low, ranks["c"].rank_high) == (3, 3, 3)
    assert {ranks["a"].rank, ranks["b"].rank} == {1, 2}
    assert (ranks["a"].rank_low, ranks["a"].rank_high) == (1, 2)


def test_seeds_are_combined_and_compared() -> None:
    orders = [{"a": 2.0, "b": 4.0, "c": 6.0}, {"a": 2.0, "b": 6.5, "c": 5.0}, {"a": 2.2, "b": 4.2, "c": 6.0}]
    runs = [run_of({name: drawn(logistic(m), 200, 7 * seed + i) for i, (name, m) in enumerate(order.items())})
            for seed, order in enumerate(orders)]  # fmt: skip
    found = acquired(runs, resamples=300)
    alone = [{group.name: group.reached[0] for group in acquired([run], resamples=300).groups} for run in runs]
    for a, b in combinations(range(3), 2):
        signs = [np.sign(alone[a][x].tokens - alone[a][y].tokens) * np.sign(alone[b][x].tokens - alone[b][y].tokens)
                 for x, y in combinations("abc", 2)]  # fmt: skip
        assert found.seeds[a, b] == pytest.approx(np.mean(signs))
    together = {group.name: group.reached[0] for group in found.groups}
    for name in "abc":
        mean = np.exp(np.mean([np.log(each[name].tokens + 1000) for each in alone])) - 1000  # a step has 1000
        assert together[name].tokens == pytest.approx(mean)
    width = {name: np.log(r.tokens_high / r.tokens_low) for name, r in together.items()}
    assert width["b"] > 3 * width["a"]  # the seeds differ in b
    assert 0.5 < found.before[0.5][found.learned.index("b"), found.learned.index("c")] < 1


def test_a_seed_that_is_there_at_the_start_is_no_token_among_thousands() -> None:
    """The mean is between the two in tokens and in steps alike, whatever a step holds."""
    late, at_once = np.array([[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1.0]]), np.ones((1, 15))
    found = acquired([run_of({"a": late}), run_of({"a": at_once})], resamples=10)
    (half, _) = found.groups[0].reached
    assert acquired([run_of({"a": at_once})] * 2, resamples=10).groups[0].reached[0].tokens == 0.0
    alone = acquired([run_of({"a": late})], resamples=10).groups[0].reached[0].step
    assert half.step == pytest.approx(np.sqrt(alone + 1) - 1) and alone > 1000
    assert half.tokens == pytest.approx(1000 * half.step)


@settings(max_examples=30, deadline=None)
@given(data=st.data(), groups=st.integers(2, 6))
def test_agreement_counts_the_pairs_that_the_given_order_tells_apart(data, groups: int) -> None:
    tiers = data.draw(arrays(int, groups, elements=st.integers(0, 2)))
    times = data.draw(st.lists(st.integers(1, 99), min_size=groups, max_size=groups, unique=True))
    published = [[f"g{i}" for i in range(groups) if tiers[i] == tier] for tier in range(3)]
    found = agreement({f"g{i}": np.array([float(time)] * 3) for i, time in enumerate(times)}, [*published, ["other"]])
    pairs = [(i, j) for i in range(groups) for j in range(groups) if tiers[i] < tiers[j]]
    if not pairs:
        assert found is None
        return
    assert (found.pairs, found.agreeing) == (len(pairs), sum(times[i] < times[j] for i, j in pairs))
    assert found.tau == pytest.approx(somersd(tiers, times).statistic) == found.low == found.high


# ------------------------------------------------------------------------------------------------ rises
def test_a_sudden_rise_is_found_where_it_is() -> None:
    chance = np.where(np.array(STEPS) >= 64, 0.8, 0.2)
    found = rises(run_of({"noun": drawn(chance, 100, 0)}), "noun", 0.25)
    assert [(rise.step, rise.tokens) for rise in found] == [((32, 64), (32_000, 64_000))]
    (rise,) = found
    assert isinstance(rise, Rise) and rise.low < rise.score[1] - rise.score[0] < rise.high


def test_noise_makes_no_rises() -> None:
    level = np.full(len(STEPS), 0.5)
    sudden = [bool(rises(run_of({"noun": drawn(level, 60, seed)}), "noun", 0.0, 150)) for seed in range(50)]
    assert np.mean(sudden) < 0.15  # one run in twenty; above 0.15 once in a thousand times
