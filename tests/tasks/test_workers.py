"""Trainings in other processes: the same results in the same order, and no silence where one of them ends."""

import os
import signal

import pytest
from small_model import make
from small_task import task_data

from sesame.config import FineTune
from sesame.errors import UserError
from sesame.tasks.comparison import compare
from sesame.tasks.workers import Workers


def half(number: int) -> int:
    if number % 2:
        raise UserError(f"{number} is odd")
    return number // 2


def die(_: int) -> int:
    os.kill(os.getpid(), signal.SIGKILL)
    return 0


def test_results_come_in_order_and_errors_reach_who_asked():
    with Workers(2, threads=2) as two:
        assert two.threads == 1
        assert list(two.map(half, range(0, 12, 2))) == [0, 1, 2, 3, 4, 5]
        with pytest.raises(UserError, match="3 is odd"):
            list(two.map(half, [2, 3, 4]))


def test_a_process_that_ends_by_itself_is_said():
    with Workers(2) as two, pytest.raises(UserError, match="fewer than 2 --workers"):
        list(two.map(die, [1, 2]))


def test_two_workers_learn_what_one_does():
    settings = FineTune(epochs=2, min_steps=0, rows=8, evaluations=2, sweep=(1e-3, 1e-2), labels=(12,))
    alone, shared = [], []
    one = compare(make(), task_data(), settings, seeds=2, tell=alone.append)
    with Workers(2, threads=2) as two:
        other = compare(make(), task_data(), settings, seeds=2, tell=shared.append, workers=two)
    assert one.result == other.result
    for events in (alone, shared):
        for event in events:
            event.pop("seconds", None)
            event.pop("train_loss", None)  # the last digits depend on the threads
    assert len(alone) > 50 and alone == shared
    ours, theirs = one.best.network.state_dict(), other.best.network.state_dict()
    assert all(ours[name].allclose(theirs[name], atol=1e-5) for name in ours)
