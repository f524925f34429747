"""SimSiam: the loss against the paper's pseudocode in plain numbers, what no gradient goes through, and the heads."""

import math

import pytest
import torch

from sesame import config
from sesame.data.batch import Cursor
from sesame.data.images import ImageSet, ImageStream
from sesame.models.convnet import ConvNet
from sesame.pretext.base import Objective
from sesame.pretext.simsiam import SimSiam, projector

TINY = config.SimSiam(views=config.VIEWS["digits"], out=12, hidden=4)


def objective() -> Objective:
    torch.manual_seed(0)
    backbone = ConvNet(config.ConvNet(channels=(8, 16)))
    return Objective(backbone, SimSiam(TINY, backbone))


def split(whole: Objective):
    batch = next(ImageStream(ImageSet(config.ImageData(rows=12)), seed=0).train(Cursor(), 0, 1, 1)).parts[0]
    return whole.pretext.split(batch)


def distance(p: list[float], z: list[float]) -> float:
    """D of equation 1."""
    return -sum(a * b for a, b in zip(p, z, strict=True)) / (math.hypot(*p) * math.hypot(*z))


def test_the_loss_is_half_of_both_directions():
    whole = objective()
    divided = split(whole)
    outputs: dict[str, list[list[list[float]]]] = {"projector": [], "predictor": []}
    for name, found in outputs.items():
        module = getattr(whole.pretext, name)
        module.register_forward_hook(lambda _, x, y, found=found: found.append(y.tolist()))
    term = whole(divided)["simsiam"]
    (z1, z2), (p1, p2) = outputs["projector"], outputs["predictor"]
    expected = sum(distance(p1[i], z2[i]) / 2 + distance(p2[i], z1[i]) / 2 for i in range(12))
    assert term.count == 12
    assert float(term.sum.detach()) == pytest.approx(expected, rel=1e-5)


def test_what_is_predicted_is_held_still():
    """The gradient is that of the predictions alone: with constants in place of the projections it is the same."""
    whole = objective()
    divided = split(whole)
    whole(divided)["simsiam"].sum.backward()
    task, views = whole.pretext, whole.pretext.views(divided)
    found = [p.grad.clone() for p in whole.parameters()]
    whole.zero_grad()
    z1, z2 = (task.projector(whole.backbone(view).last) for view in views)
    constants = [torch.tensor(z.tolist()) for z in (z1, z2)]
    p1, p2 = task.predictor(z1), task.predictor(z2)
    loss = -(torch.nn.functional.normalize(p1) * torch.nn.functional.normalize(constants[1])).sum() / 2
    loss = loss - (torch.nn.functional.normalize(p2) * torch.nn.functional.normalize(constants[0])).sum() / 2
    loss.backward()
    for have, p in zip(found, whole.parameters(), strict=True):
        torch.testing.assert_close(have, p.grad, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("layers", [2, 3])
def test_the_projector_ends_in_a_norm_without_weights(layers):
    head = projector(16, 12, layers)
    assert [type(part).__name__ for part in head].count("BatchNorm1d") == layers
    assert not list(head[-1].parameters()) and type(head[-1]).__name__ == "BatchNorm1d"
    assert [(part.in_features, part.out_features) for part in head if isinstance(part, torch.nn.Linear)] == [
        (16, 12), *[(12, 12)] * (layers - 1)
    ]  # fmt: skip
