import pytest
import torch

from sesame.models.dropout import dropout, dropout_add


@pytest.mark.parametrize("rate", [0.1, 0.5])
def test_what_is_kept_is_scaled_and_its_share_is_right(rate: float) -> None:
    torch.manual_seed(0)
    h, x = torch.randn(300, 401), 1 + torch.rand(300, 401)
    added = dropout_add(h, x, rate, training=True) - h
    kept = added > 0.5
    n = x.numel()
    assert abs(kept.float().mean().item() - (1 - rate)) < 4 * (rate * (1 - rate) / n) ** 0.5
    assert torch.allclose(added[kept], x[kept] / (1 - rate), rtol=1e-3)
    assert added[~kept].abs().max() < 1e-6
    # no two rows are dropped alike, and neighbours are independent
    assert len({row.numpy().tobytes() for row in kept}) == 300
    both = (~kept[:, 1:] & ~kept[:, :-1]).float().mean().item()
    assert abs(both - rate**2) < 5 * (rate**2 / n) ** 0.5


def test_the_gradient_goes_where_the_value_went() -> None:
    torch.manual_seed(1)
    h, x = (torch.randn(40, 7, dtype=torch.float64, requires_grad=True) for _ in range(2))
    y = dropout_add(h, x, 0.3, training=True)
    grad = torch.randn_like(y)
    to_h, to_x = torch.autograd.grad(y, (h, x), grad)
    factor = ((y - h) / x).detach()
    assert torch.equal(to_h, grad)
    assert torch.allclose(to_x, grad * factor)


def test_the_same_seed_drops_the_same_for_any_number_of_threads() -> None:
    h, x, found = torch.zeros(64, 1000), torch.ones(64, 1000), []
    threads = torch.get_num_threads()
    for count in (1, 2, 2):
        torch.set_num_threads(count)
        torch.manual_seed(5)
        found.append(dropout_add(h, x, 0.1, training=True))
    torch.set_num_threads(threads)
    assert torch.equal(found[0], found[1]) and torch.equal(found[1], found[2])
    assert not torch.equal(found[2], dropout_add(h, x, 0.1, training=True))


@pytest.mark.parametrize(("rate", "training"), [(0.0, True), (0.4, False)])
def test_nothing_is_dropped_out_of_training_or_at_rate_0(rate: float, training: bool) -> None:
    h, x = torch.randn(3, 4), torch.randn(3, 4)
    assert torch.equal(dropout_add(h, x, rate, training), h + x)


def test_a_byte_an_element_is_kept_for_the_way_back() -> None:
    h, x = torch.randn(30, 4, requires_grad=True), torch.randn(30, 4, requires_grad=True)
    kept: list[torch.Tensor] = []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t) or t, lambda t: t):
        dropout_add(h, x, 0.4, training=True)
    assert [(t.dtype, t.shape) for t in kept] == [(torch.int8, x.shape)]


def test_dropout_alone_is_that_which_is_added_to_nothing() -> None:
    x = torch.randn(40, 7, requires_grad=True)
    torch.manual_seed(3)
    alone = dropout(x, 0.3, training=True)
    torch.manual_seed(3)
    added = dropout_add(torch.zeros(40, 7), x, 0.3, training=True)
    assert torch.equal(alone, added) and (alone == 0).any()
    (grad,) = torch.autograd.grad(alone.sum(), x)
    torch.testing.assert_close(grad, (alone / x).detach())
    assert dropout(x, 0.3, training=False) is x
