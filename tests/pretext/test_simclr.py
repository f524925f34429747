"""SimCLR: NT-Xent against a double loop over the paper's equation, the projector's layers, and one batch of 2N."""

import math

import pytest
import torch
from msgspec import structs

from sesame import config
from sesame.data.batch import Cursor
from sesame.data.contact_sheet import chosen, contact_sheet
from sesame.data.images import ImageSet, ImageStream
from sesame.models.convnet import ConvNet
from sesame.pretext.base import Objective
from sesame.pretext.simclr import SimClr, nt_xent, projector

TINY = config.SimClr(views=config.VIEWS["digits"], out=8, temperature=0.3)


def objective(c: config.SimClr = TINY) -> Objective:
    torch.manual_seed(0)
    backbone = ConvNet(config.ConvNet(channels=(8, 16)))
    return Objective(backbone, SimClr(c, backbone))


def batch(rows: int = 12):
    return next(ImageStream(ImageSet(config.ImageData(rows=rows)), seed=0).train(Cursor(), 0, 1, 1)).parts[0]


def test_its_picture_is_the_contact_sheet_of_the_runs_own_views():
    stream = ImageStream(ImageSet(config.ImageData()), seed=5)
    found = objective().pretext.picture(stream)
    expected = contact_sheet(stream, TINY.views, chosen(stream, 4, 5), 4, 5, "Images, and views of them")
    assert found.tobytes() == expected.tobytes()
    other = objective(structs.replace(TINY, views=config.VIEWS["simclr-cifar"])).pretext.picture(stream)
    assert other.tobytes() != expected.tobytes()


def by_hand(z: list[list[float]], temperature: float) -> float:
    """Equation 1 and the sum over both directions; z_k and z_{k+N} are views of one image."""

    def similarity(a: list[float], b: list[float]) -> float:
        return sum(x * y for x, y in zip(a, b, strict=True)) / (math.hypot(*a) * math.hypot(*b))

    total, n = 0.0, len(z) // 2
    for i in range(2 * n):
        j = (i + n) % (2 * n)
        others = sum(math.exp(similarity(z[i], z[k]) / temperature) for k in range(2 * n) if k != i)
        total += -math.log(math.exp(similarity(z[i], z[j]) / temperature) / others)
    return total


def test_the_loss_is_the_papers_summed_over_all_views():
    whole = objective()
    split = whole.pretext.split(batch())
    term = whole(split)["nt_xent"]
    outputs = []
    whole.pretext.projector.register_forward_hook(lambda _, x, y: outputs.append(y.detach()))
    whole(split)
    assert term.count == split.count["nt_xent"] == 24
    assert float(term.sum.detach()) == pytest.approx(by_hand(outputs[0].tolist(), 0.3), rel=1e-5)


def test_a_view_is_right_where_the_nearest_other_view_is_of_its_image():
    z = torch.nn.functional.normalize(torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.9, 0.1], [-1.0, -0.2]]), dim=1)
    positive, own = torch.tensor([2, 3, 0, 1]), torch.arange(4)
    _, nearest = nt_xent(z, positive, z, own, 0.5)
    assert nearest.tolist() == [2, 2, 0, 1]


def test_both_views_go_through_as_one_batch():
    whole, seen = objective(), []
    whole.backbone.stem.register_forward_pre_hook(lambda _, x: seen.append(len(x[0])))
    whole(whole.pretext.split(batch()))
    assert seen == [24]


@pytest.mark.parametrize("layers", [2, 3])
def test_every_layer_of_the_projector_has_batch_norm_and_the_last_no_bias(layers):
    head = projector(16, 8, layers)
    kinds = [type(part).__name__ for part in head]
    assert kinds == ["Linear", "BatchNorm1d", "ReLU"] * (layers - 1) + ["Linear", "BatchNorm1d"]
    assert all(part.bias is None for part in head if isinstance(part, torch.nn.Linear))
    assert [part.out_features for part in head if isinstance(part, torch.nn.Linear)] == [16] * (layers - 1) + [8]
    assert head[-1].bias is None and head[1].bias is not None
    out = head(torch.randn(32, 16))
    torch.testing.assert_close(out.mean(0), torch.zeros(8), atol=1e-5, rtol=0)


def test_gradients_reach_everything():
    whole = objective()
    whole(whole.pretext.split(batch()))["nt_xent"].sum.backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in whole.parameters())
