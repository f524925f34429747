"""oneDNN's products against torch's own, and what is left to torch."""

from collections.abc import Callable, Iterator

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from sesame.config import Recipe
from sesame.engine import products
from sesame.engine.distributed import Team
from sesame.errors import UserError

pytestmark = pytest.mark.skipif(not products.available(), reason="this build of torch has no oneDNN")


@pytest.fixture(autouse=True)
def left_as_it_was() -> Iterator[None]:
    with products.using("torch"):
        yield


@pytest.fixture
def smallest(monkeypatch: pytest.MonkeyPatch) -> None:
    """Small products go to oneDNN too."""
    monkeypatch.setattr(products, "SMALLEST", 1)


def lying(rows: int, columns: int, transposed: bool, seed: int) -> Tensor:
    shape = (columns, rows) if transposed else (rows, columns)
    made = torch.randn(shape, generator=torch.Generator().manual_seed(seed))
    return made.t() if transposed else made


WAYS: dict[str, Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]] = {
    "mm": lambda a, b, row, table: a @ b,
    "into": lambda a, b, row, table: torch.mm(a, b, out=torch.empty_like(table)),
    "with a bias": lambda a, b, row, table: torch.addmm(row, a, b),
    "added": lambda a, b, row, table: torch.addmm(table, a, b),
    "in place": lambda a, b, row, table: table.clone().addmm_(a, b),
    "scaled": lambda a, b, row, table: torch.addmm(table, a, b, beta=0.5, alpha=2),
    "linear": lambda a, b, row, table: torch.nn.functional.linear(a, b.t(), row),
}


@pytest.mark.parametrize("way", WAYS)
@settings(max_examples=25, deadline=None)
@given(
    sizes=st.tuples(*[st.integers(1, 40)] * 3),
    transposed=st.tuples(st.booleans(), st.booleans()),
    seed=st.integers(0, 99),
)
def test_a_product_is_that_of_torch(way: str, sizes: tuple[int, int, int], transposed: tuple[bool, bool], seed: int):
    rows, inner, columns = sizes
    a, b = lying(rows, inner, transposed[0], seed), lying(inner, columns, transposed[1], seed + 1)
    row, table = lying(1, columns, False, seed + 2)[0], lying(rows, columns, False, seed + 3)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(products, "SMALLEST", 1)
        exact = WAYS[way](a.double(), b.double(), row.double(), table.double())
        with products.using("onednn"):
            found = WAYS[way](a, b, row, table)
    torch.testing.assert_close(found.double(), exact, atol=1e-4, rtol=1e-4)
    assert found.is_contiguous()


def test_gradients_are_those_of_torch(smallest):
    layer = torch.nn.Linear(24, 40)
    x = torch.randn(3, 17, 24, requires_grad=True)

    def gradients() -> list[Tensor]:
        return list(torch.autograd.grad(layer(x).square().sum(), [x, *layer.parameters()]))

    expected = gradients()
    with products.using("onednn"):
        found = gradients()
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_other_types_stay_with_torch(smallest, dtype):
    a, b = torch.randn(32, 48).to(dtype), torch.randn(48, 16).to(dtype)
    expected = a @ b
    with products.using("onednn"):
        assert torch.equal(a @ b, expected)


def test_a_matrix_with_gaps_stays_with_torch(smallest):
    a, b = torch.randn(32, 96)[:, ::2], torch.randn(48, 16)
    expected = a @ b
    with products.using("onednn"):
        assert torch.equal(a @ b, expected)


def test_what_cannot_be_multiplied_is_refused_as_ever(smallest):
    with products.using("onednn"), pytest.raises(RuntimeError, match="cannot be multiplied"):
        torch.randn(8, 5) @ torch.randn(4, 8)


def test_use_holds_until_the_next_use():
    products.use("onednn")
    assert products.in_use() == "onednn"
    products.use("onednn")
    products.use("torch")
    assert products.in_use() == "torch"


def test_only_fp32_on_a_cpu_is_a_question(recipe: Recipe, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(products, "fastest", lambda threads, rows=2048: "onednn")
    team = Team()
    assert products.chosen(recipe(), team) == "onednn"
    assert products.chosen(recipe(precision="fp64"), team) == "torch"
    assert products.chosen(recipe(precision="bf16"), team) == "torch"
    assert products.chosen(recipe(device="cuda"), team) == "torch"
    assert products.chosen(recipe(products="torch"), team) == "torch"


@pytest.fixture
def recipe(tiny) -> Callable[..., Recipe]:
    return tiny


def test_a_build_without_onednn_says_so(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(products, "_linear", None)
    assert products.fastest.__wrapped__(1) == "torch"
    with pytest.raises(UserError, match="no oneDNN"):
        products.use("onednn")


@pytest.mark.skipif(not products.available(), reason="a build without oneDNN")
@pytest.mark.parametrize("rows", [1, 8])
def test_a_few_rows_go_to_onednn_too_and_give_the_same(rows: int, monkeypatch: pytest.MonkeyPatch):
    asked = []
    kernel = products._linear
    monkeypatch.setattr(products, "_linear", lambda *args: asked.append(1) or kernel(*args))
    made = torch.Generator().manual_seed(0)
    x, weight, bias = (torch.randn(size, generator=made) for size in ((rows, 768), (768, 768), (768,)))
    with products.using("onednn"):
        found = torch.nn.functional.linear(x, weight, bias)
    assert asked
    torch.testing.assert_close(found.double(), x.double() @ weight.double().T + bias.double(), atol=1e-3, rtol=1e-4)


def test_what_is_faster_for_a_few_rows_is_measured_once_a_machine(monkeypatch: pytest.MonkeyPatch, tmp_path):
    monkeypatch.setenv("SESAME_CACHE", str(tmp_path))
    asked = []
    monkeypatch.setattr(products, "fastest", lambda *of: asked.append(of) or "onednn")
    sizes = ((1, 1 << 25), (1, (1 << 25) - 9), (8, 1 << 25), (3, (1 << 25) + 1), (3, 1 << 40))
    assert [products.fastest_reading(1, *of) for of in sizes] == ["onednn"] * 5
    assert asked == [(1, 1, 1 << 25), (1, 8, 1 << 25), (1, 4, 1 << 26), (1, 4, products.MOST)]
