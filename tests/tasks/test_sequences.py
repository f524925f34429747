"""Packed sequences are read as if each were alone, and targets stay with what they belong to."""

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from small_model import PIECES, make

from sesame.data.batch import Rows
from sesame.models.base import Backbone
from sesame.tasks.base import Head
from sesame.tasks.network import Network, groups_of, scores_of
from sesame.tasks.sequences import STEP, Sequences, TaskBatch, batch_of

PAD = 0
sizes = st.lists(st.integers(1, 16), min_size=1, max_size=12)


@st.composite
def sequences(draw, read_all: bool = False) -> Sequences:
    lengths = np.array(draw(sizes))
    chance = np.random.default_rng(draw(st.integers(0, 999)))
    total = int(lengths.sum())
    reads = [np.sort(chance.permutation(n)[: n if read_all else chance.integers(1, n + 1)]) for n in lengths]
    target_of = draw(st.sampled_from(["sequence", "read"]))
    things = len(lengths) if target_of == "sequence" else sum(map(len, reads))
    return Sequences(
        ids=chance.integers(5, len(PIECES), total),
        kind=np.concatenate([np.arange(n) >= n // 2 for n in lengths]).astype(np.int64),
        offsets=np.concatenate([[0], np.cumsum(lengths)]),
        owner=np.arange(len(lengths)),
        read=np.concatenate(reads),
        read_offsets=np.concatenate([[0], np.cumsum([len(read) for read in reads])]),
        target=np.arange(things) * 10,
        target_of=target_of,
    )


def states_alone(backbone: Backbone, s: Sequences, number: int) -> torch.Tensor:
    """What the backbone makes of the read positions of one sequence by itself, laid out here by hand."""
    begin, end = s.offsets[number : number + 2].tolist()
    ids, kind = torch.from_numpy(s.ids[begin:end])[None], torch.from_numpy(s.kind[begin:end])[None]
    rows = Rows(ids, torch.arange(end - begin)[None], kind, torch.zeros_like(ids), alone=True)
    with torch.no_grad():
        return backbone(rows).last[0][torch.from_numpy(reads_of(s, number))]


def reads_of(s: Sequences, number: int) -> np.ndarray:
    return s.read[s.read_offsets[number] : s.read_offsets[number + 1]]


@settings(max_examples=12, deadline=None)
@given(st.data())
def test_a_packed_batch_is_read_like_its_sequences_one_by_one(data):
    s = data.draw(sequences())
    backbone = make().objective.backbone.eval()
    chosen = np.array(data.draw(st.permutations(range(len(s)))))[: data.draw(st.integers(1, len(s)))]
    on_end = data.draw(st.booleans())
    batch = batch_of(s, chosen, PAD, on_end)
    with torch.no_grad():
        packed = backbone(batch.rows, batch.at).last[batch.order]
    alone = torch.cat([states_alone(backbone, s, number) for number in chosen])
    np.testing.assert_allclose(packed, alone, atol=1e-5)
    numbers = [place for place, number in enumerate(chosen) for _ in reads_of(s, number)]
    assert (batch.count, batch.sequence.tolist()) == (len(chosen), numbers)
    if s.target_of == "sequence":
        assert batch.target.tolist() == [10 * number for number in chosen]
    else:
        edges = s.read_offsets
        assert batch.target.tolist() == [10 * r for number in chosen for r in range(edges[number], edges[number + 1])]
    lengths = s.lengths[chosen]
    assert batch.rows.x.shape[1] == (-(-lengths.sum() // STEP) * STEP if on_end else lengths.max())
    assert int(batch.rows.valid.sum()) == s.lengths[chosen].sum()


class States(Head):
    """Gives the states back as they are read."""

    def forward(self, h: torch.Tensor, batch: TaskBatch) -> torch.Tensor:
        return h


class Sums(Head):
    """One row a sequence: the sum of its states."""

    def forward(self, h: torch.Tensor, batch: TaskBatch) -> torch.Tensor:
        return torch.zeros(batch.count, h.shape[-1]).index_add(0, batch.sequence, h)


@settings(max_examples=6, deadline=None)
@given(sequences())
def test_scores_of_many_groups_come_back_in_the_order_of_the_sequences(s):
    backbone = make().objective.backbone.eval()
    alone = [states_alone(backbone, s, number).numpy() for number in range(len(s))]
    for head, wanted in ((States(), np.concatenate(alone)), (Sums(), np.stack([h.sum(0) for h in alone]))):
        np.testing.assert_allclose(scores_of(Network(backbone, head), s, PAD), wanted, atol=2e-5)


def test_groups_hold_every_sequence_once_and_little_of_different_length(monkeypatch):
    monkeypatch.setattr("sesame.tasks.network.TOKENS", 64)
    lengths = np.random.default_rng(0).integers(1, 33, 200)
    groups = groups_of(lengths)
    assert sorted(np.concatenate(groups)) == list(range(200))
    assert max(lengths[group].sum() for group in groups) <= 64 + 32
    assert all(np.ptp(lengths[group]) <= 8 for group in groups)
