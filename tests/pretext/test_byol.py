"""BYOL: the loss against its formula, the slow copy, the views, and that it learns without collapsing."""

import itertools
import math

import msgspec
import pytest
import torch

from sesame import config
from sesame.data.batch import Cursor, ImageBatch
from sesame.data.images import ImageSet, ImageStream
from sesame.models.convnet import ConvNet
from sesame.pretext.base import Objective
from sesame.pretext.byol import Byol
from sesame.pretext.slow_copy import decay

SMALL = config.ConvNet(channels=(16, 32))
DIGITS = config.VIEWS["digits"]
TINY = config.Byol(views=DIGITS, hidden=32, out=16)


def objective(c: config.Byol = TINY, sizes: config.ConvNet = SMALL) -> Objective:
    torch.manual_seed(0)
    backbone = ConvNet(sizes)
    return Objective(backbone, Byol(c, backbone))


def batch(rows: int = 24) -> ImageBatch:
    return next(ImageStream(ImageSet(config.ImageData(rows=rows)), seed=0).train(Cursor(), 0, 1, 1)).parts[0]


def test_the_loss_is_the_sum_of_both_directions_of_the_squared_distance_of_unit_vectors() -> None:
    whole = objective().eval()
    backbone, byol = whole.backbone, whole.pretext
    with torch.no_grad():
        for p in byol.slow.projector.parameters():  # the copy must differ, or the two directions could be mixed up
            p.add_(0.1 * torch.randn_like(p))
    split = byol.split(batch())
    expected = 0.0
    for mine, other in itertools.permutations(byol.views(split)):
        q = byol.predictor(byol.projector(backbone(mine).last))
        z = byol.slow.projector(byol.slow.backbone(other).last)
        for a, b in zip(q, z, strict=True):
            expected += float(((a / a.norm() - b / b.norm()) ** 2).sum().detach())
    term = whole(split)["byol"]
    assert term.count == split.count["byol"] == 24
    assert float(term.sum.detach()) == pytest.approx(expected, rel=1e-5)


def test_gradients_reach_the_trained_network_whole_and_the_copy_never() -> None:
    whole = objective()
    whole(whole.pretext.split(batch()))["byol"].sum.backward()
    for name, p in whole.named_parameters():
        assert p.requires_grad != ("slow" in name)
        assert (p.grad is None) == ("slow" in name), name


def test_the_views_are_forwarded_separately() -> None:
    """With both views in one batch, batch norm would see other statistics: BYOL's networks see 24 images at a time."""
    whole, seen = objective(), []
    whole.backbone.stem.register_forward_pre_hook(lambda _, x: seen.append(len(x[0])))
    whole(whole.pretext.split(batch()))
    assert seen == [24, 24]


def test_the_copys_batch_norm_uses_the_batch_in_training_and_keeps_its_own_running_statistics() -> None:
    whole = objective()
    before = whole.pretext.slow.backbone.stem_norm.running_mean.clone()
    whole(whole.pretext.split(batch()))
    after = whole.pretext.slow.backbone.stem_norm.running_mean.clone()
    assert not torch.equal(before, after)
    whole.pretext.after_step(whole.backbone, 1, 10)
    assert torch.equal(whole.pretext.slow.backbone.stem_norm.running_mean, after)


def test_the_decay_rises_from_its_start_to_one_along_a_cosine() -> None:
    assert decay(0, 100, 0.97) == pytest.approx(0.97)
    assert decay(50, 100, 0.97) == pytest.approx(0.985)
    assert decay(25, 100, 0.97) == pytest.approx(1 - 0.03 * (math.sqrt(0.5) + 1) / 2)
    assert decay(100, 100, 0.97) == 1.0


def test_after_a_step_the_copy_moves_towards_the_trained_weights() -> None:
    whole = objective()
    backbone, byol = whole.backbone, whole.pretext
    with torch.no_grad():
        for p in itertools.chain(backbone.parameters(), byol.projector.parameters()):
            p.add_(torch.randn_like(p))
    pairs = [(byol.slow.backbone, backbone), (byol.slow.projector, byol.projector)]
    expected = [
        0.995 * s.detach() + 0.005 * t.detach()
        for slow, trained in pairs
        for s, t in zip(slow.parameters(), trained.parameters(), strict=True)
    ]
    byol.after_step(backbone, 50, 100)
    for have, want in zip((s for slow, _ in pairs for s in slow.parameters()), expected, strict=True):
        torch.testing.assert_close(have, want)


def test_the_copy_starts_as_the_loaded_backbone() -> None:
    whole = objective()
    torch.manual_seed(1)
    whole.backbone.load_state_dict(ConvNet(SMALL).state_dict())
    whole.pretext.start(whole.backbone, {})
    for name, value in whole.backbone.state_dict().items():
        assert torch.equal(whole.pretext.slow.backbone.state_dict()[name], value)


def test_an_images_views_do_not_depend_on_the_batch_it_is_in() -> None:
    byol, whole = objective().pretext, batch()
    back = ImageBatch(pixels=whole.pixels[[5, 4, 3]], key=whole.key[[5, 4, 3]], seed=whole.seed, epoch=whole.epoch)
    for all_, three in zip(byol.views(byol.split(whole)), byol.views(byol.split(back)), strict=True):
        torch.testing.assert_close(all_.x[[5, 4, 3]], three.x)


def test_the_two_views_and_the_epochs_differ() -> None:
    byol, one = objective().pretext, batch()
    later = ImageBatch(pixels=one.pixels, key=one.key, seed=one.seed, epoch=one.epoch + 1)
    views = [*byol.views(byol.split(one)), *byol.views(byol.split(later))]
    for a, b in itertools.combinations(views, 2):
        assert (a.x != b.x).flatten(1).any(1).all()


def test_each_view_has_its_own_augmentation() -> None:
    """The second is solarised without exception, the first never: as BYOL's views differ in blur and solarisation."""
    still = config.Augment(area=(1, 1), ratio=(1, 1), flip=0.0, jitter=0.0, grey=0.0, blur=0.0)
    other = msgspec.structs.replace(still, solarise=1.0)
    byol, one = objective(config.Byol(views=(still, other), hidden=8, out=4)).pretext, batch()
    first, second = byol.views(byol.split(one))
    x = torch.from_numpy(one.pixels).float() / 255
    torch.testing.assert_close(first.x, x)
    torch.testing.assert_close(second.x, torch.where(x < 0.5, x, 1 - x))
