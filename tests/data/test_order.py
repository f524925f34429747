"""Order: every epoch once through everything, the same whoever reads it and from wherever."""

import itertools
from itertools import islice, pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sesame.data.batch import Cursor
from sesame.data.order import HELD_OUT, Order, held_out
from sesame.errors import UserError


@given(things=st.integers(3, 60), rows=st.integers(1, 60), seed=st.integers(0, 9))
@settings(max_examples=30, deadline=None)
def test_an_epoch_takes_no_thing_twice_and_leaves_less_than_a_step(things: int, rows: int, seed: int) -> None:
    rows = min(rows, things)
    turns = itertools.takewhile(lambda turn: turn.epoch == 0, Order(things, rows, seed).turns(Cursor(), 1))
    taken = np.concatenate([turn.whole for turn in turns])
    assert len(set(taken.tolist())) == len(taken) == things - things % rows


def test_epochs_differ_and_start_with_another_thing_left_over() -> None:
    order = Order(10, 4, seed=0)
    first = [tuple(turn.whole) for turn in itertools.islice(order.turns(Cursor(), 1), 40)]
    assert len(set(first)) == 40
    assert {i for part in first for i in part} == set(range(10))


@given(rows=st.integers(6, 20), world=st.integers(1, 3), parts=st.integers(1, 2), seen=st.integers(0, 12))
@settings(max_examples=30, deadline=None)
def test_processes_and_micro_batches_share_one_global_step_from_any_cursor(
    rows: int, world: int, parts: int, seen: int
) -> None:
    alone = list(itertools.islice(Order(40, rows, 7).turns(Cursor(), 1), seen + 3))
    cursor = alone[seen - 1].cursor if seen else Cursor()
    shared = [itertools.islice(Order(40, rows, 7, r, world).turns(cursor, parts), 3) for r in range(world)]
    for one, *each in zip(alone[seen:], *shared, strict=True):
        assert np.concatenate([part for turn in each for part in turn.mine]).tolist() == one.mine[0].tolist()
        assert all(turn.whole.tolist() == one.whole.tolist() for turn in each)
        assert all((turn.epoch, turn.cursor) == (one.epoch, one.cursor) for turn in each)


def test_too_little_data_and_too_many_processes_say_what_fits() -> None:
    with pytest.raises(UserError, match="at most 5 rows"):
        Order(5, 6, 0)
    with pytest.raises(UserError, match="at least 12 rows"):
        next(Order(50, 10, 0, world=4).turns(Cursor(), 3))


def test_a_tenth_is_held_out_and_equal_content_is_on_one_side() -> None:
    key = np.random.default_rng(0).integers(0, 2**63, 20_000).astype(np.uint64)
    away = held_out(key)
    assert abs(away.mean() - HELD_OUT) < 0.01
    assert (held_out(key[::-1])[::-1] == away).all()


# ------------------------------------------------------------------------------------- sorted by size, in pools
SIZE = np.random.default_rng(0).integers(10, 500, 103)


def steps_of(order: Order, cursor: Cursor, count: int) -> list[np.ndarray]:
    return [turn.whole for turn in islice(order.turns(cursor, 1), count)]


def test_a_pool_holds_the_things_that_its_steps_would_hold_unsorted() -> None:
    sorted_, plain = Order(103, 8, 3, size=SIZE, pool=5), Order(103, 8, 3)
    for epoch in (0, 1):
        mine, usual = (steps_of(order, Cursor(epoch=epoch), 12) for order in (sorted_, plain))
        for begin in range(0, 12, 5):  # the last pool is smaller
            pool = np.concatenate(mine[begin : begin + 5])
            assert sorted(pool) == sorted(np.concatenate(usual[begin : begin + 5]))
        assert len(set(np.concatenate(mine).tolist())) == 96


def test_within_a_pool_steps_do_not_overlap_in_size_and_come_in_keyed_order() -> None:
    order = Order(103, 8, 3, size=SIZE, pool=5)
    pools = [steps_of(order, Cursor(epoch=epoch), 5) for epoch in range(8)]
    orders = []
    for pool in pools:
        by_size = sorted(range(5), key=lambda i: SIZE[pool[i]].min())
        orders.append(tuple(by_size))
        for a, b in pairwise(by_size):
            assert SIZE[pool[a]].max() <= SIZE[pool[b]].min()
    assert len(set(orders)) > 4


def test_sorting_leaves_less_padding() -> None:
    def padded(order: Order) -> float:
        steps = steps_of(order, Cursor(), 12)
        return 1 - sum(SIZE[s].sum() for s in steps) / sum(len(s) * SIZE[s].max() for s in steps)

    assert padded(Order(103, 8, 3, size=SIZE, pool=12)) < 0.1 < 0.3 < padded(Order(103, 8, 3))


def test_a_sorted_order_goes_on_from_any_step() -> None:
    order = Order(103, 8, 3, size=SIZE, pool=5)
    turns = list(islice(order.turns(Cursor(), 1), 30))
    for begin in range(29):
        after = next(order.turns(turns[begin].cursor, 1))
        assert (after.whole == turns[begin + 1].whole).all() and after.cursor == turns[begin + 1].cursor


def test_a_pool_of_one_step_is_the_usual_order() -> None:
    mine, usual = steps_of(Order(103, 8, 3, size=SIZE, pool=1), Cursor(), 24), steps_of(Order(103, 8, 3), Cursor(), 24)
    assert all(sorted(a) == sorted(b) for a, b in zip(mine, usual, strict=True))
