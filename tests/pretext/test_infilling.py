"""Text infilling: what the damage keeps and hides, and that it is a pure function of the example."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from small_text import VOCABULARY, packed, texts

from sesame import config
from sesame.data.batch import Rows
from sesame.models.encoder_decoder import EncoderDecoder
from sesame.pretext.base import Objective
from sesame.pretext.infilling import Infilling, damage, poisson

STACK = {"layers": 1, "width": 16, "heads": 2, "ffn": 32, "vocab": VOCABULARY.size, "positions": 64, "kinds": 0}
SEQ2SEQ = config.EncoderDecoder(encoder=config.Transformer(**STACK), decoder=config.Transformer(**STACK, causal=True))


def objective() -> Objective:
    torch.manual_seed(0)
    backbone = EncoderDecoder(SEQ2SEQ)
    return Objective(backbone, Infilling(config.Infilling(), backbone, VOCABULARY)).eval()


sizes = st.lists(st.integers(0, 40), min_size=1, max_size=6)


@settings(max_examples=60, deadline=None)
@given(
    tokens=sizes,
    rate=st.sampled_from([0.0, 0.1, 0.3, 0.9, 1.0]),
    span=st.sampled_from([0.3, 3.0, 8.0]),
    seed=st.integers(0, 5),
)
def test_the_damage_hides_the_rate_keeps_the_rest_in_order_and_can_be_undone(
    tokens: list[int], rate: float, span: float, seed: int
) -> None:
    key = np.arange(len(tokens), dtype=np.uint64)
    done = damage(np.array(tokens), key, seed, np.zeros(len(tokens), int), rate, span)
    first = np.cumsum([0, *tokens])
    for example, size in enumerate(tokens):
        here = done.owner == example
        source, hidden = done.source[here], done.hidden[here]
        budget = max(1, round(rate * size)) if rate and size else 0
        assert hidden.sum() == budget
        assert (hidden[source >= 0] == 0).all()
        assert len(source) <= size
        undone: list[int] = []
        for place, count in zip(source.tolist(), hidden.tolist(), strict=True):
            after = first[example] + len(undone)  # the hidden tokens are those that come next
            undone += [place] if place >= 0 else list(range(after, after + count))
        assert undone == list(range(first[example], first[example + 1]))


@settings(max_examples=20, deadline=None)
@given(tokens=sizes, chosen=st.data())
def test_an_example_is_damaged_the_same_whatever_stands_beside_it(tokens: list[int], chosen: st.DataObject) -> None:
    key = np.arange(10, 10 + len(tokens), dtype=np.uint64)
    whole = damage(np.array(tokens), key, 1, np.full(len(tokens), 2), 0.3, 3.0)
    i = chosen.draw(st.integers(0, len(tokens) - 1))
    alone = damage(np.array(tokens[i : i + 1]), key[i : i + 1], 1, np.array([2]), 0.3, 3.0)
    here = whole.owner == i
    assert whole.hidden[here].tolist() == alone.hidden.tolist()
    moved = np.where(alone.source >= 0, alone.source + sum(tokens[:i]), -1)
    assert whole.source[here].tolist() == moved.tolist()


def test_spans_are_poisson_and_lie_anywhere() -> None:
    done = damage(np.full(400, 500), np.arange(400, dtype=np.uint64), 0, np.zeros(400, int), 0.3, 3.0)
    masks = done.source < 0
    length = done.hidden[masks]
    assert length.mean() == pytest.approx(3.0, abs=0.1)
    assert (length == 0).mean() == pytest.approx(math.exp(-3), abs=0.01)  # inserted: nothing is hidden there
    where = np.concatenate([np.flatnonzero(masks[done.owner == e]) / (done.owner == e).sum() for e in range(400)])
    assert np.histogram(where, 5, (0, 1))[0] / len(where) == pytest.approx([0.2] * 5, abs=0.01)


@pytest.mark.parametrize("mean", [0.5, 3.0, 40.0])
def test_poisson_numbers_have_the_shares_of_the_formula(mean: float) -> None:
    drawn = poisson((np.arange(200_000) + 0.5) / 200_000, mean)
    for k in range(int(mean + 3 * math.sqrt(mean))):
        share = math.exp(k * math.log(mean) - mean - math.lgamma(k + 1))
        assert (drawn == k).mean() == pytest.approx(share, abs=1e-5)


def test_another_epoch_or_seed_damages_otherwise() -> None:
    given = np.full(5, 30), np.arange(5, dtype=np.uint64)
    seen = {
        damage(*given, seed, np.full(5, epoch), 0.3, 3.0).source.tobytes() for seed in range(3) for epoch in range(3)
    }
    assert len(seen) == 9


def test_the_encoder_reads_the_damage_and_the_decoder_the_original_one_step_late() -> None:
    batch = packed(texts(9, 1, 13, 6, 3, 20))
    split = objective().pretext.split(batch)
    encoder, decoder = split.seen
    assert len(encoder.x) == len(decoder.x) == len(batch.ids) < 6
    start = 0
    for number in range(6):
        original = batch.ids[batch.example == number]
        late = decoder.x[decoder.example == number].numpy()
        assert late.tolist() == [VOCABULARY.sep, *original[:-1]]
        scored = split.target["original"][start : start + len(original)].numpy()
        assert scored.tolist() == original.tolist()
        start += len(original)
        seen = encoder.x[encoder.example == number].numpy()
        assert (seen[0], seen[-1]) == (VOCABULARY.cls, VOCABULARY.sep)
        kept, rest = [t for t in seen[1:-1].tolist() if t != VOCABULARY.mask], iter(original[1:-1].tolist())
        assert all(token in rest for token in kept)  # in the order of the original
        assert VOCABULARY.mask in seen
        row = {int(r) for r in torch.nonzero(encoder.example == number)[:, 0]}
        assert row == {int(r) for r in np.nonzero(batch.example == number)[0]}
        assert encoder.position[encoder.example == number].tolist() == list(range(len(seen)))
    assert split.count == {"infilling": start} and len(split.target["original"]) == start


@torch.no_grad()
def test_the_loss_is_the_cross_entropy_of_every_example_alone() -> None:
    whole, batch = objective(), packed(texts(9, 1, 13, 6, 3, 20))
    split = whole.pretext.split(batch)
    total = 0.0
    for number in range(6):
        pair = tuple(
            Rows(*(getattr(rows, f)[rows.example == number][None] for f in ("x", "position", "kind", "example")))
            for rows in split.seen
        )
        logits = whole.backbone(pair).last[0] @ whole.backbone.encoder.embed.token.weight.T
        target = torch.from_numpy(batch.ids[batch.example == number])
        total += float(F.cross_entropy(logits, target, reduction="sum"))
    assert float(whole(split)["infilling"].sum) == pytest.approx(total, rel=1e-5)
