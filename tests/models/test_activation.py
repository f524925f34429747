import pytest
import torch
import torch.nn.functional as F

from sesame.models.activation import ACTIVATIONS, activated_linear


@pytest.mark.parametrize("rows", [(2, 3), (7,), (0, 3)])
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_value_and_gradients_are_those_of_the_two_steps(activation: str, rows: tuple[int, ...], monkeypatch) -> None:
    monkeypatch.setattr("sesame.models.activation.CHUNK", 20)  # four rows at a time
    torch.manual_seed(0)
    inputs = [torch.randn(*s, dtype=torch.float64, requires_grad=True) for s in ((*rows, 5), (4, 5), (4,))]
    plain = F.linear(ACTIVATIONS[activation](inputs[0]), *inputs[1:])
    fused = activated_linear(*inputs, activation)
    assert plain.shape == fused.shape and torch.allclose(plain, fused, atol=1e-14)
    weight = torch.randn_like(plain)
    wanted = torch.autograd.grad((plain * weight).sum(), inputs)
    found = torch.autograd.grad((fused * weight).sum(), inputs)
    for w, f in zip(wanted, found, strict=True):
        assert torch.allclose(w, f, atol=1e-12)


def test_the_activated_input_is_not_kept() -> None:
    x, weight, bias = torch.randn(7, 64, requires_grad=True), torch.randn(3, 64, requires_grad=True), torch.zeros(3)
    kept: list[torch.Tensor] = []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t) or t, lambda t: t):
        activated_linear(x, weight, bias, "gelu")
    assert sorted(t.data_ptr() for t in kept) == sorted([x.data_ptr(), weight.data_ptr()])


def test_mixed_types_under_autocast() -> None:
    x, weight, bias = (torch.randn(*s, requires_grad=True) for s in ((6, 8), (4, 8), (4,)))
    with torch.autocast("cpu", torch.bfloat16):
        y = activated_linear(x, weight, bias, "gelu")
    assert y.dtype == torch.bfloat16
    y.float().sum().backward()
    assert x.grad.dtype == weight.grad.dtype == torch.float32
    assert torch.allclose(bias.grad, torch.full((4,), 6.0))
