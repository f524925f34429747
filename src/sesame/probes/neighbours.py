"""Neighbours: what an image shows, told from the backbone's output by its nearest neighbours and by a linear probe.

`knn` (Wu et al. 2018, section 3.4) is the share of held-out images whose label the 20 most similar training images vote
for, by cosine, with weights exp(cosine / 0.07). `linear` is the share that a logistic regression on the standardised
features tells right (C = 1, scikit-learn). `knn_pixels` and `linear_pixels` are the same on the pixels, `majority` the
share of the commonest label: what needs no network. Groups are the labels. The labels serve to measure only. The light
form takes 2,000 training and 500 held-out images, the full form 50,000 and 10,000, in a keyed choice.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Float, Int64, UInt64

from sesame.data import chance
from sesame.data.batch import Pixels
from sesame.data.images import ImageSet, ImageStream
from sesame.engine.build import Model
from sesame.errors import UserError
from sesame.probes.base import NO_LAYER, Answer, Ask, Item, Value
from sesame.probes.held_out import on_device
from sesame.probes.words import share
from sesame.tasks.frozen import NEIGHBOURS, TEMPERATURE, nearest
from sesame.tasks.softmax_regression import fit, standardised

READS = ("images",)
LIGHT, FULL = (2000, 500), (50_000, 10_000)
TOLERANCE = 1e-3
"""Nats above its minimum at which a regression counts as solved."""
TOGETHER = 1024
"""Images that the backbone reads at once."""


@dataclass(frozen=True)
class Labelled:
    """Things with labels: the first `known` are learned from, the others are asked."""

    label: Int64[np.ndarray, " thing"]
    """Index into `names`."""
    names: tuple[str, ...]
    key: UInt64[np.ndarray, " thing"]
    known: int


def measure(model: Model, ask: Ask) -> Iterator[Answer]:
    if ask.source or not isinstance(ask.data, ImageSet):
        raise UserError("The probe neighbours measures the images of the run itself, with their labels: give no file.")
    pixels, things = ask.once(("neighbours", ask.full), lambda: _images(ask))
    flat = pixels.reshape(len(pixels), -1)
    yield from ask.once(("neighbours pixels", ask.full), lambda: list(baseline(flat, things, "pixels")))
    backbone = model.objective.backbone
    with torch.no_grad():
        found = [backbone(on_device(Pixels(x), backbone)).last for x in torch.from_numpy(pixels).split(TOGETHER)]
    yield from told(torch.cat(found).float().cpu().numpy(), things)


def _images(ask: Ask) -> tuple[Float[np.ndarray, "image channel height width"], Labelled]:
    stream = ImageStream(ask.data, 0)
    if stream.label is None:
        raise UserError(
            f"The probe neighbours needs labels, and {ask.data.config.source} has none. Give a folder with one per "
            "class, or leave this probe out."
        )
    both = zip((stream.training, stream.away), FULL if ask.full else LIGHT, strict=True)
    known, asked = (index[np.argsort(chance.bits("neighbours", stream.key[index]))[:most]] for index, most in both)
    chosen = np.concatenate([known, asked])
    present, label = np.unique(stream.label[chosen], return_inverse=True)
    things = Labelled(label, tuple(stream.names[i] for i in present), stream.key[chosen], len(known))
    return stream.pixels[chosen].astype(np.float32) / 255.0, things


# ------------------------------------------------------------------------------------------ telling labels
def told(features: Float[np.ndarray, "thing width"], things: Labelled, layer: int = NO_LAYER) -> Iterator[Answer]:
    """How many of the things asked each of the two ways tells right from these features; each thing as an Item."""
    gold = things.label[things.known :]
    for metric, guess in (("knn", knn), ("linear", linear)):
        right = guess(features, things) == gold
        yield replace(share(metric, right), layer=layer)
        for label in np.unique(gold).tolist():
            yield replace(share(metric, right[gold == label], things.names[label]), layer=layer)
        if layer == NO_LAYER:
            for key, label, hit in zip(things.key[things.known :].tolist(), gold.tolist(), right.tolist(), strict=True):
                yield Item(metric, key, things.names[label], hit, word=things.names[label])


def baseline(features: Float[np.ndarray, "thing width"], things: Labelled, what: str) -> Iterator[Value]:
    """The same from features that need no network, and without any: the label that is the commonest."""
    gold = things.label[things.known :]
    commonest = np.bincount(things.label[: things.known]).argmax()
    for metric, guess in ((f"knn_{what}", knn), (f"linear_{what}", linear)):
        yield share(metric, guess(features, things) == gold)
    yield share("majority", gold == commonest)


def knn(features: Float[np.ndarray, "thing width"], things: Labelled) -> Int64[np.ndarray, " asked"]:
    """The label that the nearest known things vote for, each with exp(cosine / temperature)."""
    whole, label = torch.from_numpy(features), torch.from_numpy(things.label[: things.known])
    known, asked = whole[: things.known], whole[things.known :]
    return nearest(known, label, len(things.names), asked, NEIGHBOURS, TEMPERATURE).argmax(1).numpy()


def linear(features: Float[np.ndarray, "thing width"], things: Labelled) -> Int64[np.ndarray, " asked"]:
    """The most probable label under a logistic regression that is fitted to the known things.

    scikit-learn's objective with C = 1, but for the constant, which is weighted like the rest; its solver takes
    hundreds of passes over the pixels of photos, this one some twenty (tasks/softmax_regression.py).
    """
    x = standardised(torch.from_numpy(features), things.known)
    label = torch.from_numpy(things.label[: things.known])
    found = fit([x[: things.known]], label, len(things.names), ridge=1.0 / things.known, tolerance=TOLERANCE)
    return (x[things.known :] @ found.weight[0]).argmax(1).numpy()
