"""Every check on both sides of each of its thresholds, on readings made up for it."""

import math

import numpy as np
import pytest

from sesame.health import bands, gains, states, training
from sesame.health.check import above, below, not_examined, verdict
from sesame.health.examine import in_words
from sesame.health.levels import Level, entropy

HAIR = 1e-6
WORDS = Level("masked_lm", 6.0, "by word frequency alone")
VIEWS = Level("byol", 4.0, "directions that have nothing to do with the views", moving=True)


@pytest.mark.parametrize("nan", [above(math.nan, 1.0, 0.0), below(math.nan, 0.0, 1.0)])
def test_what_is_no_number_is_ill(nan):
    assert nan == "ill"


@pytest.mark.parametrize(
    ("check", "better", "doubtful", "ill"),
    [
        (states.spread, 1, bands.STD, bands.COLLAPSED),
        (lambda x: states.spread_left(x, 0.5), 1, bands.SPREAD_LEFT / 2, bands.LITTLE_LEFT / 2),
        (lambda x: states.rank(x, x / 64, 8.0), 1, bands.RANK, bands.LOW_RANK),
        (states.alignment, -1, bands.ALIGNMENT, bands.STRANGERS),
        (states.uniformity, -1, bands.UNIFORMITY, bands.POINT),
    ],
)
def test_a_measure_is_healthy_doubtful_or_ill_as_its_thresholds_say(check, better, doubtful, ill):
    assert check(doubtful + better * HAIR).state == "healthy"
    assert check(doubtful - better * HAIR).state == "doubtful"
    assert check(ill + better * HAIR).state == "doubtful"
    assert check(ill - better * HAIR).state == "ill"


def test_a_rank_far_below_the_random_networks_is_in_doubt():
    assert states.rank(20.0, 0.2, 20.0 / bands.RANK_LEFT).state == "healthy"
    assert states.rank(20.0 - HAIR, 0.2, 20.0 / bands.RANK_LEFT).state == "doubtful"


def test_the_decay_of_variances_is_never_ill():
    found = [states.decay(alpha).state for alpha in (0.0, bands.ALPHA_LOW, 1.0, bands.ALPHA_HIGH, 9.0)]
    assert found == ["doubtful", "healthy", "healthy", "healthy", "doubtful"]
    assert states.decay(0.0).advice != states.decay(9.0).advice


def test_codes_are_counted_as_equally_frequent_ones():
    even = states.codes(np.full(50, 7))
    assert even.value == pytest.approx(50) and even.state == "healthy"
    one = np.zeros(100, int)
    one[3] = 1000
    assert states.codes(one).state == "ill" and states.codes(one).value == pytest.approx(1)
    five = np.zeros(100, int)
    five[:5] = 200
    assert states.codes(five).value == pytest.approx(5) and states.codes(five).state == "doubtful"
    rare = np.zeros(10_000, int)  # 20 frames cannot have more than 20 codes
    rare[:20] = 1
    assert states.codes(rare).state == "healthy"
    p = np.array([0.5, 0.25, 0.25, 0.0])
    assert entropy(p) == pytest.approx(1.5 * math.log(2))


def test_idle_heads_are_at_most_in_doubt():
    assert [states.heads(idle, 8).state for idle in (0, 4, 5, 8)] == ["healthy", "healthy", "doubtful", "doubtful"]


# ------------------------------------------------------------------------------------------------- the log
def test_a_loss_on_the_plateau_is_ill_once_all_steps_are_done():
    edge = WORDS.plateau * (1 - bands.PLATEAU)
    assert training.against(WORDS, edge - HAIR, True).state == "healthy"
    assert training.against(WORDS, edge + HAIR, True).state == "ill"
    early = training.against(WORDS, edge + HAIR, False)
    assert early.state == "doubtful" and "on the plateau" in early.reading and "mimetic" in early.advice
    assert "above it" in training.against(WORDS, 8.0, False).reading
    assert training.against(WORDS, None, True).state == "not examined"
    assert training.against(WORDS, math.nan, True).state != "healthy"


def test_a_loss_that_starts_below_the_level_is_measured_from_its_start():
    start = WORDS.plateau * (1 - 2 * bands.PLATEAU)
    edge = start * (1 - bands.PLATEAU)
    assert training.against(WORDS, start, True).state == "healthy"  # nobody knows how it began
    assert training.against(WORDS, edge - HAIR, True, start).state == "healthy"
    still = training.against(WORDS, edge + HAIR, True, start)
    assert still.state == "ill" and "no better than at its start" in still.reading and "mimetic" not in still.advice
    assert training.against(WORDS, start, False, start).state == "doubtful"
    above = WORDS.plateau + 1.0
    assert training.against(WORDS, edge, True, above) == training.against(WORDS, edge, True)


def test_where_all_targets_are_one_there_is_no_way_to_measure_along():
    one = Level("hubert", 0.0, "by the frequency of codes alone")
    for found in (training.against(one, 0.5, True), training.along(rows(0.7, 0.5), rows(0.7, 0.5), [one])):
        assert found.state == "not examined" and "there is nothing to learn" in found.reading


def test_a_loss_at_its_lowest_is_in_doubt_where_collapse_is_a_perfect_answer():
    lowest = VIEWS.plateau * (1 - bands.TOO_GOOD)
    assert training.against(VIEWS, lowest + HAIR, True).state == "healthy"
    assert training.against(VIEWS, lowest - HAIR, True).state == "doubtful"
    assert training.against(WORDS, 0.01, True).state == "healthy"  # of fixed targets it is just good
    simsiam = Level("simsiam", 0.0, "", -1.0, moving=True)
    assert simsiam.progress(-0.5) == pytest.approx(0.5) and training.against(simsiam, -0.5, True).state == "healthy"


def rows(*losses: float) -> list[dict]:
    return [{"step": 10 * i, "loss": loss} for i, loss in enumerate(losses)]


def test_a_held_out_loss_that_rises_is_told_from_divergence_by_the_loss_of_training():
    lowest, scale = 3.0, WORDS.plateau
    for risen, state in ((0.0, "healthy"), (bands.RISEN - HAIR, "healthy"), (bands.RISEN + HAIR, "doubtful"),
                         (bands.FAR_RISEN - HAIR, "doubtful"), (bands.FAR_RISEN + HAIR, "ill")):  # fmt: skip
        held_out = rows(6.0, 4.0, lowest, lowest + risen * scale)
        found = training.along(held_out, rows(6, 5, 3, 2), [WORDS])
        assert found.state == state, risen
    assert "by heart" in found.advice and "step 20" in found.advice
    assert "diverges" in training.along(held_out, rows(6, 5, 3, 7), [WORDS]).advice
    assert training.along(held_out, rows(6, 5, 3, 7), []).state == "not examined"
    assert training.along(held_out[:1], [], [WORDS]).state == "not examined"
    assert "falling" in training.along(rows(6, 5, 4, 3), rows(6, 3), [WORDS]).reading
    assert "falling" not in training.along(rows(6, 3, 3, 3), rows(6, 3), [WORDS]).reading


def test_repeated_text_is_held_against_a_run_only_where_the_held_out_loss_tells():
    gap = {"healthy": bands.GAP, "doubtful": bands.WIDE_GAP, "ill": 2 * bands.WIDE_GAP}
    for state, share in gap.items():
        found = training.passes(bands.EPOCHS + HAIR, rows(2 * (1 + share - HAIR)), rows(2.0))
        assert found.state == state
        assert training.passes(bands.EPOCHS, rows(2 * (1 + share)), rows(2.0)).state == "healthy"
    assert training.passes(40.0, [], rows(2.0)).state == "doubtful"


def test_single_lines_of_the_log_change_no_verdict():
    falling = [5 - 0.1 * i for i in range(20)]
    falling[0], falling[-1] = 3.0, 5.0  # two lines that say the opposite
    held_out = [{"step": 0, "loss": 3.0}, {"step": 200, "loss": 6.0}]
    assert "by heart" in training.along(held_out, rows(*falling), [WORDS]).advice
    assert "diverges" in training.along(held_out, rows(*falling[::-1]), [WORDS]).advice
    for last in (1.8, 2.0, 2.2):
        theirs = rows(*[2.0] * 59, last)
        assert training.passes(2 * bands.EPOCHS, rows(2 * (1 + bands.GAP / 2)), theirs).state == "healthy"


def test_a_gradient_norm_may_neither_jump_nor_grow_nor_vanish():
    calm = [1.0, 1.1] * 18
    assert (
        training.gradient(calm, 1.0).state == "healthy" and "50% clipped at 1" in training.gradient(calm, 1.0).reading
    )
    assert "clipped" not in training.gradient(calm, 0.0).reading
    assert training.gradient([99.0, 50.0, 30.0, *calm], 0.0).state == "healthy"  # how every run begins
    jumps = [bands.SPIKE * 1.2 if i == 20 else norm for i, norm in enumerate(calm)]
    assert training.spikes(jumps) == 1 / 36 and training.gradient(jumps, 0.0).state == "healthy"
    jumps[30] = 99.0
    assert training.spikes(jumps) == 2 / 36 and training.gradient(jumps, 0.0).state == "doubtful"
    for times, state in ((bands.GROWN * 0.99, "healthy"), (bands.GROWN * 1.01, "doubtful"),
                         (bands.BLOWN_UP * 0.99, "doubtful"), (bands.BLOWN_UP * 1.01, "ill")):  # fmt: skip
        assert training.gradient([1.0] * 30 + [times] * 10, 0.0).state == state
    assert training.gradient([1.0] * 30 + [bands.STILL / 2] * 10, 0.0).state == "ill"
    assert training.gradient(calm[: training.LINES - 1], 0.0).state == "not examined"


@pytest.mark.parametrize(
    ("state", "reason", "found"),
    [
        ("finished", "", "healthy"),
        ("running", "", "healthy"),
        ("interrupted", "SIGTERM", "healthy"),
        ("killed", "", "doubtful"),
        ("failed", "disk full", "ill"),
        ("failed", "the loss or the gradient of step 7 is not finite.", "ill"),
    ],
)
def test_how_training_ended(state, reason, found):
    check = training.how_it_ended(state, reason)
    assert check.state == found and ("--optimizer.lr" in check.advice) == ("not finite" in reason)


# --------------------------------------------------------------------------------------------------- gains
def share(value: float, n: int = 1000) -> dict:
    return {"value": value, "n": n}


def test_a_gain_is_clear_beyond_two_standard_errors():
    gain, errors = gains.clear(share(0.6), share(0.5))
    brute = np.random.default_rng(0).binomial(1000, [0.6, 0.5], (200_000, 2)) / 1000
    assert gain == pytest.approx(0.1) and errors == pytest.approx(0.1 / np.std(brute[:, 0] - brute[:, 1]), rel=0.02)
    assert math.isfinite(gains.clear(share(1.0), share(1.0))[1])  # all right leaves an error, too


def test_gains_are_judged_by_their_error_and_by_what_is_left_to_gain():
    over = [gains.over_random(share(0.5 + gain), share(0.5)).state for gain in (0.1, 0.01, -0.01, -0.1)]
    assert over == ["healthy", "doubtful", "doubtful", "ill"]
    raw = [gains.over_raw(share(0.5 + gain), share(0.5)).state for gain in (0.1, 0.01, -0.1)]
    assert raw == ["healthy", "doubtful", "doubtful"]
    little_left = bands.CEILING + 0.05
    assert gains.over_random(share(little_left + 0.005), share(little_left)).state == "healthy"
    assert gains.over_random(share(little_left - 0.005), share(little_left)).state == "doubtful"
    assert gains.over_raw(share(little_left - 0.005), share(little_left)).state == "healthy"
    assert gains.over_raw(share(little_left - 0.1), share(little_left)).state == "doubtful"


# ----------------------------------------------------------------------------------------------- in words
def test_the_verdict_is_the_worst_check_and_names_what_was_not_examined():
    well, doubtful, ill = (states.spread(x) for x in (1.0, 0.3, 0.0))
    unknown = not_examined("gain", "no labels")
    assert [verdict(c) for c in ([well, doubtful, ill], [well, doubtful], [well, unknown], [unknown])] == [
        "ill", "doubtful", "healthy", "not examined"
    ]  # fmt: skip
    assert in_words([well, unknown]) == ("This run is healthy in all that was examined (1 checks). Not examined: gain.")
    assert in_words([ill, doubtful, doubtful]).startswith("This run is ill: collapse. In doubt: collapse and collapse.")
    assert in_words([unknown]).startswith("Nothing could be examined.")
