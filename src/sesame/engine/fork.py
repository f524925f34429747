"""A twin of a run: the same order, the same masks, without some documents or with some in addition.

A twin goes on from a checkpoint of the run and ends at the same step, so whatever the two differ in afterwards comes
from those documents. With neither it is the run once more, bit for bit.
"""

import logging
import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np
from jaxtyping import UInt64

from sesame.config import TextData, Twin
from sesame.data import open_data, twin
from sesame.data.parallel import document_key
from sesame.data.prepare import prepare
from sesame.data.sources import Skips, SourceOptions, documents
from sesame.data.store import TokenStore
from sesame.data.text import TextSet
from sesame.engine import build as building
from sesame.engine import checkpoint
from sesame.engine.checkpoint import OPTIMIZER, Checkpoint
from sesame.engine.loop import begin, set_up
from sesame.engine.plan import positions
from sesame.engine.run import METRICS, Config, Run, check_free
from sesame.errors import UserError
from sesame.pretext.sentence_pairs import relations

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Forked:
    """A twin that was made and is to be trained (`engine.start.resume`)."""

    run: Run
    documents: int
    """Documents that the run it comes from is trained on, …"""
    left_out: int
    """… how many of these the twin leaves out, …"""
    added: int
    """… how many it reads in addition, …"""
    times: int
    """… and how often each of those."""


def fork(
    parent: Path | str,
    out: Path | str,
    at: int,
    without: Sequence[str] = (),
    added: Sequence[str] = (),
    options: SourceOptions | None = None,
) -> Forked:
    """Make the run folder `out`: a twin of `parent`, which goes on from its checkpoint of step `at`.

    `without` and `added` are sources as `data.prepare` takes them, read with `options`; documents are the same where
    their text is. Added ones are read as often as the run reads its own text in the steps that are left, at least once.
    Raises UserError where there can be no exact twin; then `out` is not made.
    """
    run, out, options = Run.open(parent), Path(out), options or SourceOptions()
    data = _check(run, at)
    recipe, store = run.recipe, data.store
    check_free(out, recipe)
    if out.exists() and any(out.iterdir()):
        raise UserError(f"{out} exists and is not empty. Nothing was written: choose another --out.")
    found = _checkpoint(run, at)
    epochs = (recipe.steps - at) * positions(recipe) / max(int(store.lengths[~store.held_out].sum()), 1)
    told = Twin(
        of=str(run.path.resolve()),
        at=at,
        folder=str(out.resolve() / "data"),
        without=tuple(without),
        added=tuple(added),
        times=max(1, round(epochs)) if added else 1,
    )
    beside = out.with_name(f".{out.name}.{os.getpid()}")
    try:
        keys, more, identity = _documents(run, store, told, beside / "data", options)
        recipe = msgspec.structs.replace(recipe, data=msgspec.structs.replace(recipe.data, twin=told))
        config = Config(recipe=recipe, machine=run.config.machine, data=identity, origin=run.config.origin)
        made = Run.create(beside, config, data.vocabulary)
        _save(made, run, found, data)
        if (run.path / METRICS).exists():
            shutil.copy(run.path / METRICS, beside)
            made.forget_after(at)
        made.set_state("interrupted", at)
        made.close()
        if out.exists():
            out.rmdir()
        beside.rename(out)
    finally:
        shutil.rmtree(beside, ignore_errors=True)
    trained = ~store.held_out
    gone = int((np.isin(store.keys, keys) & trained).sum())
    return Forked(Run.open(out), int(trained.sum()), gone, more, told.times)


def _check(run: Run, at: int) -> TextSet:
    """The text of a run that can have twins. Raises UserError for another."""
    recipe, state = run.recipe, run.state()
    if not isinstance(recipe.data, TextData):
        kind = recipe.data.__struct_config__.tag
        raise UserError(f"{run.path} was trained on {kind}. Twins are made of runs on text, which has documents.")
    if state and state.state == "imported":
        raise UserError(f"{run.path} is an imported model, which never was in training: it has no order to repeat.")
    if recipe.data.twin:
        raise UserError(f"{run.path} is a twin of {recipe.data.twin.of}. Fork that one.")
    if run.is_live():
        raise UserError(
            f"{run.path} is in training now. Wait until it ends, or stop it (it saves first), then fork it."
        )
    if at >= recipe.steps:
        raise UserError(f"--at {at}: {run.path} has {recipe.steps} steps, so nothing would be left to train.")
    data: TextSet = open_data(recipe.data)
    if building.altered(data, run.config.data):
        raise UserError(f"{recipe.data.store} holds other text than {run.path} was trained on. Put its own back.")
    return data


def _checkpoint(run: Run, at: int) -> Checkpoint:
    """What to go on from. Before the first step an optimiser knows nothing, so there the weights are enough."""
    kept = {path: (path / OPTIMIZER).exists() for path in checkpoint.listed(run.checkpoints)}
    first, folder, last = (checkpoint.folder_of(run.checkpoints, step) for step in (0, at, run.recipe.steps))
    possible = [path for path, whole in kept.items() if path == first or (whole and path < last)]
    if folder not in possible:
        steps = ", ".join(str(int(path.name.split("-")[1])) for path in possible)
        raise UserError(
            f"{run.path} has no checkpoint of step {at} with the optimizer's state, without which a twin is not exact. "
            f"Steps to fork it at: {steps or 'none'}. A run that is started with --keep N keeps more of them."
        )
    return checkpoint.read(folder, run.config_hash, weights_only=not kept[folder])


def _save(made: Run, run: Run, found: Checkpoint, data: TextSet) -> None:
    """The checkpoint as the twin's own."""
    manifest, objective, optimizer = found.manifest, found.objective, found.optimizer
    if not optimizer:
        training = set_up(run.recipe, made, data)
        begin(training, objective)
        manifest, objective, optimizer = training.state()
    model = checkpoint.folder_of(run.checkpoints, manifest.step) / "model"

    def export(folder: Path) -> None:
        if model.is_dir():
            shutil.copytree(model, folder / "model")

    manifest = msgspec.structs.replace(manifest, config=made.config_hash)
    checkpoint.save(made.checkpoints, manifest, objective, optimizer, export)


# ------------------------------------------------------------------------------------------ documents
def _documents(
    run: Run, store: TokenStore, told: Twin, folder: Path, options: SourceOptions
) -> tuple[UInt64[np.ndarray, " document"], int, str]:
    """Write what the twin reads otherwise into `folder`. The keys it leaves out, how many documents it adds, and the
    hash of its data."""
    folder.mkdir(parents=True)
    keys, more = np.zeros(0, np.uint64), 0
    if told.without:
        keys = _left_out(run, store, told.without, options)
        np.save(folder / twin.WITHOUT, keys)
        if not told.at and any((run.path / "artifacts").glob("*.npz")):
            log.info("the first weights are those of %s, which come from counts of all its text", run.path)
    if told.added:
        more = _added(run, store, told.added, folder / twin.ADDED, options)
    return keys, more, store.hash + twin.fingerprint(msgspec.structs.replace(told, folder=str(folder)))


def _keys_of(sources: Sequence[str], options: SourceOptions) -> UInt64[np.ndarray, " document"]:
    texts = (document.text.encode() for document in documents(sources, options, Skips()))
    return np.fromiter(map(document_key, texts), np.uint64)


def _left_out(
    run: Run, store: TokenStore, sources: Sequence[str], options: SourceOptions
) -> UInt64[np.ndarray, " document"]:
    """The content keys of the documents of `sources` that the run was trained on."""
    keys = _keys_of(sources, options)
    names = ", ".join(sources)
    there = np.isin(keys, store.keys)
    trained = np.isin(keys, store.keys[~store.held_out])
    held = int((there & ~trained).sum())
    if held and not trained.any():
        raise UserError(f"{names}: {held} of its documents are in the text of {run.path}, which holds them out anyway.")
    if not trained.any():
        raise UserError(
            f"{names}: none of its {len(keys)} documents is in the text of {run.path}. A document is known by its "
            "whole text, so the source must be cut as that text was (--document, --text-field)."
        )
    also = f" ({held} of them held out anyway)" if held else ""
    log.info("%d of the %d documents of %s are in the text of %s%s", there.sum(), len(keys), names, run.path, also)
    if np.isin(store.keys[~store.held_out], keys).all():
        raise UserError(f"{names} holds all that {run.path} is trained on: nothing would be left.")
    return np.unique(keys[trained])


def _added(run: Run, store: TokenStore, sources: Sequence[str], folder: Path, options: SourceOptions) -> int:
    """Prepare the added documents in `folder` with the run's tokenizer; how many there are."""
    prepare(
        sources, folder, tokenizer=store.path, document=options.document, text_field=options.text_field, held_out=0.0
    )  # fmt: skip
    keys = TokenStore.open(folder).keys
    names = ", ".join(sources)
    if "next" in relations(run.recipe.pretext) and len(keys) < 2:
        raise UserError(f"{names} is one document; wrong next sentences are drawn from another one of its source.")
    if known := int(np.isin(keys, store.keys[~store.held_out]).sum()):
        log.info("%d of the %d documents of %s are in the text of %s already", known, len(keys), names, run.path)
    if known := int(np.isin(keys, store.keys[store.held_out]).sum()):
        log.warning("%d of the %d documents of %s are held out in %s: its held-out loss will know them",
                    known, len(keys), names, run.path)  # fmt: skip
    return len(keys)
