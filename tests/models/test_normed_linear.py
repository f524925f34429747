import pytest
import torch
from torch import nn

from sesame.models.normed_linear import normed_linear


def _layers(dtype: torch.dtype) -> tuple[nn.LayerNorm, nn.Linear]:
    norm, linear = nn.LayerNorm(5, dtype=dtype), nn.Linear(5, 4, dtype=dtype)
    with torch.no_grad():
        norm.weight.uniform_(0.5, 1.5)
        norm.bias.normal_()
    return norm, linear


@pytest.mark.parametrize("read", ["both", "linear"])
@pytest.mark.parametrize("rows", [(2, 3), (7,), (0, 3)])
def test_value_and_gradients_are_those_of_the_two_layers(rows: tuple[int, ...], read: str) -> None:
    torch.manual_seed(0)
    norm, linear = _layers(torch.float64)
    x = torch.randn(*rows, 5, dtype=torch.float64, requires_grad=True)
    inputs = [x, *norm.parameters(), *linear.parameters()]
    plain, fused = (norm(x), linear(norm(x))), normed_linear(x, norm, linear)
    weights = [torch.randn_like(p) * (read == "both" or i == 1) for i, p in enumerate(plain)]
    for p, f in zip(plain, fused, strict=True):
        assert p.shape == f.shape and torch.allclose(p, f, atol=1e-14)
    wanted = torch.autograd.grad(sum((p * w).sum() for p, w in zip(plain, weights, strict=True)), inputs)
    if read == "both":
        loss = sum((f * w).sum() for f, w in zip(fused, weights, strict=True))
    else:
        loss = (fused[1] * weights[1]).sum()
    for w, f in zip(wanted, torch.autograd.grad(loss, inputs), strict=True):
        assert torch.allclose(w, f, atol=1e-12)


def test_the_normed_input_is_not_kept() -> None:
    norm, linear = _layers(torch.float32)
    x = torch.randn(7, 5, requires_grad=True)
    kept: list[torch.Tensor] = []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t) or t, lambda t: t):
        h, _ = normed_linear(x, norm, linear)
    assert x.data_ptr() in {t.data_ptr() for t in kept}
    assert h.data_ptr() not in {t.data_ptr() for t in kept}


def test_mixed_types_under_autocast() -> None:
    norm, linear = _layers(torch.float32)
    x = torch.randn(6, 5, requires_grad=True)
    with torch.autocast("cpu", torch.bfloat16):
        h, y = normed_linear(x, norm, linear)
    assert (h.dtype, y.dtype) == (torch.float32, torch.bfloat16)
    (h.sum() + y.float().sum()).backward()
    assert {p.grad.dtype for p in (x, *norm.parameters(), *linear.parameters())} == {torch.float32}
