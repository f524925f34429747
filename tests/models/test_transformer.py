import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sesame import config
from sesame.data.batch import At, Rows
from sesame.models import build

SHAPES = {
    "post-norm": {},
    "pre-norm": {"norm": "pre"},
    "causal": {"causal": True, "norm": "pre", "embedding_norm": False, "kinds": 0},
}


def tiny(**changes) -> config.Transformer:
    return config.Transformer(
        **{"layers": 2, "width": 16, "heads": 2, "ffn": 32, "vocab": 50, "positions": 12, "init": 0.3, **changes}
    )


def one_row(sizes: list[int], time: int, seed: int = 0) -> Rows:
    """Examples of these sizes, one after another in a row of `time`; the rest is empty."""
    rng = np.random.default_rng(seed)
    example = np.full(time, -1)
    position = np.zeros(time, int)
    at = 0
    for number, size in enumerate(sizes):
        example[at : at + size], position[at : at + size] = number, np.arange(size)
        at += size
    ids = rng.integers(0, 50, time)
    kind = np.where(example >= 0, rng.integers(0, 2, time), 0)
    return Rows(*(torch.from_numpy(x)[None] for x in (ids, position, kind, example)))


@pytest.mark.parametrize("shape", SHAPES)
@settings(max_examples=10, deadline=None)
@given(sizes=st.lists(st.integers(1, 6), min_size=1, max_size=4), seed=st.integers(0, 99))
def test_packed_examples_are_those_examples_one_by_one(shape: str, sizes: list[int], seed: int) -> None:
    torch.manual_seed(seed)
    model = build(tiny(**SHAPES[shape])).double().eval()
    packed = one_row(sizes, sum(sizes) + 2, seed)
    together = model(packed).last[0]
    at = 0
    for size in sizes:
        here = slice(at, at + size)
        alone = Rows(*(x[:, here] for x in (packed.x, packed.position, packed.kind)), torch.zeros(1, size).long(), True)
        assert torch.allclose(together[here], model(alone).last[0], atol=1e-10)
        at += size


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("alone", [False, True])
def test_states_at_some_positions_are_the_same_positions_of_all(shape: str, alone: bool) -> None:
    torch.manual_seed(1)
    model = build(tiny(**SHAPES[shape])).double()
    rows = one_row([8], 8) if alone else one_row([3, 4], 8)
    rows = Rows(*(x.expand(3, -1) for x in (rows.x, rows.position, rows.kind, rows.example)), alone)
    where = np.random.default_rng(2).random((3, 8)) < 0.4
    where[1] = False  # a row nobody reads
    some, every = model(rows, At.of(where)).last, model(rows).last[torch.from_numpy(where)]
    assert torch.allclose(some, every, atol=1e-10)
    weight = torch.randn_like(every)
    wanted = torch.autograd.grad((every * weight).sum(), list(model.parameters()), allow_unused=True)
    found = torch.autograd.grad((some * weight).sum(), list(model.parameters()), allow_unused=True)
    for w, f in zip(wanted, found, strict=True):
        assert (w is None) == (f is None) and (w is None or torch.allclose(w, f, atol=1e-9))


def test_a_causal_state_does_not_see_what_follows() -> None:
    model = build(tiny(**SHAPES["causal"])).eval()
    rows = one_row([5, 4], 9)
    changed = Rows(rows.x.clone(), rows.position, rows.kind, rows.example)
    changed.x[0, 3] += 1 if rows.x[0, 3] < 49 else -1
    before, after = model(rows).last[0], model(changed).last[0]
    same = (before == after).all(-1)
    assert same.tolist() == [True] * 3 + [False] * 2 + [True] * 4


def test_layers_run_from_the_embeddings_to_the_last_state() -> None:
    model = build(tiny()).eval()
    states = model(one_row([5], 5), layers=True)
    assert len(states.layers) == 3
    assert torch.equal(states.layers[-1], states.last)
    assert torch.equal(states.layers[0], model.embed(one_row([5], 5))[0])
