"""Rows taken apart for attention give what a dense mask over the rows gives, and so do their gradients."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sesame.data.batch import At, Rows
from sesame.models import attention
from sesame.models.attention import Links, attend, links
from sesame.models.relative import RelativePositions
from sesame.models.segments import segments

layouts = st.lists(st.lists(st.integers(1, 9), max_size=4), min_size=1, max_size=4)


def rows_of(layout: list[list[int]], shuffled: np.random.Generator) -> Rows:
    """Rows of examples of the lengths given, with some positions left empty; examples numbered in any order."""
    width = max(map(sum, layout)) + 2
    names = shuffled.permutation(sum(map(len, layout))).tolist()
    example = np.full((len(layout), width), -1)
    position = np.zeros((len(layout), width), np.int64)
    for row, sizes in enumerate(layout):
        at = 0
        for size in sizes:
            example[row, at : at + size], position[row, at : at + size] = names.pop(), np.arange(size)
            at += size
    x = torch.zeros(example.shape, dtype=torch.int64)
    return Rows(x, torch.from_numpy(position), x, torch.from_numpy(example))


def dense(rows: Rows, causal: bool, gain: RelativePositions | None = None) -> Links:
    together = rows.example[:, :, None] == rows.example[:, None, :]
    if causal:
        together &= rows.position[:, :, None] >= rows.position[:, None, :]
    mask = torch.zeros(together.shape, dtype=torch.float64).masked_fill(~together, float("-inf"))
    if gain is None:
        return Links(mask[:, None])
    return Links(mask[:, None] + gain(rows.position[:, None, :] - rows.position[:, :, None]))


@settings(max_examples=60, deadline=None)
@given(layout=layouts, causal=st.booleans(), seed=st.integers(0, 99), some=st.booleans(), relative=st.booleans())
def test_taken_apart_is_a_dense_mask(
    layout: list[list[int]], causal: bool, seed: int, some: bool, relative: bool
) -> None:
    chance = np.random.default_rng(seed)
    rows = rows_of(layout, chance)
    torch.manual_seed(seed)
    shape = (*rows.example.shape, 6)
    query, key, value = (torch.randn(shape, dtype=torch.float64, requires_grad=True) for _ in range(3))
    read = rows.valid.numpy() & (chance.random(rows.example.shape) < 0.4 if some else True)
    at = At.of(read) if some else None
    weight = torch.randn(int(read.sum()), 6, dtype=torch.float64)
    gain = RelativePositions(2, 8, 9, causal).double() if relative else None
    if gain is not None:
        torch.nn.init.normal_(gain.weight)

    wanted = attend(query, key, value, 2, dense(rows, causal, gain))[torch.from_numpy(read)]
    linked = links(rows, at=at, causal=causal, gain=gain, dtype=torch.float64)
    assert linked.segments is not None and linked.mask is None
    if at is None:
        whole = attend(query, key, value, 2, linked)
        assert not whole[~rows.valid].any()
        found = whole[torch.from_numpy(read)]
    else:
        found = attend(query[torch.from_numpy(read)], key, value, 2, linked)
    torch.testing.assert_close(found, wanted)
    inputs = (query, key, value, *([] if gain is None else [gain.weight]))
    for one, other in zip(
        torch.autograd.grad((found * weight).sum(), inputs, allow_unused=True, materialize_grads=True),
        torch.autograd.grad((wanted * weight).sum(), inputs),
        strict=True,
    ):
        torch.testing.assert_close(one, other)


def test_examples_of_about_one_length_stand_together_and_little_is_empty() -> None:
    sizes = np.random.default_rng(0).integers(1, 129, 64)
    example = np.repeat(np.arange(64), sizes)
    position = np.concatenate([np.arange(n) for n in sizes])
    apart = segments(example, position, dtype=torch.float32)
    assert sum(group.examples for group in apart.groups) == 64
    assert all(group.mask is None or group.mask.shape[-1] == group.keys for group in apart.groups)
    pairs = sum(group.examples * group.queries * group.keys for group in apart.groups)
    assert (sizes**2).sum() <= pairs < 1.5 * (sizes**2).sum()
    assert sorted(apart.keys.at.tolist()) == list(range(len(example)))


def test_examples_of_one_length_need_no_mask() -> None:
    example = np.repeat(np.arange(3), 5)
    (group,) = segments(example, np.tile(np.arange(5), 3), dtype=torch.float32).groups
    assert (group.examples, group.queries, group.keys, group.mask) == (3, 5, 5, None)


@pytest.mark.parametrize("memory", [False, True])
def test_other_devices_and_cross_attention_keep_the_mask(memory: bool) -> None:
    rows = rows_of([[2, 3]], np.random.default_rng(0))
    if memory:
        assert links(rows, rows, dtype=torch.float32).segments is None
    else:
        linked = attention.links(rows.to("meta"), dtype=torch.float32)
        assert linked.segments is None and linked.mask is not None
