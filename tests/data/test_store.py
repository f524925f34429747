"""The token store: what is damaged or foreign is said, what is split off is chosen by content."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from sesame.data.prepare import prepare
from sesame.data.store import TokenStore, is_held_out, token_type
from sesame.errors import UserError


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("store")
    (folder / "a.txt").write_text("One document.\n\nAnother one.\n\nThe third.")
    prepare([folder / "a.txt"], folder / "store", tokenizer="bytes", held_out=0.3)
    return folder / "store"


def _edit(**changes: object) -> Callable[[Path], None]:
    def damage(store: Path) -> None:
        info = json.loads((store / "store.json").read_text())
        (store / "store.json").write_text(json.dumps({**info, **changes}))

    return damage


def _cut(name: str, by: int) -> Callable[[Path], None]:
    return lambda store: (store / name).write_bytes((store / name).read_bytes()[:-by]) and None


DAMAGES: dict[str, tuple[Callable[[Path], object], str]] = {
    "tokens cut": (_cut("tokens.bin", 4), "tokens has .* entries"),
    "tokens cut inside one": (_cut("tokens.bin", 1), "tokens.bin ends inside an entry"),
    "flags cut": (_cut("flags.bin", 1), "flags has .* entries"),
    "keys cut": (_cut("keys.npy", 3), "keys.npy"),
    "no documents": (lambda s: (s / "documents.npy").unlink(), "documents.npy"),
    "other type": (lambda s: np.save(s / "source.npy", np.zeros(3)), "source.npy holds float64"),
    "ends elsewhere": (lambda s: np.save(s / "documents.npy", np.arange(4, dtype=np.uint64)), "last document ends"),
    "later version": (_edit(version=99), "version 99"),
    "no version": (lambda s: (s / "store.json").write_text("{}"), "store.json cannot be read"),
    "not JSON": (lambda s: (s / "store.json").write_text("{"), "store.json cannot be read"),
    "field of another type": (_edit(tokens="many"), "tokens"),
    "other tokenizer": (_edit(vocabulary_hash="0" * 32), "the tokenizer is not the one"),
    "foreign folder": (lambda s: (s / "store.json").unlink(), "not a token store"),
    "no folder": (shutil.rmtree, "no such token store"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_or_foreign_folder_is_said(damage: str, whole: Path, tmp_path: Path) -> None:
    store = tmp_path / "store"
    shutil.copytree(whole, store)
    assert len(TokenStore.open(store)) == 3
    how, said = DAMAGES[damage]
    how(store)
    with pytest.raises(UserError, match=said) as error:
        TokenStore.open(store)
    assert str(store) in str(error.value)


def test_a_store_cannot_be_written_to(whole: Path) -> None:
    with pytest.raises(ValueError, match="read-only"):
        TokenStore.open(whole).ids[0] = 1


def test_the_hash_changes_with_text_and_split(whole: Path, tmp_path: Path) -> None:
    hashes = {TokenStore.open(whole).hash}
    (tmp_path / "a.txt").write_text("One document.\n\nAnother one.\n\nThe third!")
    hashes.add(prepare([tmp_path / "a.txt"], tmp_path / "b", tokenizer="bytes", held_out=0.3).hash)
    (tmp_path / "c.txt").write_text("One document.\n\nAnother one.\n\nThe third.")
    hashes.add(prepare([tmp_path / "c.txt"], tmp_path / "c", tokenizer="bytes", held_out=0.1).hash)
    assert len(hashes) == 3
    assert prepare([tmp_path / "c.txt"], tmp_path / "d", tokenizer="bytes", held_out=0.3).hash in hashes


def test_the_share_held_out_is_what_was_asked_and_never_nothing() -> None:
    keys = np.random.default_rng(0).integers(0, 2**64, 20_000, dtype=np.uint64)
    assert is_held_out(keys, 0.1).mean() == pytest.approx(0.1, abs=0.01)
    assert (is_held_out(keys, 0.1) <= is_held_out(keys, 0.2)).all()
    assert is_held_out(keys[:5], 1e-6).sum() == 1
    assert not is_held_out(keys[:5], 0.0).any() and not is_held_out(keys[:1], 1e-6).any()
    twice = np.concatenate([keys, keys])
    assert np.array_equal(is_held_out(twice, 0.1), np.tile(is_held_out(keys, 0.1), 2))


def test_ids_take_two_bytes_as_long_as_they_fit() -> None:
    assert token_type(65_536) == np.uint16 and token_type(65_537) == np.uint32
