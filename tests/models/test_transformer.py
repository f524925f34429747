from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sesame import config
from sesame.data.batch import At, Rows
from sesame.errors import UserError
from sesame.models import build

SHAPES = {
    "post-norm": {},
    "pre-norm": {"norm": "pre"},
    "causal": {"causal": True, "norm": "pre", "embedding_norm": False, "kinds": 0},
    "relative": {"position": "relative", "norm_kind": "rms", "norm": "pre", "bias": False, "scale_scores": False},
    "relative and causal": {"position": "relative", "causal": True, "gated": True, "head_width": 5, "farthest": 17},
    "shared": {"layers": 4, "groups": 2, "inner": 1, "embedding": 6},
    "shared in turn": {"layers": 4, "groups": 1, "inner": 2, "scale_embedding": True, "gated": True, "bias": False},
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


@pytest.mark.parametrize("shape", ["causal", "relative and causal"])
def test_a_causal_state_does_not_see_what_follows(shape: str) -> None:
    model = build(tiny(**SHAPES[shape])).eval()
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


@pytest.mark.parametrize(
    ("layers", "groups", "inner", "order"),
    [
        (5, 0, 1, [0, 1, 2, 3, 4]),
        (4, 1, 1, [0, 0, 0, 0]),
        (5, 2, 1, [0, 0, 0, 1, 1]),
        (6, 1, 2, [0, 1, 0, 1, 0, 1]),
        (8, 2, 2, [0, 1, 0, 1, 2, 3, 2, 3]),
    ],
)
def test_shared_layers_are_one_block_several_times(layers: int, groups: int, inner: int, order: list[int]) -> None:
    torch.manual_seed(0)
    shared = build(tiny(layers=layers, groups=groups, inner=inner)).eval()
    assert [shared.blocks[i] for i in order] == shared.stack
    assert len(shared.blocks) == len(set(order))
    plain = build(tiny(layers=layers)).eval()
    state = {k: v for k, v in shared.state_dict().items() if not k.startswith("blocks.")}
    for i, block in enumerate(shared.stack):
        state |= {f"blocks.{i}.{k}": v for k, v in block.state_dict().items()}
    plain.load_state_dict(state)
    assert torch.equal(plain(one_row([4, 3], 8)).last, shared(one_row([4, 3], 8)).last)


def test_the_output_is_the_embedding_or_a_matrix_of_its_own() -> None:
    tied, scaled, untied = (build(tiny(output=kind)).eval() for kind in ("tied", "scaled", "untied"))
    scaled.load_state_dict(tied.state_dict())
    untied.load_state_dict({**tied.state_dict(), "output.weight": untied.output.weight})
    rows = one_row([5], 5)
    one, other, third = tied(rows), scaled(rows), untied(rows)
    assert torch.equal(one.vocabulary, tied.embed.token.weight) and torch.equal(other.vocabulary, one.vocabulary)
    assert torch.allclose(other.last, one.last / 4) and torch.equal(third.last, one.last)  # width 16
    assert third.vocabulary is untied.output.weight


@pytest.mark.parametrize("output", ["tied", "scaled"])
def test_what_a_family_leaves_out_of_a_product_its_weights_begin_with(output: str) -> None:
    torch.manual_seed(0)
    model = build(tiny(width=256, heads=4, output=output, scale_scores=output == "tied", layers=1, vocab=999))
    query = model.blocks[0].attention.qkv.weight[:256].detach().std() * (1 if output == "tied" else 8)
    token = model.embed.token.weight.detach().std() / (1 if output == "tied" else 16)
    assert float(query) == pytest.approx(0.3, rel=0.02) and float(token) == pytest.approx(0.3, rel=0.02)


BAD = {
    "heads that do not divide": ({"heads": 3}, r"--backbone\.width 16 .*--backbone\.heads 3"),
    "groups of too many": ({"groups": 2, "inner": 2}, r"--backbone\.layers 2"),
    "sets that do not divide": ({"layers": 3, "groups": 1, "inner": 2}, r"--backbone\.layers 3"),
    "inner alone": ({"inner": 2}, r"--backbone\.groups"),
    "a narrow embedding that words are written with": ({"embedding": 4, "causal": True}, r"--backbone\.embedding 4"),
    "words from frames": ({"input": "frames", "features": 3, "output": "untied"}, r"--backbone\.output untied"),
}


@pytest.mark.parametrize("fault", BAD)
def test_switches_that_do_not_go_together_are_said_by_name(fault: str) -> None:
    changes, said = BAD[fault]
    with pytest.raises(UserError, match=said):
        build(tiny(**changes))


@pytest.mark.parametrize("shape", SHAPES)
def test_products_in_bf16_give_nearly_the_same_packed_and_at_some_positions(
    shape: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a CPU attention stays in fp32, and its masks with it: both kinds of batch run, forwards and backwards."""
    kernel, types = torch.nn.functional.scaled_dot_product_attention, []

    def heard(query: torch.Tensor, *args: Any, **options: Any) -> torch.Tensor:
        found = kernel(query, *args, **options)
        types.append(found.dtype)
        return found

    monkeypatch.setattr(torch.nn.functional, "scaled_dot_product_attention", heard)
    torch.manual_seed(0)
    model = build(tiny(**SHAPES[shape] | {"init": 0.1})).eval()
    packed = one_row([5, 3, 4], 14)
    read = np.zeros((1, 14), bool)
    read[0, [1, 6, 9]] = True
    exact = model(packed).last
    for at in (None, At.of(read)):
        with torch.autocast("cpu", torch.bfloat16):
            rough = model(packed, at).last
        rough.float().square().sum().backward()
        expected = exact if at is None else exact[0, [1, 6, 9]]
        here = packed.valid if at is None else slice(None)
        error = (rough.float() - expected)[here]
        assert error.norm() < 0.02 * expected[here].norm()
    assert all(p.grad is None or (p.grad.dtype, bool(p.grad.isfinite().all())) == (torch.float32, True)
               for p in model.parameters())  # fmt: skip
    assert set(types) == {torch.float32}
