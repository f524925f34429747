"""Examples on end into given rows."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from sesame.data.layout import Layout


@settings(max_examples=40, deadline=None)
@given(row=st.lists(st.integers(0, 3), min_size=1, max_size=8), data=st.data())
def test_examples_are_laid_out_in_their_rows_in_order(row: list[int], data: st.DataObject) -> None:
    sizes = np.array([data.draw(st.integers(0, 5)) for _ in row])
    ids = 7 + np.arange(sizes.sum())
    rows, at = Layout(np.array(row), 4, pad=0).write(ids, ids + 1, sizes)
    assert rows.x.flatten()[at].tolist() == ids.tolist()
    expected: list[list[int]] = [[], [], [], []]
    for number, r in enumerate(row):
        expected[r] += [number] * int(sizes[number])
    width = max(1, *map(len, expected))
    assert rows.example.tolist() == [numbers + [-1] * (width - len(numbers)) for numbers in expected]
    assert (rows.x[rows.example < 0] == 0).all() and (rows.position[rows.example >= 0] > 0).all()
