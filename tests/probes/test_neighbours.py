"""Weighted nearest neighbours against scikit-learn's, intervals against their formula, and that nothing leaks."""

import dataclasses

import numpy as np
import probed
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.preprocessing import StandardScaler

from sesame import config
from sesame.data.batch import Pixels
from sesame.data.images import ImageSet, ImageStream
from sesame.errors import UserError
from sesame.probes import Ask, Item, Value, neighbours
from sesame.probes.neighbours import NEIGHBOURS, TEMPERATURE, Labelled, knn, linear, measure


def things(known: int = 60, asked: int = 40, labels: int = 4, seed: int = 0) -> tuple[np.ndarray, Labelled]:
    random = np.random.default_rng(seed)
    label = random.integers(0, labels, known + asked)
    centre = random.standard_normal((labels, 6))
    features = (centre[label] + random.standard_normal((known + asked, 6))).astype(np.float32)
    keys = np.arange(known + asked, dtype=np.uint64)
    return features, Labelled(label, tuple("abcd"[:labels]), keys, known)


@pytest.mark.parametrize("known", [12, 60])
def test_the_vote_is_that_of_scikit_learn_with_the_same_weights(known):
    features, given = things(known)
    reference = KNeighborsClassifier(
        min(NEIGHBOURS, known), metric="cosine", weights=lambda far: np.exp((1 - far) / TEMPERATURE)
    )
    reference.fit(features[:known], given.label[:known])
    np.testing.assert_array_equal(knn(features, given), reference.predict(features[known:]))


@pytest.mark.parametrize("known", [40, 300])
def test_the_regression_is_that_of_scikit_learn_on_standardised_features(known):
    features, given = things(known, asked=300)
    scaled = StandardScaler().fit(features[:known])
    reference = LogisticRegression(C=1.0).fit(scaled.transform(features[:known]), given.label[:known])
    expected = reference.predict(scaled.transform(features[known:]))
    assert (linear(features, given) == expected).mean() > 0.97  # solved to 0.001 nats, and the constant has a weight


@pytest.mark.parametrize("guess", [knn, linear])
def test_labels_that_are_asked_are_not_looked_at(guess):
    features, given = things()
    changed = given.label.copy()
    changed[given.known :] = 0
    blind = dataclasses.replace(given, label=changed)
    np.testing.assert_array_equal(guess(features, given), guess(features, blind))
    assert (guess(features, given) == given.label[given.known :]).mean() > 0.5  # chance is a quarter


def wilson(share: float, n: int) -> tuple[float, float]:
    z = 1.959964
    middle = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * np.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    return middle - half, middle + half


def test_digits_are_told_apart_by_a_network_and_by_their_pixels():
    torch.set_num_threads(1)
    model, ask = probed.images()
    answers = list(measure(model, ask))
    values = {(v.metric, v.group): v for v in answers if isinstance(v, Value)}
    items = [i for i in answers if isinstance(i, Item)]
    stream = ImageStream(ImageSet(config.ImageData()), 0)
    away = set(stream.key[stream.away].tolist())
    for metric in ("knn", "linear"):
        mine = [item for item in items if item.metric == metric]
        assert {item.key for item in mine} == away and len(mine) == len(stream.away)
        assert values[metric, ""].value == pytest.approx(np.mean([item.right for item in mine]))
        for digit in "0123456789":
            right = [item.right for item in mine if item.group == digit]
            assert values[metric, digit].value == pytest.approx(np.mean(right))
            assert values[metric, digit].n == len(right)
    for value in values.values():
        assert (value.low, value.high) == pytest.approx(wilson(value.value, value.n), abs=1e-5)
    bank, asked = (np.asarray(i)[np.argsort(neighbours.chance.bits("neighbours", stream.key[i]))] for i in
                   (stream.training, stream.away))  # fmt: skip
    commonest = np.bincount(stream.label[bank]).argmax()
    assert values["majority", ""].value == pytest.approx((stream.label[asked] == commonest).mean())
    flat = stream.pixels.reshape(len(stream.pixels), -1) / 255.0
    with torch.no_grad():
        features = model.objective.backbone(Pixels(torch.from_numpy(stream.pixels).float() / 255.0)).last.numpy()
    for metric, x in (("knn", features), ("knn_pixels", flat)):
        reference = KNeighborsClassifier(
            NEIGHBOURS, metric="cosine", weights=lambda far: np.exp((1 - far) / TEMPERATURE)
        ).fit(x[bank], stream.label[bank])
        score = reference.score(x[asked], stream.label[asked])
        assert values[metric, ""].value == pytest.approx(score, abs=0.006)  # a tie may go either way
        assert score > 0.4  # chance is a tenth
    assert values["linear_pixels", ""].value > 0.9


def test_the_light_form_takes_a_keyed_choice(monkeypatch):
    monkeypatch.setattr(neighbours, "LIGHT", (300, 30))
    model, ask = probed.images()
    first = [(i.metric, i.key, i.right) for i in measure(model, ask) if isinstance(i, Item)]
    again = [(i.metric, i.key, i.right) for i in measure(model, Ask(data=ask.data)) if isinstance(i, Item)]
    assert first == again and len(first) == 60
    everything = {v.group: v.n for v in measure(model, Ask(data=ask.data, full=True)) if v.metric == "knn" and
                  isinstance(v, Value)}  # fmt: skip
    assert everything[""] == len(ImageStream(ImageSet(config.ImageData()), 0).away)


def test_labels_come_with_the_images():
    model, ask = probed.images()
    for wrong in (Ask(), Ask(data=ask.data, source="labels.tsv")):
        with pytest.raises(UserError, match="give no file"):
            list(measure(model, wrong))


def test_images_without_labels_are_refused_by_name(tmp_path):
    np.save(tmp_path / "flat.npy", np.random.default_rng(0).integers(0, 256, (40, 8, 8)).astype(np.uint8))
    model, ask = probed.images()
    data = config.ImageData(source=str(tmp_path / "flat.npy"), rows=4, cache=str(tmp_path))
    with pytest.raises(UserError, match=r"neighbours needs labels, and .*flat.npy has none"):
        list(measure(model, dataclasses.replace(ask, data=ImageSet(data))))
