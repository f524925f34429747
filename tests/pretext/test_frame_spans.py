"""Hidden spans: how many, how long, where, and that chance depends on the utterance alone."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small_frames import BOTH_SIDES, FROM_LEFT, batch, objective

from sesame import config
from sesame.errors import UserError
from sesame.pretext.frame_spans import hidden_frames, span_starts


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 300), st.floats(0.05, 0.9), st.integers(1, 20), st.integers(0, 2**63))
def test_spans_lie_inside_the_utterance_and_there_are_as_many_as_the_rate_says(
    size: int, rate: float, span: int, key: int
) -> None:
    c = config.FrameSpans(rate=rate, span=span)
    one = dataclasses.replace(batch((size,)), key=np.array([key], np.uint64))
    starts = span_starts(one, 0, c)
    assert len(set(starts.tolist())) == len(starts) >= 1
    assert starts.min() >= 0 and starts.max() <= max(size - span, 0)
    assert len(starts) == min(max(round(size * rate / span), 1), max(size - span, 0) + 1)
    padded = dataclasses.replace(one, frames=np.pad(one.frames, ((0, 0), (0, 13), (0, 0))))
    hidden = hidden_frames(padded, c)[0]
    expected = {start + k for start in starts.tolist() for k in range(span)} & set(range(size))
    assert set(np.flatnonzero(hidden).tolist()) == expected  # nothing beyond the true length


def test_the_share_hidden_is_that_of_spans_thrown_without_regard_to_each_other() -> None:
    c = config.FrameSpans(rate=0.8, span=10)
    shares = [hidden_frames(batch((1000,), first=key), c).mean() for key in range(40)]
    assert np.mean(shares) == pytest.approx(1 - np.exp(-0.8), abs=0.015)  # about 55%, as HuBERT's .8 × 10 gives
    low = [hidden_frames(batch((1000,), first=key), config.FrameSpans()).mean() for key in range(40)]
    assert np.mean(low) == pytest.approx(1 - np.exp(-0.15), abs=0.01) and max(low) <= 0.15


def test_every_place_is_as_likely_as_another() -> None:
    c = config.FrameSpans(rate=0.1, span=1)
    hits = sum(hidden_frames(batch((40,), first=key), c)[0].astype(int) for key in range(1500))
    assert hits.sum() == 1500 * 4
    assert ((hits - 150.0) ** 2 / 150.0).sum() < 75  # chi-square with 39 degrees of freedom: p = .0005


def test_spans_follow_from_the_utterance_and_the_epoch_and_from_nothing_beside_them() -> None:
    c = config.FrameSpans()
    together, alone = hidden_frames(batch((90, 47)), c), hidden_frames(batch((47,), first=1), c)
    assert (together[1, :47] == alone[0]).all()
    assert (hidden_frames(batch((90,)), c) != hidden_frames(batch((90,), epoch=1), c)).any()


@pytest.mark.parametrize("task", [config.Mockingjay(), config.Tera(), config.BestRq(), config.Hubert()])
def test_a_backbone_that_reads_from_left_to_right_cannot_recover_from_both_sides(task: config.Pretext) -> None:
    with pytest.raises(UserError, match="both sides"):
        objective(task, FROM_LEFT)


@pytest.mark.parametrize("task", [config.Apc(), config.Cpc()])
def test_a_backbone_that_sees_both_sides_cannot_predict(task: config.Pretext) -> None:
    with pytest.raises(UserError, match="from the past alone"):
        objective(task, BOTH_SIDES)


def test_tokens_are_refused() -> None:
    with pytest.raises(UserError, match="reads frames"):
        objective(config.Tera(), config.Transformer(vocab=9, layers=1, width=8, heads=1, ffn=8))
