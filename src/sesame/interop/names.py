"""A name map between our tensors and another library's: data in a table a family, and the two ways through it."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor


@dataclass(frozen=True)
class Name:
    """One tensor of ours and where it lies in the other library."""

    ours: str
    theirs: tuple[str, ...]
    """One name; or several, when ours is theirs laid one after another along the first axis (a fused QKV)."""
    transposed: bool = False
    """Theirs is kept with rows and columns exchanged, where it is a matrix."""
    skipped: int = 0
    """Rows at the start of theirs that nothing reads: written as zeros."""


Pattern = tuple[str, str | tuple[str, ...]]
"""Ours and theirs, with `{i}` for the number of the layer and a final `*` for both `weight` and `bias`."""


def expand(table: Iterable[Pattern], layers: int | Iterable[Mapping[str, int]], transposed: bool = False) -> list[Name]:
    """Every name that the patterns stand for, in a model of so many layers; or in one whose layers have other numbers
    in the other library, which `layers` lists: {"i": ours, …}."""
    numbers = [{"i": i} for i in range(layers)] if isinstance(layers, int) else list(layers)
    names = []
    for ours, theirs in table:
        theirs = (theirs,) if isinstance(theirs, str) else theirs
        for number in numbers if "{i}" in ours else [{}]:
            for end in ("weight", "bias") if ours.endswith("*") else ("",):
                name, *parts = (p.format(**number).removesuffix("*") + end for p in (ours, *theirs))
                names.append(Name(name, tuple(parts), transposed))
    return names


def skipping(names: Iterable[Name], ours: str, rows: int) -> list[Name]:
    """The same names, with `rows` of theirs before the first of ours in the table called `ours`."""
    return [replace(name, skipped=rows) if name.ours == ours else name for name in names]


def to_theirs(state: Mapping[str, Tensor], names: Iterable[Name]) -> dict[str, Tensor]:
    """The tensors of `state` under the other library's names; each owns its memory."""
    return {
        theirs: _written(part, name)
        for name in names
        for theirs, part in zip(name.theirs, state[name.ours].chunk(len(name.theirs)), strict=True)
    }


def _written(part: Tensor, name: Name) -> Tensor:
    if name.transposed and part.ndim == 2:
        part = part.T
    if name.skipped:
        part = torch.cat([part.new_zeros(name.skipped, *part.shape[1:]), part])
    return part.clone(memory_format=torch.contiguous_format)


@dataclass(frozen=True)
class Mapped:
    """What came of another library's tensors, and what did not: every list names tensors one by one."""

    state: dict[str, Tensor]
    missing: list[str]
    """Their names of tensors that are needed and not there."""
    misshapen: list[str]
    """`name [found] instead of [needed]`."""
    unused: list[str]
    """Their names of tensors that have no place here."""


def to_ours(theirs: Mapping[str, Tensor], names: Iterable[Name], shapes: Mapping[str, torch.Size]) -> Mapped:
    """The tensors of `theirs` under our names in float32, held to our `shapes`."""
    mapped = Mapped({}, [], [], [])
    used: set[str] = set()
    for name in names:
        rows, *rest = shapes[name.ours]
        need = [rows // len(name.theirs) + name.skipped, *rest]
        turned = name.transposed and len(need) == 2
        need = need[::-1] if turned else need
        used.update(name.theirs)
        missing = [n for n in name.theirs if n not in theirs]
        wrong = [n for n in name.theirs if n in theirs and list(theirs[n].shape) != need]
        mapped.missing.extend(missing)
        mapped.misshapen.extend(f"{n} {list(theirs[n].shape)} instead of {need}" for n in wrong)
        if not missing and not wrong:
            parts = [theirs[n].float().T if turned else theirs[n].float() for n in name.theirs]
            mapped.state[name.ours] = torch.cat([part[name.skipped :] for part in parts])
    mapped.unused.extend(n for n in theirs if n not in used)
    return mapped
