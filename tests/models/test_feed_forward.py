import pytest
import torch
from torch import nn

from sesame.models.feed_forward import ACTIVATIONS, feed_forward

Layers = tuple[nn.LayerNorm, nn.Linear, nn.Linear]


def _layers(dtype: torch.dtype) -> Layers:
    norm, up, down = nn.LayerNorm(5, dtype=dtype), nn.Linear(5, 8, dtype=dtype), nn.Linear(8, 5, dtype=dtype)
    with torch.no_grad():
        norm.weight.uniform_(0.5, 1.5)
        norm.bias.normal_()
    return norm, up, down


def _parameters(layers: Layers) -> list[nn.Parameter]:
    return [p for layer in layers for p in layer.parameters()]


@pytest.mark.parametrize("read", ["both", "layer"])
@pytest.mark.parametrize("rows", [(2, 3), (7,), (0, 3)])
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_value_and_gradients_are_those_of_the_steps(
    activation: str, rows: tuple[int, ...], read: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sesame.models.feed_forward.CHUNK", 20)  # two rows at a time
    torch.manual_seed(0)
    norm, up, down = layers = _layers(torch.float64)
    x = torch.randn(*rows, 5, dtype=torch.float64, requires_grad=True)
    inputs = [x, *_parameters(layers)]
    plain = (norm(x), down(ACTIVATIONS[activation](up(norm(x)))))
    fused = feed_forward(x, *layers, activation)
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


def test_neither_the_normed_nor_the_activated_numbers_are_kept() -> None:
    layers = _layers(torch.float32)
    x = torch.randn(7, 5, requires_grad=True)
    kept: list[torch.Tensor] = []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t) or t, lambda t: t):
        h, _ = feed_forward(x, *layers, "gelu")
    assert x.data_ptr() in {t.data_ptr() for t in kept}
    assert h.data_ptr() not in {t.data_ptr() for t in kept}
    assert [t.shape for t in kept if t.numel() == 56] == [(7, 8)]  # one wide tensor


def test_mixed_types_under_autocast() -> None:
    layers = _layers(torch.float32)
    x = torch.randn(6, 5, requires_grad=True)
    with torch.autocast("cpu", torch.bfloat16):
        h, y = feed_forward(x, *layers, "gelu")
    assert (h.dtype, y.dtype) == (torch.float32, torch.bfloat16)
    (h.sum() + y.float().sum()).backward()
    assert {p.grad.dtype for p in (x, *_parameters(layers))} == {torch.float32}
    assert torch.allclose(layers[-1].bias.grad, torch.full((5,), 6.0))
