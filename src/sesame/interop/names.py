"""A name map between our tensors and another library's: data in a table a family, and the two ways through it."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Name:
    """One tensor of ours and where it lies in the other library."""

    ours: str
    theirs: tuple[str, ...]
    """One name; or several, when ours is theirs laid one after another along the first axis (a fused QKV)."""


Pattern = tuple[str, str | tuple[str, ...]]
"""Ours and theirs, with `{i}` for the number of the layer and a final `*` for both `weight` and `bias`."""


def expand(table: Iterable[Pattern], layers: int) -> list[Name]:
    """Every name that the patterns stand for, in a model of so many layers."""
    names = []
    for ours, theirs in table:
        theirs = (theirs,) if isinstance(theirs, str) else theirs
        for i in range(layers if "{i}" in ours else 1):
            for end in ("weight", "bias") if ours.endswith("*") else ("",):
                name, *parts = (p.replace("{i}", str(i)).removesuffix("*") + end for p in (ours, *theirs))
                names.append(Name(name, tuple(parts)))
    return names


def to_theirs(state: Mapping[str, Tensor], names: Iterable[Name]) -> dict[str, Tensor]:
    """The tensors of `state` under the other library's names; each owns its memory."""
    return {
        theirs: part.clone(memory_format=torch.contiguous_format)
        for name in names
        for theirs, part in zip(name.theirs, state[name.ours].chunk(len(name.theirs)), strict=True)
    }


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
        need = [rows // len(name.theirs), *rest]
        used.update(name.theirs)
        missing = [n for n in name.theirs if n not in theirs]
        wrong = [n for n in name.theirs if n in theirs and list(theirs[n].shape) != need]
        mapped.missing.extend(missing)
        mapped.misshapen.extend(f"{n} {list(theirs[n].shape)} instead of {need}" for n in wrong)
        if not missing and not wrong:
            mapped.state[name.ours] = torch.cat([theirs[n].float() for n in name.theirs])
    mapped.unused.extend(n for n in theirs if n not in used)
    return mapped
