"""Labelled images: what is held out, balanced choices, fine-tuning with batch norm, and the whole comparison."""

from collections import Counter
from dataclasses import replace
from pathlib import Path

import msgspec
import numpy as np
import pytest
import torch
from PIL import Image
from small_model import make

from sesame import config
from sesame.config import FineTune
from sesame.data.batch import Pixels
from sesame.data.images import ImageSet, ImageStream
from sesame.engine import build as building
from sesame.engine.build import Model
from sesame.errors import UserError
from sesame.tasks import frozen
from sesame.tasks.arms import HEAD_ALONE, fresh, network_of
from sesame.tasks.base import Notes
from sesame.tasks.comparison import compare, sizes_of
from sesame.tasks.finetune import encode, fine_tune
from sesame.tasks.folder import tuned_of
from sesame.tasks.images import ImageNetwork, gentle, parts_of
from sesame.tasks.opening import open_task
from sesame.tasks.tuned import Card, Tuned, open_tuned

QUICK = FineTune(epochs=1, min_steps=2, rows=32, evaluations=1, lr=1e-3, dropout=0.0)


@pytest.fixture(scope="module")
def digits():
    return open_task("digits")


@pytest.fixture(scope="module")
def model():
    torch.set_num_threads(1)
    source = config.ImageData(rows=64)
    task = config.Byol(views=config.VIEWS["digits"], hidden=12, out=8)
    recipe = config.Recipe(name="tiny", data=source, backbone=config.ConvNet(channels=(6, 10)), pretext=task)
    return Model(building.build(recipe, source).eval(), None, recipe, 0)


def test_what_is_tested_is_what_pretraining_holds_out(digits):
    stream = ImageStream(ImageSet(config.ImageData()), 0)
    content = {e.content for e in digits.test}
    assert content == set(stream.key[stream.away].tolist())
    assert not content & {e.content for e in (*digits.train, *digits.dev)}
    assert len(digits.train) + len(digits.dev) == len(stream.training)
    assert digits.task.labels == tuple("0123456789")
    assert any("held out" in note for note in digits.notes.counts)


def test_a_small_choice_is_balanced_and_part_of_a_larger_one(digits):
    order = digits.task.order(digits.train, 3)
    assert sorted(order) == list(range(len(digits.train)))
    for count in (10, 100):
        assert set(Counter(digits.train[i].label for i in order[:count]).values()) == {count // 10}
    assert digits.task.order(digits.train, 4)[:10].tolist() != order[:10].tolist()


def test_numbers_of_examples_per_class_and_in_hundredths(digits):
    asked = FineTune(labels=(40,), per_class=(1, 4), percent=(10.0,))
    assert sizes_of(asked, digits) == {10: True, 40: True, round(len(digits.train) / 10): False}


def test_heads_alone_are_no_arms_of_images(digits, model):
    with pytest.raises(UserError, match="Leave --frozen out"):
        compare(model, digits, QUICK, seeds=1, arms=HEAD_ALONE)


def test_training_images_are_cropped_by_keyed_chance_and_others_are_whole(digits, model):
    encoded = encode(model, digits)
    network = network_of("pretrained", model, digits.task, 0, 0.0)
    assert isinstance(network, ImageNetwork) and network.augment == gentle(model)
    some = np.arange(6)
    whole = torch.from_numpy(encoded.train.pixels[some]).float() / 255
    torch.manual_seed(1)
    first, again = network.train().batch(encoded.train, some, 0), network.batch(encoded.train, some, 0)
    torch.manual_seed(2)
    other = network.batch(encoded.train, some, 0)
    assert torch.equal(first.images.x, again.images.x) and not torch.equal(first.images.x, other.images.x)
    assert not torch.allclose(first.images.x, whole, atol=0.05)
    assert torch.equal(network.eval().batch(encoded.train, some, 0).images.x, whole)


def test_colours_stay_as_they_are_in_fine_tuning(model):
    crop = gentle(model)
    views = model.recipe.pretext.views
    assert (crop.area, crop.flip) == (views[0].area, views[0].flip)
    assert crop.jitter == crop.grey == crop.blur == crop.solarise == 0.0


def test_the_best_weights_come_with_their_statistics(digits, model):
    """Batch norm's running mean is no parameter: after training it is that of the best look, not of the last."""
    encoded = encode(model, digits)
    network = network_of("pretrained", model, digits.task, 0, 0.0)
    means: list[tuple[float, torch.Tensor]] = []

    def look(now):
        means.append((now.dev["accuracy"], network.backbone.stem_norm.running_mean.clone()))

    settings = FineTune(epochs=1, min_steps=6, rows=16, evaluations=6, lr=0.3, dropout=0.0)
    fine_tune(network, encoded, settings, np.arange(60), look)
    best = max(range(len(means)), key=lambda i: (means[i][0], -i))
    assert best < len(means) - 1  # so fast a rate does not end where it was best
    assert torch.equal(network.backbone.stem_norm.running_mean, means[best][1])


def test_frozen_it_is_the_head_alone_that_learns(digits, model):
    encoded = encode(model, digits)
    network = network_of("pretrained", model, digits.task, 0, 0.0)
    before = {key: value.clone() for key, value in network.backbone.state_dict().items()}
    fine_tune(network, encoded, msgspec.structs.replace(QUICK, freeze=True, min_steps=4), np.arange(40))
    assert all(torch.equal(value, before[key]) for key, value in network.backbone.state_dict().items())
    assert network.head.out.weight.abs().sum() > 0


def test_scratch_has_the_weights_of_a_fresh_run_and_none_of_the_models_statistics(model):
    with torch.no_grad():
        model.objective.backbone.stem_norm.running_mean.fill_(0.5)
    made = fresh(model, 7)
    assert (made.stem_norm.running_mean == 0).all()
    model.objective.backbone.stem_norm.running_mean.zero_()
    assert not torch.equal(made.stem.weight, model.objective.backbone.stem.weight)


def test_the_comparison_has_every_row_and_the_model_can_be_saved_and_used(digits, model, tmp_path: Path, monkeypatch):
    monkeypatch.setattr(frozen, "EPOCHS", 4)
    events = []
    settings = msgspec.structs.replace(QUICK, per_class=(2,))
    digits = replace(digits, train=digits.train[:400])
    found = compare(model, digits, settings, seeds=2, tell=events.append)
    result = found.result
    assert result.kind == "images" and list(result.labels) == ["20"]
    for point in (result, result.labels["20"]):
        assert len(point.also) == 7 and len(point.gains) == 2 and point.tfidf is None and point.embeddings is None
        ours, theirs = point.also["pretrained, frozen, linear"], point.also["random network, linear"]
        gain = point.gains["pretrained, frozen over random network"]
        assert gain.mean == pytest.approx(ours.mean - theirs.mean)
        assert point.scratch.n == point.pretrained.n == 2
    assert result.also["raw input, linear"].n == 1 and result.gains["pretrained, frozen over raw input"].se is None
    assert result.labels["20"].also["raw input, linear"].n == 2
    assert result.also["raw input, linear"].mean > 0.85 > result.labels["20"].also["raw input, linear"].mean
    arms = {event["arm"] for event in events if event["event"] == "baseline"}
    assert arms == {"majority", *result.also}
    kept = tuned_of(found, None, settings)
    kept.save(tmp_path / "digits")
    opened = open_tuned(tmp_path / "digits")
    examples = digits.test[:20]
    pictures = kept.task.encode(examples, None, 0, Notes())
    np.testing.assert_array_equal(opened.network.scores(pictures, 0), found.best.network.scores(pictures, 0))
    kept.task.write(*opened._predict(examples, Notes()), tmp_path / "out.tsv")
    rows = [line.split("\t") for line in (tmp_path / "out.tsv").read_text().splitlines()]
    assert rows[0] == ["path", "prediction", "probability"]
    assert [row[0] for row in rows[1:]] == [example.where for example in examples]


def test_features_are_the_backbones_output_of_whole_images(digits, model):
    encoded = encode(model, digits)
    found = digits.task.features(model.objective.backbone, encoded.dev)
    with torch.no_grad():
        expected = model.objective.backbone(Pixels(torch.from_numpy(encoded.dev.pixels).float() / 255)).last
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(digits.task.numbers(encoded.dev), torch.from_numpy(encoded.dev.pixels).flatten(1) / 255)


def test_a_model_of_text_is_refused_and_so_is_a_mix_of_layers(digits, model):
    with pytest.raises(UserError, match="no model of images"):
        encode(make(), digits)
    with pytest.raises(UserError, match="--mix"):
        network_of("pretrained", model, digits.task, 0, 0.0, mix=True)


# ------------------------------------------------------------------------------------------- sources
def write(folder: Path, names: tuple[str, ...] = ("cat", "dog"), count: int = 40, size: int = 8, channels: int = 3):
    """A folder of small pictures for each class, told apart by their brightness."""
    random = np.random.default_rng(len(str(folder)))
    for number, name in enumerate(names):
        (folder / name).mkdir(parents=True)
        for i in range(count):
            shape = (size, size, 3) if channels == 3 else (size, size)
            pixels = random.integers(100 * number, 100 * number + 120, shape).astype(np.uint8)
            Image.fromarray(pixels).save(folder / name / f"{i}.png")


def test_a_folder_of_classes_is_a_task_and_its_train_and_test_are_found(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    write(tmp_path / "pets")
    alone = open_task(str(tmp_path / "pets"), kind="images")
    assert alone.task.labels == ("cat", "dog") and alone.name == "pets"
    assert len(alone.train) + len(alone.dev) + len(alone.test) == 80 and alone.test and alone.dev
    write(tmp_path / "both" / "train")
    write(tmp_path / "both" / "test", count=5)
    both = open_task(str(tmp_path / "both"), kind="images")
    assert (len(both.train) + len(both.dev), len(both.test)) == (80, 10)
    assert {e.label for e in both.test} == {"cat", "dog"}
    (tmp_path / "task.json").write_text('{"kind": "images", "train": "both/train", "test": "both/test", "channels": 1}')
    grey = open_task(str(tmp_path / "task.json"))
    assert grey.train[0].pixels.shape == (1, 8, 8)


def test_classes_that_are_called_like_parts_are_classes(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    write(tmp_path / "places", ("beach", "train_station", "test-track"))
    assert open_task(str(tmp_path / "places"), kind="images").task.labels == ("beach", "test-track", "train_station")
    write(tmp_path / "vehicles", ("bus", "train"))
    assert open_task(str(tmp_path / "vehicles"), kind="images").task.labels == ("bus", "train")
    write(tmp_path / "both" / "train", ("bus", "train"))
    write(tmp_path / "both" / "Val", ("bus", "train"), count=5)
    (tmp_path / "both" / "meta").mkdir()
    parts = parts_of(tmp_path / "both")
    assert parts == {"train": str(tmp_path / "both" / "train"), "dev": str(tmp_path / "both" / "Val")}
    for name in ("train_images/cat", "test_images/cat", ".cache"):
        (tmp_path / "worded" / name).mkdir(parents=True)
    assert parts_of(tmp_path / "worded").keys() == {"train", "test"}
    for name in ("train", "test", ".cache"):
        (tmp_path / "tables" / name).mkdir(parents=True)
        (tmp_path / "tables" / name / "0.parquet").touch()
    assert parts_of(tmp_path / "tables").keys() == {"train", "test"}


def test_a_saved_model_reads_images_as_its_own_were_and_refuses_those_it_cannot(tmp_path, monkeypatch, model):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    write(tmp_path / "pets", channels=1)
    data = open_task(str(tmp_path / "pets"), kind="images")
    recipe = msgspec.structs.replace(model.recipe, backbone=config.ConvNet(channels=(6, 10), in_channels=1))
    model = Model(building.build(recipe, recipe.data), None, recipe, 0)
    task, network = data.task, network_of("pretrained", model, data.task, 0, 0.0)
    assert (task.config.size, task.config.channels) == (8, 1)
    card = Card(name="pets", task=task.config, labels=task.labels, backbone=network.backbone.config, length=0,
                settings=QUICK, arm="pretrained", dev={})  # fmt: skip
    Tuned(card, task, network, None).save(tmp_path / "saved")
    opened = open_tuned(tmp_path / "saved")
    write(tmp_path / "others", size=20)
    assert opened.evaluate(tmp_path / "others")[0] == 80
    assert opened.predict(tmp_path / "others", tmp_path / "said.tsv") == 80
    said = [line.split("\t")[0] for line in (tmp_path / "said.tsv").read_text().splitlines()[1:]]
    assert said == [str(path) for path in sorted((tmp_path / "others").rglob("*.png"))]
    coloured = msgspec.structs.replace(task.config, channels=3)
    opened = replace(opened, card=msgspec.structs.replace(opened.card, task=coloured))
    with pytest.raises(UserError, match=r"8x8 with 3 channels, and the model reads 1 channel\."):
        opened.evaluate(tmp_path / "others")


def test_images_without_labels_of_two_sizes_or_not_the_models_are_refused(tmp_path, monkeypatch, model):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    write(tmp_path / "both" / "train")
    write(tmp_path / "both" / "test", count=5, size=9)
    with pytest.raises(UserError, match=r"8x8 with 3 channels, those of test 9x9.*--size"):
        open_task(str(tmp_path / "both"), kind="images")
    coloured = open_task(str(tmp_path / "both" / "train"), kind="images")
    recipe = msgspec.structs.replace(model.recipe, backbone=config.ConvNet(channels=(6, 10), in_channels=1))
    grey = Model(building.build(recipe, recipe.data), None, recipe, 0)
    with pytest.raises(UserError, match="--channels 1"):
        encode(grey, coloured)
    flat = tmp_path / "flat"
    flat.mkdir()
    for path in (tmp_path / "both" / "train" / "cat").iterdir():
        path.rename(flat / path.name)
    with pytest.raises(UserError, match="no labels"):
        open_task(str(flat), kind="images")
    with pytest.raises(UserError, match="no such image source"):
        open_task(str(tmp_path / "nowhere"), kind="images")
