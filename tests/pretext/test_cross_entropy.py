import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from sesame.pretext.cross_entropy import linear_cross_entropy


@settings(max_examples=25, deadline=None)
@given(
    scored=st.integers(0, 9),
    width=st.integers(1, 5),
    vocab=st.integers(1, 11),
    chunk=st.integers(1, 60),
    bias=st.booleans(),
)
def test_chunked_loss_and_gradients_equal_the_plain_ones(
    scored: int, width: int, vocab: int, chunk: int, bias: bool
) -> None:
    torch.manual_seed(scored + 10 * width + 100 * vocab)
    inputs = [torch.randn(scored, width), torch.randn(vocab, width), torch.randn(vocab)][: 3 if bias else 2]
    inputs = [x.double().requires_grad_() for x in inputs]
    target = torch.randint(vocab, (scored,))
    logits = F.linear(*inputs)
    plain = F.cross_entropy(logits, target, reduction="sum")
    total, hits = linear_cross_entropy(inputs[0], inputs[1], inputs[2] if bias else None, target, chunk)
    assert torch.allclose(total, plain, atol=1e-10)
    assert hits == (logits.argmax(1) == target).sum()
    wanted = torch.autograd.grad(0.3 * plain, inputs)
    found = torch.autograd.grad(0.3 * total, inputs)
    for w, f in zip(wanted, found, strict=True):
        assert torch.allclose(w, f, atol=1e-10)


def test_large_logits_do_not_overflow() -> None:
    hidden = torch.full((2, 1), 1e4, requires_grad=True)
    total, _ = linear_cross_entropy(hidden, torch.tensor([[1.0], [-1.0]]), None, torch.tensor([0, 1]))
    assert total.item() == pytest.approx(2e4)


def test_no_gradient_is_made_where_none_is_needed() -> None:
    total, _ = linear_cross_entropy(torch.randn(3, 2), torch.randn(4, 2), None, torch.tensor([0, 1, 2]))
    assert not total.requires_grad


def test_bf16_products_under_autocast_keep_the_loss_in_fp32() -> None:
    torch.manual_seed(0)
    hidden, weight, target = torch.randn(6, 8), torch.randn(5, 8, requires_grad=True), torch.arange(6) % 5
    with torch.autocast("cpu", torch.bfloat16):
        total, _ = linear_cross_entropy(hidden, weight, None, target)
    total.backward()
    assert total.dtype == torch.float32
    assert weight.grad.dtype == torch.float32
    assert total.item() == pytest.approx(F.cross_entropy(hidden @ weight.T, target, reduction="sum").item(), rel=0.02)
