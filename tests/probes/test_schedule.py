"""When to measure: within the budget, often at first, and at the same steps however the run is cut."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as some

from sesame.config import Watch
from sesame.errors import UserError
from sesame.probes.schedule import Schedule, affordable, asked, ladder, planned, read


def test_the_ladder_is_that_of_pythias_checkpoints():
    published = [0, 1, 2, 4, 8, 16, 32, 64, 128, 256, 512, *range(1000, 143_001, 1000)]
    assert ladder(1000, 143_000) == published
    assert len(published) == 154


@given(end=some.integers(0, 3000), most=some.integers(0, 200))
def test_as_many_steps_as_fit_and_the_powers_of_two_first(end, most):
    steps = affordable(end, most)
    assert steps == sorted(set(steps)) and steps[0] == 0 and steps[-1] == end
    between = set(steps) - {0, end}
    assert len(between) <= most
    powers = {1 << k for k in range(13) if 1 << k < end}
    if len(powers) > most:
        assert between <= powers and len(between) == most
        return
    # The smallest N that fits, found the slow way; its powers of two are those below it.
    for every in range(1, max(end, 1) + 1):
        expected = {p for p in powers if p < every} | set(range(every, end, every))
        if len(expected) <= most:
            assert between == expected
            return
    assert not between


@given(
    end=some.integers(1, 100_000),
    cost=some.floats(1e-3, 100),
    left=some.floats(-10, 1000),
)
def test_the_budget_is_kept_apart_from_the_first_and_the_last(end, cost, left):
    plan = planned(end, cost, left, 50.0)
    assert plan.at[0] == 0 and plan.at[-1] == end
    after_the_first = len(plan.at) - 1
    assert after_the_first == 1 or after_the_first * cost <= left * (1 + 1e-9)


def test_nothing_to_train_is_measured_once():
    assert planned(0, 1.0, 100.0, 100.0).at == (0,)


@given(at=some.sets(some.integers(0, 500)), sizes=some.lists(some.integers(1, 60), min_size=1, max_size=30))
def test_each_threshold_is_met_at_the_first_step_that_has_seen_so_many_tokens(at, sizes):
    plan = Schedule(at=tuple(sorted(at)), unit="tokens")
    seen = [0]
    for size in sizes:
        seen.append(seen[-1] + size)
    expected = {next(step for step, size in enumerate(seen) if size >= a) for a in at if a <= seen[-1]}
    found = {step for step in range(1, len(seen)) if plan.due(seen[step - 1], seen[step])}
    assert found | ({0} if plan.due(-1, 0) else set()) == expected


def test_what_is_asked_for_outweighs_the_budget():
    assert asked(Watch(), 100) is None
    named = asked(Watch(at=(7, 3, 7), every=5, unit="tokens", budget=0.0), 100)
    assert named is not None and (named.at, named.unit, named.last) == ((3, 7), "tokens", False)
    every = asked(Watch(every=5), 12)
    assert every is not None and (every.at, every.last) == ((0, 1, 2, 4, 5, 10), True)


def test_a_schedule_is_read_as_it_was_written(tmp_path):
    assert read(tmp_path) is None
    plan = planned(1000, 0.5, 20.0, 21.0)
    plan.write(tmp_path)
    assert read(tmp_path) == plan
    assert [path.name for path in tmp_path.iterdir()] == ["probes.json"]
    assert msgspec.json.decode((tmp_path / "probes.json").read_bytes())["cost"] == 0.5
    (tmp_path / "probes.json").write_text("{")
    with pytest.raises(UserError, match=r"probes\.json is damaged .*Remove it"):
        read(tmp_path)
