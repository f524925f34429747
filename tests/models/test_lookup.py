import pytest
import torch
import torch.nn.functional as F

from sesame.models.lookup import lookup


@pytest.mark.parametrize("read", ["rows", "matrix", "both"])
def test_values_and_gradients_are_those_of_an_embedding_and_its_matrix(read: str) -> None:
    torch.manual_seed(0)
    weight = torch.randn(7, 3, dtype=torch.float64, requires_grad=True)
    ids, x = torch.tensor([[1, 1, 6], [0, 1, 4]]), torch.randn(5, 3, dtype=torch.float64)

    def loss(rows: torch.Tensor, matrix: torch.Tensor) -> torch.Tensor:
        one, other = (rows**3).sum(), F.linear(x, matrix).tanh().sum()
        return {"rows": one, "matrix": other, "both": one + other}[read]

    rows, matrix = lookup(weight, ids)
    assert torch.equal(rows, weight[ids]) and torch.equal(matrix, weight)
    (wanted,) = torch.autograd.grad(loss(F.embedding(ids, weight), weight), weight)
    (found,) = torch.autograd.grad(loss(rows, matrix), weight)
    assert torch.allclose(wanted, found, atol=1e-14)


def test_the_two_gradients_share_one_tensor() -> None:
    weight = torch.randn(7, 3, requires_grad=True)
    rows, matrix = lookup(weight, torch.tensor([1, 2]))
    seen: list[int] = []
    matrix.register_hook(lambda grad: seen.append(grad.data_ptr()))
    (rows.sum() + F.linear(torch.ones(2, 3), matrix).sum()).backward()
    assert weight.grad is not None and seen == [weight.grad.data_ptr()]
