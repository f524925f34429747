"""Filters against brute force and transformers; what is drawn against its distribution."""

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chi2
from transformers.generation import logits_process as theirs

from sesame.config import Generate
from sesame.tasks.sampling import Draw, drawn, filtered, penalised

SCORES = st.lists(st.floats(-8, 8, width=32), min_size=2, max_size=9, unique=True)
NONE = float("-inf")


def left(scores: list[float], **how) -> set[int]:
    """The tokens that may be drawn."""
    kept = filtered(torch.tensor([scores]), Generate(**how))[0]
    assert torch.equal(kept[kept > NONE], torch.tensor(scores)[kept > NONE])
    return set(np.flatnonzero(kept > NONE).tolist())


def best_first(scores: list[float]) -> list[int]:
    return sorted(range(len(scores)), key=lambda i: -scores[i])


def shares(scores: list[float]) -> np.ndarray:
    p = np.exp(np.array(scores) - max(scores))
    return p / p.sum()


@settings(max_examples=25, deadline=None)
@given(scores=SCORES, k=st.integers(1, 10))
def test_top_k_leaves_the_k_likeliest(scores, k) -> None:
    assert left(scores, top_k=k) == set(best_first(scores)[:k])


@settings(max_examples=25, deadline=None)
@given(scores=SCORES, p=st.floats(0.01, 0.99))
def test_top_p_leaves_the_fewest_that_have_p_together(scores, p) -> None:
    share, order = shares(scores), best_first(scores)
    together = np.cumsum(share[order])
    if np.abs(together - p).min() < 1e-5:
        return  # rounding decides
    assert left(scores, top_p=p) == set(order[: int((together < p).sum()) + 1])


@settings(max_examples=25, deadline=None)
@given(scores=SCORES, p=st.floats(0.01, 0.99))
def test_min_p_leaves_what_has_that_share_of_the_likeliest(scores, p) -> None:
    share = shares(scores)
    if np.abs(share - p * share.max()).min() < 1e-5:
        return
    assert left(scores, min_p=p) == set(np.flatnonzero(share >= p * share.max()).tolist())


def test_filters_together_are_those_of_transformers() -> None:
    scores = torch.randn(20, 50, generator=torch.Generator().manual_seed(0)) * 3
    how = Generate(top_k=20, top_p=0.9, min_p=0.02)
    wanted = scores
    for warper in (
        theirs.TemperatureLogitsWarper(0.7),
        theirs.TopKLogitsWarper(20),
        theirs.TopPLogitsWarper(0.9),
        theirs.MinPLogitsWarper(0.02),
    ):
        wanted = warper(None, wanted)
    torch.testing.assert_close(filtered(scores, how, 0.7), wanted)


def test_the_repetition_penalty_is_that_of_transformers() -> None:
    scores = torch.randn(3, 12, generator=torch.Generator().manual_seed(1))
    ids = torch.tensor([[0, 4, 4], [7, 1, 2], [11, 11, 11]])
    seen = torch.zeros(3, 12, dtype=torch.bool).scatter_(1, ids, True)
    wanted = theirs.RepetitionPenaltyLogitsProcessor(1.7)(ids, scores)
    torch.testing.assert_close(penalised(scores, seen, 1.7), wanted)


def test_what_is_drawn_is_distributed_as_the_scores_say() -> None:
    """χ² over 20,000 draws; the chance is keyed, so the test says the same every time."""
    scores = torch.tensor([1.5, 0.0, NONE, -1.0, 2.0, -3.0, NONE])
    n = 20_000
    draw = Draw(Generate(temperature=0.5, seed=3), np.arange(n).astype(np.uint64), np.zeros(n, np.int64))
    found = np.bincount(draw(scores.expand(n, -1), 0).numpy(), minlength=7)
    wanted = n * torch.softmax(scores / 0.5, 0).double().numpy()
    assert found[2] == found[6] == 0
    there = wanted > 0
    assert ((found - wanted)[there] ** 2 / wanted[there]).sum() < chi2.ppf(0.999, there.sum() - 1)


def test_the_ends_of_chance_fall_on_tokens_that_may_be_drawn() -> None:
    scores = torch.tensor([[NONE, 1.0, 1.0, NONE]]).expand(4, -1)
    u = torch.tensor([0.0, 0.5 - 1e-12, 0.5, 1 - 2.0**-53], dtype=torch.float64)
    assert drawn(scores, u).tolist() == [1, 1, 2, 2]


def test_temperature_0_takes_the_likeliest() -> None:
    scores = torch.tensor([[0.0, 3.0, 1.0], [2.0, 1.0, 0.0]])
    assert Draw(Generate(temperature=0.0), np.zeros(2, np.uint64), np.arange(2))(scores, 0).tolist() == [1, 0]
