"""Matrix products on a CPU by oneDNN, where that is faster than the BLAS that torch was built with.

torch multiplies fp32 matrices with MKL, which leaves AVX-512 unused on processors of another maker; oneDNN, which
torch carries for bf16 and convolutions, uses it. Both compute in fp32 and differ in the order of sums only. `use` puts
a kernel in front of torch's own for the products of two matrices, forward and backward alike, so that plain torch code
has them too: a model, a head, a probe, a pretext task of one's own. Like the number of threads it is a setting of the
process; which is used is measured at the start of a run and frozen with it.
"""

import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any, Literal

import torch
from torch import Tensor, library

from sesame.config import Recipe
from sesame.data.kept import kept
from sesame.engine import machine
from sesame.engine.distributed import Team
from sesame.errors import UserError

Products = Literal["torch", "onednn"]

SMALLEST = 1 << 21
"""Multiplications below which a product stays with torch: what a call costs by itself would show."""
FEW, FEW_SMALLEST = 64, 1 << 18
"""With so few rows, as when a model writes token after token, what takes time is to read the other matrix: one of so
many numbers is worth a call."""
MOST = 1 << 29
"""Bytes of weights that a measurement reads at most, which are all of a larger model's as far as caches go."""
GAIN = 1.15
"""How many times as fast oneDNN must be with few rows, so that a measurement's noise does not decide."""
GAIN_MANY = 1.4
"""The same with many. Products of one shape in a loop flatter it: shapes that change, as in fine-tuning, have to be
prepared. On a Zen 4 it is 1.05 to 1.35 times as fast in the loop, and a tenth slower there (docs/results.md)."""

_linear: Any = getattr(torch.ops.mkldnn, "_linear_pointwise", None)
_kernels: library.Library | None = None
"""While it lives, oneDNN's kernels stand before torch's."""


def use(products: Products) -> None:
    """From now on, and in this process, multiply so. Raises UserError where torch was built without oneDNN."""
    global _kernels
    if (products == "onednn") == (_kernels is not None):
        return
    if products == "torch":
        assert _kernels is not None
        _kernels._destroy()
        _kernels = None
        return
    if not available():
        raise UserError("--products onednn: this build of torch has no oneDNN. Choose torch, or auto.")
    made = library.Library("aten", "IMPL")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that a kernel is replaced, which is the intention
        for name, kernel in _KERNELS.items():
            made.impl(name, _before(library.get_kernel(f"aten::{name}", "CPU"), kernel), "CPU", with_keyset=True)
    _kernels = made


@contextmanager
def using(products: Products) -> Iterator[None]:
    """Inside, multiply so."""
    was = in_use()
    use(products)
    try:
        yield
    finally:
        use(was)


def in_use() -> Products:
    return "torch" if _kernels is None else "onednn"


def available() -> bool:
    return _linear is not None and torch.backends.mkldnn.is_available()


def chosen(recipe: Recipe, team: Team) -> Products:
    """What `recipe` asks for or, if it leaves it open, what is faster here: on all processes the same."""
    if recipe.products != "auto":
        return recipe.products
    if recipe.device != "cpu" or recipe.precision != "fp32":
        return "torch"
    votes = team.total([float(fastest(recipe.threads) == "onednn")])[0]
    return "onednn" if votes == team.world else "torch"


@cache
def fastest(threads: int, rows: int = 2048, size: int = 0) -> Products:
    """Which is faster on this machine, by products of a small network's shape, forward and backward; with few `rows`,
    by forward products with matrices of `size` bytes. Takes some tenths of a second; with
    512 MB, seconds and as much memory.
    """
    if not available():
        return "torch"
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    made = torch.Generator().manual_seed(0)
    work, repeats = (_reading(rows, size, made), 2) if rows <= FEW else (_layer(rows, made), 6)
    seconds: dict[Products, float] = {}
    try:
        with torch.inference_mode():
            for _ in range(3):  # in turn, so that another process's load meets both
                for products in ("torch", "onednn"):
                    with using(products):
                        seconds[products] = min(seconds.get(products, 1e9), _timed(work, repeats))
    finally:
        torch.set_num_threads(before)
    gain = GAIN if rows <= FEW else GAIN_MANY
    return "onednn" if seconds["torch"] > gain * seconds["onednn"] else "torch"


def fastest_reading(threads: int, rows: int, size: int) -> Products:
    """`fastest` of few rows with weights of `size` bytes, as it was measured the first time on this machine: sums in
    another order could make a model choose another token, and the same seed is to write the same text."""
    rows, size = 1 << (rows - 1).bit_length(), min(1 << (size - 1).bit_length(), MOST)
    made_of = (torch.__version__, machine.cpu_model(), threads, rows, size, GAIN)
    found: Products = kept(f"products-{rows}", made_of, Products, lambda: fastest(threads, rows, size))
    return found


def _layer(rows: int, made: torch.Generator) -> Callable[[], Any]:
    """A linear layer's three products: forward, to its input, to its weight."""
    x, weight = (torch.randn(size, generator=made) for size in ((rows, 256), (1024, 256)))

    def work() -> Tensor:
        y = x @ weight.T
        return y.T @ (y @ weight)

    return work


def _reading(rows: int, size: int, made: torch.Generator) -> Callable[[], Any]:
    """As many numbers as are asked for, since it makes a difference whether a cache holds them: a third of them as the
    embeddings of a vocabulary, the rest as layers."""
    x = torch.randn(rows, 768, generator=made)
    many = size // (4 * 768)
    layers = torch.full((max(1, many * 2 // 3 // 2304), 2304, 768), 0.1)
    weights = [torch.full((max(1, many // 3), 768), 0.1), *layers.unbind()]
    return lambda: [x @ weight.T for weight in weights]


def _timed(work: Callable[[], Any], repeats: int) -> float:
    work()
    began = time.perf_counter()
    for _ in range(repeats):
        work()
    return time.perf_counter() - began


# ------------------------------------------------------------------------------------------------ kernels
def _before(plain: Any, kernel: Callable[..., Tensor | None]) -> Callable[..., Tensor]:
    """`kernel`, and torch's own where that gives None."""

    def either(keys: Any, *args: Any, **options: Any) -> Tensor:
        found = kernel(*args, **options)
        return plain.call_boxed(keys, *args, **options) if found is None else found

    return either


def _suits(a: Tensor, b: Tensor) -> bool:
    """Two fp32 matrices large enough, each of them whole in memory or the transpose of one that is."""
    return (
        a.dtype == b.dtype == torch.float32
        and a.ndim == b.ndim == 2
        and a.shape[1] == len(b)
        and (len(a) * b.numel() >= SMALLEST or (0 < len(a) <= FEW and b.numel() >= FEW_SMALLEST))
        and (a.is_contiguous() or a.t().is_contiguous())
        and (b.is_contiguous() or b.t().is_contiguous())
    )


def _product(a: Tensor, b: Tensor, bias: Tensor | None = None) -> Tensor:
    """a @ b (+ bias). oneDNN is slow where a result is tall and both matrices lie transposed: then it is made lying."""
    if bias is None and len(a) > b.shape[1] and not a.is_contiguous():
        return _linear(b.t(), a, None, "none", [], "").t().contiguous()
    return _linear(a, b.t(), bias, "none", [], "")


def _mm(a: Tensor, b: Tensor) -> Tensor | None:
    return _product(a, b) if _suits(a, b) else None


def _addmm(added: Tensor, a: Tensor, b: Tensor, *, beta: float | int = 1, alpha: float | int = 1) -> Tensor | None:
    if alpha != 1 or beta != 1 or added.dtype != torch.float32 or not _suits(a, b):
        return None
    return _product(a, b, added) if added.shape == b.shape[1:] else _product(a, b).add_(added)


def _mm_out(a: Tensor, b: Tensor, *, out: Tensor) -> Tensor | None:
    return out.copy_(_product(a, b)) if _suits(a, b) and out.shape == (len(a), b.shape[1]) else None


def _addmm_(added: Tensor, a: Tensor, b: Tensor, *, beta: float | int = 1, alpha: float | int = 1) -> Tensor | None:
    if alpha != 1 or beta != 1 or added.dtype != torch.float32 or not _suits(a, b):
        return None
    return added.add_(_product(a, b))


_KERNELS: dict[str, Callable[..., Tensor | None]] = {
    "mm": _mm,
    "addmm": _addmm,
    "mm.out": _mm_out,
    "addmm_": _addmm_,
}
