"""MoCo v3: the loss against algorithm 1 in a double loop, the heads, and the slow copy."""

import math

import pytest
import torch

from sesame import config
from sesame.data.batch import Cursor
from sesame.data.images import ImageSet, ImageStream
from sesame.models.convnet import ConvNet
from sesame.pretext.base import Objective
from sesame.pretext.mocov3 import MocoV3, mlp

TINY = config.MocoV3(views=config.VIEWS["digits"], hidden=12, out=6, temperature=0.2)


def objective(c: config.MocoV3 = TINY) -> Objective:
    torch.manual_seed(0)
    backbone = ConvNet(config.ConvNet(channels=(8, 16)))
    whole = Objective(backbone, MocoV3(c, backbone))
    with torch.no_grad():
        for p in whole.pretext.slow.parameters():  # the copy must differ, or q and k could be mixed up
            p.add_(0.1 * torch.randn_like(p))
    return whole


def split(whole: Objective):
    batch = next(ImageStream(ImageSet(config.ImageData(rows=10)), seed=0).train(Cursor(), 0, 1, 1)).parts[0]
    return whole.pretext.split(batch)


def ctr(q: list[list[float]], k: list[list[float]], temperature: float) -> float:
    """Algorithm 1's `ctr`, summed over the images."""

    def cosine(a: list[float], b: list[float]) -> float:
        return sum(x * y for x, y in zip(a, b, strict=True)) / (math.hypot(*a) * math.hypot(*b))

    total = 0.0
    for i, one in enumerate(q):
        scores = [math.exp(cosine(one, other) / temperature) for other in k]
        total += -math.log(scores[i] / sum(scores)) * 2 * temperature
    return total


def test_the_loss_is_that_of_algorithm_1():
    whole = objective()
    divided = split(whole)
    first, second = whole.pretext.views(divided)
    term = whole(divided)["moco"]
    online = [
        whole.pretext.predictor(whole.pretext.projector(whole.backbone(v).last)).tolist() for v in (first, second)
    ]
    keys = [whole.pretext.slow(v).tolist() for v in (first, second)]
    expected = ctr(online[0], keys[1], 0.2) + ctr(online[1], keys[0], 0.2)
    assert term.count == 10
    assert float(term.sum.detach()) == pytest.approx(expected, rel=1e-5)


def test_gradients_reach_the_trained_network_whole_and_the_copy_never():
    whole = objective()
    whole(split(whole))["moco"].sum.backward()
    for name, p in whole.named_parameters():
        assert (p.grad is None) == ("slow" in name), name


def test_layers_have_no_biases_and_the_last_norm_no_weights():
    head = mlp(16, 12, 6, 3, last_norm=True)
    assert [type(part).__name__ for part in head] == ["Linear", "BatchNorm1d", "ReLU"] * 2 + ["Linear", "BatchNorm1d"]
    assert all(part.bias is None for part in head if isinstance(part, torch.nn.Linear))
    assert not list(head[-1].parameters())
    plain = mlp(6, 12, 6, 2, last_norm=False)
    assert [type(part).__name__ for part in plain] == ["Linear", "BatchNorm1d", "ReLU", "Linear"]


def test_the_copy_follows_after_a_step():
    whole = objective()
    slow, trained = whole.pretext.slow.backbone.stem.weight, whole.backbone.stem.weight
    expected = 0.995 * slow.detach() + 0.005 * trained.detach()
    whole.pretext.after_step(whole.backbone, 50, 100)
    torch.testing.assert_close(slow.detach(), expected)
