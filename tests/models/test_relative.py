"""Buckets of distances are those of transformers' T5, and every path of attention gains by them."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers.models.t5.modeling_t5 import T5Attention

from sesame.data.batch import At, Rows
from sesame.models.attention import Links, attend, links
from sesame.models.relative import RelativePositions, bucket_of


@settings(max_examples=40, deadline=None)
@given(half=st.integers(2, 20), farthest=st.integers(21, 300), causal=st.booleans())
def test_buckets_are_those_of_t5(half: int, farthest: int, causal: bool) -> None:
    distance = torch.arange(-400, 401)
    theirs = T5Attention._relative_position_bucket(distance, not causal, 2 * half, farthest)
    assert torch.equal(bucket_of(distance, 2 * half, farthest, causal), theirs)


def test_near_distances_have_a_bucket_each_and_the_published_table_is_full() -> None:
    both, past = (bucket_of(torch.arange(-200, 201), 32, 128, causal) for causal in (False, True))
    assert set(both.tolist()) == set(range(32)) - {16} and set(past.tolist()) == set(range(32))  # 16: 0 ahead
    assert both[200 - 7 : 200 + 8].unique().numel() == 15  # up to 7 either way
    assert (past[200:] == 0).all() and past[200 - 15 : 201].unique().numel() == 16


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("alone", [False, True])
@pytest.mark.parametrize("some", [False, True])
def test_scores_gain_in_every_path(causal: bool, alone: bool, some: bool) -> None:
    torch.manual_seed(0)
    gain = RelativePositions(2, 8, 9, causal).double()
    torch.nn.init.normal_(gain.weight)
    example = torch.zeros(2, 7).long() if alone else torch.tensor([[0, 0, 0, 1, 1, 1, -1], [2, 2, 2, 2, 2, 2, 2]])
    position = torch.arange(7).repeat(2, 1) if alone else torch.tensor([[0, 1, 2, 0, 1, 2, 0], list(range(7))])
    example = example + torch.arange(2)[:, None] if alone else example
    rows = Rows(example, position, example, example, alone)
    query, key, value = (torch.randn(2, 7, 8, dtype=torch.float64) for _ in range(3))
    read = rows.valid & (position % 2 == 0) if some else rows.valid
    at = At.of(read.numpy()) if some else None

    def by_hand(row: int, q: int) -> torch.Tensor:
        mine = [k for k in range(7) if example[row, k] == example[row, q]]
        ks = [k for k in mine if position[row, k] <= position[row, q] or not causal]
        heads = []
        for h in range(2):
            part = slice(4 * h, 4 * h + 4)
            away = torch.stack([position[row, k] - position[row, q] for k in ks])
            score = torch.stack([query[row, q, part] @ key[row, k, part] for k in ks])
            paid = (score + gain.weight[bucket_of(away, 8, 9, causal), h]).softmax(0)
            heads.append(sum(p * value[row, k, part] for p, k in zip(paid, ks, strict=True)))
        return torch.cat(heads)

    wanted = torch.stack([by_hand(int(r), int(q)) for r, q in read.nonzero()])
    linked = links(rows, at=at, causal=causal, gain=gain, dtype=torch.float64)
    assert linked.segments is not None
    asked = query if at is None else query[read]
    found = attend(asked, key, value, 2, linked, scale=1.0)
    torch.testing.assert_close(found if some else found[read], wanted)
    # where rows are not taken apart, on another device
    mask = masked(rows, at, causal, gain)
    gathered = query if at is None else query.gather(1, at.time[:, :, None].expand(-1, -1, 8))
    found = attend(gathered, key, value, 2, mask, scale=1.0)
    torch.testing.assert_close(found[read] if at is None else found.flatten(0, 1)[at.flat], wanted)


def masked(rows: Rows, at: At | None, causal: bool, gain: RelativePositions) -> Links:
    from sesame.models.attention import mask_of

    return Links(mask_of(rows, None, at, causal, gain, dtype=torch.float64))
