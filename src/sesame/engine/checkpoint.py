"""Checkpoints that are whole or not there: written beside their name, hashed, renamed, verified when read.

`step-00001000/` holds `objective.safetensors` (the model: the running average of the weights where the recipe asks
for one), `optimizer.safetensors` (what only training needs: optimiser state under parameter names, and the live
weights where the model is an average), `manifest.json`, and `model/` where another library knows the architecture.
"""

import errno
import hashlib
import json
import logging
import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import msgspec
import numpy as np
import torch
from msgspec import Struct
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from sesame.data.batch import Cursor
from sesame.errors import UserError

log = logging.getLogger(__name__)

OBJECTIVE, OPTIMIZER, MANIFEST = "objective.safetensors", "optimizer.safetensors", "manifest.json"
_NAME = re.compile(r"step-(\d{8,})")


class Manifest(Struct, frozen=True, kw_only=True):
    """What a checkpoint is: where training stands, of which settings, and a hash of every tensor."""

    step: int
    cursor: Cursor
    config: str
    """Hash of the run's recipe; a checkpoint of other settings is foreign."""
    world: int = 1
    """Processes that wrote it together."""
    size: int = 0
    """Useful positions (images) seen."""
    seconds: float | None = None
    """Of training until then, over all sittings; None in checkpoints of before it was counted."""
    window: dict[str, list[float]] = {}
    """Sums since the last line of the log, so that a resumed run logs the same lines, …"""
    window_size: int = 0
    """… over so many positions …"""
    window_steps: int = 0
    """… and steps."""
    tensors: dict[str, dict[str, str]] = {}
    """file -> tensor -> BLAKE2b of its type, shape and bytes."""


class Checkpoint(Struct, frozen=True):
    """A checkpoint that was read and verified."""

    manifest: Manifest
    objective: dict[str, Tensor]
    optimizer: dict[str, Tensor]


def tensor_hash(tensor: Tensor) -> str:
    """128 bits of BLAKE2b over type, shape and bytes."""
    tensor = tensor.detach().cpu().contiguous()
    digest = hashlib.blake2b(f"{tensor.dtype} {tuple(tensor.shape)} ".encode(), digest_size=16)
    digest.update(np.atleast_1d(tensor.reshape(-1).view(torch.uint8).numpy()).data)
    return digest.hexdigest()


def folder_of(checkpoints: Path, step: int) -> Path:
    return checkpoints / f"step-{step:08d}"


def listed(checkpoints: Path) -> list[Path]:
    """The checkpoints there are, oldest first; unfinished ones are no checkpoints."""
    if not checkpoints.is_dir():
        return []
    found = [(int(m[1]), path) for path in checkpoints.iterdir() if (m := _NAME.fullmatch(path.name))]
    return [path for _, path in sorted(found)]


# ------------------------------------------------------------------------------------------------ write
def save(
    checkpoints: Path,
    manifest: Manifest,
    objective: dict[str, Tensor],
    optimizer: dict[str, Tensor],
    export: Callable[[Path], None] | None = None,
) -> Path:
    """Write one checkpoint; at every moment either all of it is there under its name or nothing is.

    `export` may add `model/` to the folder it is given. Raises UserError where the disk is full; what was written is
    removed and older checkpoints stay.
    """
    final = folder_of(checkpoints, manifest.step)
    unfinished = final.with_name(final.name + ".tmp")
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir(parents=True)
    try:
        hashes = {}
        for name, tensors in ((OBJECTIVE, objective), (OPTIMIZER, optimizer)):
            tensors = {key: value.detach().cpu().contiguous() for key, value in tensors.items()}
            hashes[name] = {key: tensor_hash(value) for key, value in tensors.items()}
            save_file(tensors, unfinished / name, metadata={"format": "pt"})
        manifest = msgspec.structs.replace(manifest, tensors=hashes)
        (unfinished / MANIFEST).write_bytes(msgspec.json.format(msgspec.json.encode(manifest), indent=1))
        if export:
            export(unfinished)
        for path in sorted(unfinished.rglob("*")):
            _flush(path)
        _flush(unfinished)
    except (OSError, SafetensorError) as error:
        shutil.rmtree(unfinished, ignore_errors=True)
        if getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT) or "No space left" in str(error):
            older = f"older ones are whole. Free some space and go on with the run (--resume {checkpoints.parent})."
            raise UserError(
                f"{final}: no space left on the disk while the checkpoint was written. It was removed; "
                + (older if listed(checkpoints) else "it was the first. Free some space and begin again.")
            ) from error
        raise UserError(f"{final}: the checkpoint cannot be written ({error}).") from error
    except BaseException:
        shutil.rmtree(unfinished, ignore_errors=True)
        raise
    if final.exists():  # a damaged one of the same step, which a resumed run has now made again
        damaged = final.with_name(final.name + ".tmp-damaged")
        final.rename(damaged)
        shutil.rmtree(damaged)
    unfinished.rename(final)
    _flush(checkpoints)
    return final


def _flush(path: Path) -> None:
    """Bytes of a file, or names of a folder, onto the disk: a rename must never overtake them."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def retain(checkpoints: Path, keep: int, newest: Path) -> None:
    """The last `keep` up to `newest` stay whole; older ones lose what only training needs.

    Of later steps are only damaged ones, from which a resumed run fell back: they are none of those that are kept.
    """
    known = listed(checkpoints)
    for path in known[: known.index(newest) + 1][:-keep]:
        (path / OPTIMIZER).unlink(missing_ok=True)


def clear_unfinished(checkpoints: Path) -> None:
    """Remove what a killed run was writing."""
    for path in checkpoints.glob("step-*.tmp*") if checkpoints.is_dir() else ():
        log.info("%s was being written when the run was killed; removed", path)
        shutil.rmtree(path)


# ------------------------------------------------------------------------------------------------- read
def read(folder: Path, config: str | None = None, weights_only: bool = False) -> Checkpoint:
    """Read and verify one checkpoint. Raises UserError naming the file and tensor that is wrong.

    `config` is the hash that the run's recipe has; `weights_only` leaves the optimiser's file alone.
    """
    manifest = read_manifest(folder)
    if config is not None and manifest.config != config:
        raise UserError(
            f"{folder / MANIFEST}: this checkpoint belongs to a run with other settings "
            f"(recipe {manifest.config}, here {config}). Put back the run's own checkpoint."
        )
    objective = _read_tensors(folder / OBJECTIVE, manifest)
    optimizer = {} if weights_only else _read_tensors(folder / OPTIMIZER, manifest)
    return Checkpoint(manifest, objective, optimizer)


def read_manifest(folder: Path) -> Manifest:
    path = folder / MANIFEST
    try:
        return msgspec.json.decode(path.read_bytes(), type=Manifest)
    except FileNotFoundError:
        raise UserError(f"{path} is missing: this is no whole checkpoint.") from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise UserError(f"{path} is damaged ({error}).") from None


def _read_tensors(path: Path, manifest: Manifest) -> dict[str, Tensor]:
    expected = manifest.tensors.get(path.name)
    if expected is None:
        raise UserError(f"{path.parent / MANIFEST} lists no tensors of {path.name}: it is damaged.")
    try:
        with safe_open(path, "pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (no mapping)
    except FileNotFoundError:
        raise UserError(
            f"{path} is missing"
            + (": only the newest checkpoints keep it (--keep)." if path.name == OPTIMIZER else ".")
        ) from None
    except (SafetensorError, OSError) as error:
        raise UserError(f"{path} is truncated or damaged ({error}).") from None
    for name, tensor in tensors.items():
        if name not in expected:
            raise UserError(f"{path}: tensor {name} is not in the manifest; the file was changed.")
        if tensor_hash(tensor) != expected[name]:
            raise UserError(f"{path}: tensor {name} is not what was written (its hash differs).")
    if missing := sorted(expected.keys() - tensors.keys()):
        raise UserError(f"{path}: tensor {missing[0]} is missing; the file was changed.")
    return tensors


def config_hash(settings: object) -> str:
    """128 bits that stand for the settings, whatever the order of the keys."""
    text = json.dumps(msgspec.to_builtins(settings), sort_keys=True)
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()
