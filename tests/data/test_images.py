"""ImageStream: the built-in digits, their identity and the held-out tenth."""

import itertools
from pathlib import Path

import msgspec
import numpy as np
import pytest
from sklearn.datasets import load_digits

from sesame import recipes
from sesame.config import ImageData, ResNet, ViT
from sesame.data import open_data
from sesame.data.batch import Cursor
from sesame.data.images import ImageSet, ImageStream, content_keys, digits
from sesame.engine import build
from sesame.errors import UserError


def test_digits_keep_scikit_learns_ink_and_labels() -> None:
    pixels, label = digits()
    found = load_digits()
    assert pixels.shape == (1797, 1, 8, 8) and pixels.min() == 0 and pixels.max() == 255
    assert (np.rint(pixels[:, 0] / 255 * 16) == found.images).all()
    assert (label == found.target).all()


def test_a_key_is_the_content_wherever_the_image_stands() -> None:
    pixels, _ = digits()
    key = content_keys(pixels)
    assert (content_keys(pixels[::-1]) == key[::-1]).all()
    assert len(set(key.tolist())) == len({image.tobytes() for image in pixels})
    changed = pixels[:1].copy()
    changed[0, 0, 3, 3] += 1
    assert content_keys(changed)[0] != key[0]


def test_training_never_sees_what_is_held_out() -> None:
    stream = ImageStream(ImageSet(ImageData(rows=64)), seed=3)
    away = {k for batch in stream.held_out(10**6) for k in batch.key.tolist()}
    epoch = [s.parts[0] for s in itertools.islice(stream.train(Cursor(), 0, 100, 1), len(stream.training) // 64)]
    seen = {k for batch in epoch for k in batch.key.tolist()}
    assert {batch.epoch for batch in epoch} == {0}
    assert not away & seen
    assert 0.07 < len(away) / 1797 < 0.13


def test_held_out_gives_at_most_the_rows_asked_for_the_same_for_every_process_and_run() -> None:
    one = list(ImageStream(ImageSet(ImageData(rows=32)), seed=0).held_out(80))
    other = list(ImageStream(ImageSet(ImageData(rows=32)), seed=9, rank=1, world=2).held_out(80))
    assert [b.size for b in one] == [32, 32, 16]
    assert all(
        (a.key == b.key).all() and (a.seed, a.epoch) == (b.seed, b.epoch) for a, b in zip(one, other, strict=True)
    )


def test_a_part_of_what_is_held_out_has_the_classes_of_the_whole(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (5000, 4, 4)).astype(np.uint8)
    np.savez(tmp_path / "sorted.npz", x=pixels, y=np.repeat(np.arange(5), 1000))
    data = ImageSet(ImageData(source=str(tmp_path / "sorted.npz"), rows=50, cache=str(tmp_path)))
    part = np.concatenate([batch.label for batch in ImageStream(data, seed=0).held_out(100)])
    assert len(part) == 100 and np.bincount(part, minlength=5).min() >= 10


def test_a_batch_carries_each_images_own_pixels_and_label() -> None:
    stream = ImageStream(ImageSet(ImageData(rows=50)), seed=1)
    step = next(stream.train(Cursor(epoch=4, row=100), 0, 10, 2))
    assert [p.size for p in step.parts] == [25, 25] and step.size == 50
    assert step.cursor == Cursor(epoch=4, row=150)
    label = dict(zip(stream.key.tolist(), stream.label.tolist(), strict=True))
    for part in step.parts:
        assert part.epoch == 4 and part.seed == 1
        assert (content_keys(part.pixels) == part.key).all()
        assert part.label is not None and [label[k] for k in part.key.tolist()] == part.label.tolist()


def test_what_the_data_know_fills_what_a_backbone_leaves_open() -> None:
    assert ImageSet(ImageData()).facts == {"in_channels": 1, "image": 8}
    recipe = msgspec.structs.replace(recipes.find("byol-digits"), backbone=ViT(patch=2, layers=1))
    frozen = build.freeze(recipe, open_data(recipe.data)).backbone
    assert (frozen.in_channels, frozen.image, frozen.patch) == (1, 8, 2)
    told = msgspec.structs.replace(recipe, backbone=ResNet(in_channels=3, image=64))
    assert build.freeze(told, open_data(told.data)).backbone == ResNet(in_channels=3, image=64)


def test_an_unknown_source_names_the_nearest() -> None:
    with pytest.raises(UserError, match="digits"):
        ImageStream(ImageSet(ImageData(source="digit")), seed=0)
