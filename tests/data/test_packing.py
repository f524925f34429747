import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sesame.data.packing import pack


@settings(max_examples=100, deadline=None)
@given(st.integers(1, 40).flatmap(lambda c: st.tuples(st.just(c), st.lists(st.integers(1, c), max_size=60))))
def test_every_length_is_in_one_row_and_no_row_overflows(case: tuple[int, list[int]]) -> None:
    capacity, lengths = case
    rows = pack(lengths, capacity)
    assert sorted(i for row in rows for i in row) == list(range(len(lengths)))
    filled = [sum(lengths[i] for i in row) for row in rows]
    assert all(0 < f <= capacity for f in filled)
    # Best fit decreasing is within 11/9 of the fewest rows (Johnson 1973), of which the sum is a lower bound.
    assert len(rows) <= np.ceil(11 / 9 * max(np.ceil(sum(lengths) / capacity), 0) + 4)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(1, 12), max_size=30))
def test_the_tightest_open_row_is_taken(lengths: list[int]) -> None:
    free: list[int] = []
    for length in sorted(lengths, reverse=True):  # brute force: look at every open row
        fits = [i for i, space in enumerate(free) if space >= length]
        best = min(fits, key=lambda i: free[i], default=None)
        if best is None:
            free.append(12 - length)
        else:
            free[best] -= length
    found = [12 - sum(lengths[i] for i in row) for row in pack(lengths, 12)]
    assert sorted(found) == sorted(free)


def test_ragged_documents_leave_next_to_nothing_empty() -> None:
    lengths = np.minimum(np.random.default_rng(0).geometric(1 / 60, 5000) + 2, 128)
    assert lengths.sum() / (len(pack(lengths, 128)) * 128) > 0.98


@pytest.mark.parametrize("lengths", [[0], [5]])
def test_what_does_not_fit_is_refused(lengths: list[int]) -> None:
    with pytest.raises(ValueError, match=r"1\.\.4"):
        pack(lengths, 4)
