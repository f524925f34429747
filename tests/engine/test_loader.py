"""Batches ahead of time: in order, errors heard, the interpreter's turns as they were before."""

import sys
from types import SimpleNamespace

import pytest
import torch

from sesame.data.batch import Cursor
from sesame.engine.loader import TURN, ahead
from sesame.errors import UserError
from sesame.pretext.base import Split


def _steps(count: int):
    for number in range(count):
        part = SimpleNamespace(key=[number])
        yield SimpleNamespace(parts=(part,), cursor=Cursor(), size=1)


def _split(part) -> Split:
    return Split(torch.tensor([part.key[0]]), {}, {}, size=1)


def test_steps_come_in_order_and_turns_are_given_back():
    before = sys.getswitchinterval()
    with ahead(_steps(9), _split, 9, torch.float32) as ready:
        assert sys.getswitchinterval() == pytest.approx(TURN)
        assert [step.keys for step in ready] == [(number,) for number in range(9)]
    assert sys.getswitchinterval() == pytest.approx(before)


def test_data_that_ends_early_is_an_error_and_turns_are_given_back():
    before = sys.getswitchinterval()
    with pytest.raises(UserError, match="after 3 of 9 steps"), ahead(_steps(3), _split, 9, torch.float32) as ready:
        list(ready)
    assert sys.getswitchinterval() == pytest.approx(before)
