"""A checkpoint is whole or not there, and a wrong one is refused by the name of its file and tensor."""

import errno
import os
from pathlib import Path

import msgspec
import pytest
import torch
from safetensors.torch import load_file, save_file

from sesame.data.batch import Cursor
from sesame.engine import checkpoint
from sesame.engine.checkpoint import MANIFEST, OBJECTIVE, OPTIMIZER, Manifest
from sesame.errors import UserError

MODEL = {"a.weight": torch.arange(6.0).reshape(2, 3), "a.bias": torch.zeros(2), "count": torch.tensor(3)}
STATE = {"adamw.exp_avg.a.weight": torch.ones(2, 3), "adamw.step.a.weight": torch.tensor(7.0)}


def manifest(step: int = 10, config: str = "c0ffee") -> Manifest:
    return Manifest(step=step, cursor=Cursor(epoch=1, block=2, row=3), config=config)


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    return checkpoint.save(tmp_path / "checkpoints", manifest(), MODEL, STATE)


def test_what_is_read_is_what_was_saved(saved):
    found = checkpoint.read(saved, "c0ffee")
    assert found.manifest.step == 10
    assert found.manifest.cursor == Cursor(epoch=1, block=2, row=3)
    for expected, got in ((MODEL, found.objective), (STATE, found.optimizer)):
        assert expected.keys() == got.keys()
        assert all(torch.equal(expected[name], got[name]) for name in expected)


@pytest.mark.parametrize("file", [OBJECTIVE, OPTIMIZER])
@pytest.mark.parametrize("keep", [0, 5, 100, -1])
def test_a_truncated_file_is_refused_by_name(saved, file, keep):
    content = (saved / file).read_bytes()
    (saved / file).write_bytes(content[:keep])
    with pytest.raises(UserError, match=f"{file} is truncated or damaged"):
        checkpoint.read(saved)


def test_one_flipped_bit_is_refused_by_the_tensors_name(saved):
    content = bytearray((saved / OBJECTIVE).read_bytes())
    content[-1] ^= 1
    (saved / OBJECTIVE).write_bytes(content)
    with pytest.raises(UserError, match=rf"{OBJECTIVE}: tensor \S+ is not what was written"):
        checkpoint.read(saved)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda t: t | {"new": torch.zeros(1)}, "tensor new is not in the manifest"),
        (lambda t: {k: v for k, v in t.items() if k != "a.bias"}, "tensor a.bias is missing"),
        (lambda t: t | {"a.bias": torch.zeros(1, 2)}, "tensor a.bias is not what was written"),
        (lambda t: t | {"a.bias": torch.zeros(2, dtype=torch.int32)}, "tensor a.bias is not what was written"),
    ],
)
def test_a_file_with_other_tensors_is_refused_by_the_tensors_name(saved, change, says):
    save_file(change(load_file(saved / OBJECTIVE)), saved / OBJECTIVE)
    with pytest.raises(UserError, match=says):
        checkpoint.read(saved)


def test_a_checkpoint_of_other_settings_is_refused(saved):
    with pytest.raises(UserError, match="run with other settings"):
        checkpoint.read(saved, "decaf")


@pytest.mark.parametrize("file", [OBJECTIVE, OPTIMIZER, MANIFEST])
def test_a_missing_file_is_named(saved, file):
    (saved / file).unlink()
    with pytest.raises(UserError, match=f"{file} is missing"):
        checkpoint.read(saved)


@pytest.mark.parametrize("content", [b"", b"{", b'{"step": "ten"}', b"\xff\xfe"])
def test_a_damaged_manifest_is_named(saved, content):
    (saved / MANIFEST).write_bytes(content)
    with pytest.raises(UserError, match=f"{MANIFEST} is damaged"):
        checkpoint.read(saved)


def test_a_full_disk_keeps_the_old_checkpoint_and_leaves_nothing_behind(saved, monkeypatch):
    def full(handle: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(UserError, match="no space left"):
        checkpoint.save(saved.parent, manifest(20), MODEL, STATE)
    assert [path.name for path in saved.parent.iterdir()] == [saved.name]
    checkpoint.read(saved)


def test_nothing_has_the_final_name_before_everything_is_on_the_disk(tmp_path, monkeypatch):
    order: list[str] = []
    fsync, rename = os.fsync, Path.rename
    monkeypatch.setattr(
        os, "fsync", lambda handle: (order.append(os.readlink(f"/proc/self/fd/{handle}")), fsync(handle))
    )
    monkeypatch.setattr(Path, "rename", lambda path, to: (order.append("rename"), rename(path, to))[1])
    checkpoint.save(tmp_path, manifest(), MODEL, STATE)
    flushed = {Path(path).name for path in order[: order.index("rename")]}
    assert {OBJECTIVE, OPTIMIZER, MANIFEST, "step-00000010.tmp"} <= flushed


def test_a_damaged_checkpoint_of_the_same_step_is_replaced(saved):
    (saved / OBJECTIVE).write_bytes(b"")
    checkpoint.save(saved.parent, manifest(), MODEL, STATE)
    checkpoint.read(saved)
    assert len(list(saved.parent.iterdir())) == 1


def test_the_newest_stay_whole_and_the_others_keep_their_weights(tmp_path):
    for step in (0, 10, 20, 100_000_000):
        checkpoint.retain(tmp_path, keep=2, newest=checkpoint.save(tmp_path, manifest(step), MODEL, STATE))
    steps = checkpoint.listed(tmp_path)
    assert [(path / OPTIMIZER).exists() for path in steps] == [False, False, True, True]
    assert checkpoint.read(steps[0], weights_only=True).manifest.step == 0
    with pytest.raises(UserError, match="only the newest"):
        checkpoint.read(steps[0])


def test_a_run_that_fell_back_keeps_what_it_saves_and_not_the_damaged_ones_ahead(tmp_path):
    for step in (10, 20, 30):
        checkpoint.save(tmp_path, manifest(step), MODEL, STATE)
    checkpoint.retain(tmp_path, keep=1, newest=checkpoint.save(tmp_path, manifest(15), MODEL, STATE))
    whole = [checkpoint.read_manifest(path).step for path in checkpoint.listed(tmp_path) if (path / OPTIMIZER).exists()]
    assert whole == [15, 20, 30]


def test_half_written_folders_are_no_checkpoints(saved):
    saved.with_name("step-00000020.tmp").mkdir()
    assert checkpoint.listed(saved.parent) == [saved]
    checkpoint.clear_unfinished(saved.parent)
    assert list(saved.parent.iterdir()) == [saved]


def test_the_hash_of_settings_does_not_depend_on_the_order_of_keys():
    assert checkpoint.config_hash({"a": 1, "b": {"c": 2, "d": 3}}) == checkpoint.config_hash(
        {"b": {"d": 3, "c": 2}, "a": 1}
    )
    assert checkpoint.config_hash({"a": 1}) != checkpoint.config_hash({"a": 2})


def test_the_manifest_survives_json():
    made = msgspec.structs.replace(manifest(), window={"loss": [0.1, 3, 1, 1.0, 1.0]})
    assert msgspec.json.decode(msgspec.json.encode(made), type=Manifest) == made
