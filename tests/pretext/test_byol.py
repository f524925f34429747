"""BYOL: the loss against its formula, the slow copy, the views, and that it learns without collapsing."""

import itertools
import math

import numpy as np
import pytest
import torch
from sklearn.neighbors import KNeighborsClassifier

from sesame import config
from sesame.data.batch import Cursor, ImageBatch, Pixels
from sesame.data.images import ImageStream
from sesame.models.convnet import ConvNet
from sesame.pretext.base import Objective
from sesame.pretext.byol import Byol, decay, shifted

SMALL = config.ConvNet(channels=(16, 32))
TINY = config.Byol(hidden=32, out=16)


def objective(c: config.Byol = TINY, sizes: config.ConvNet = SMALL) -> Objective:
    torch.manual_seed(0)
    backbone = ConvNet(sizes)
    return Objective(backbone, Byol(c, backbone))


def batch(rows: int = 24) -> ImageBatch:
    return next(ImageStream(config.ImageData(rows=rows), seed=0).train(Cursor(), 0, 1, 1)).parts[0]


def test_the_loss_is_the_sum_of_both_directions_of_the_squared_distance_of_unit_vectors() -> None:
    whole = objective().eval()
    backbone, byol = whole.backbone, whole.pretext
    with torch.no_grad():
        for p in byol.slow_projector.parameters():  # the copy must differ, or the two directions could be mixed up
            p.add_(0.1 * torch.randn_like(p))
    split = byol.split(batch())
    expected = 0.0
    for mine, other in itertools.permutations(split.seen):
        q = byol.predictor(byol.projector(backbone(mine).last))
        z = byol.slow_projector(byol.slow_backbone(other).last)
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
    before = whole.pretext.slow_backbone.stem_norm.running_mean.clone()
    whole(whole.pretext.split(batch()))
    after = whole.pretext.slow_backbone.stem_norm.running_mean.clone()
    assert not torch.equal(before, after)
    whole.pretext.after_step(whole.backbone, 1, 10)
    assert torch.equal(whole.pretext.slow_backbone.stem_norm.running_mean, after)


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
    pairs = [(byol.slow_backbone, backbone), (byol.slow_projector, byol.projector)]
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
        assert torch.equal(whole.pretext.slow_backbone.state_dict()[name], value)


def test_an_images_views_do_not_depend_on_the_batch_it_is_in() -> None:
    byol, whole = objective().pretext, batch()
    back = ImageBatch(pixels=whole.pixels[[5, 4, 3]], key=whole.key[[5, 4, 3]], seed=whole.seed, epoch=whole.epoch)
    for all_, three in zip(byol.split(whole).seen, byol.split(back).seen, strict=True):
        assert torch.equal(all_.x[[5, 4, 3]], three.x)


def test_the_two_views_and_the_epochs_differ() -> None:
    byol, one = objective().pretext, batch()
    later = ImageBatch(pixels=one.pixels, key=one.key, seed=one.seed, epoch=one.epoch + 1)
    views = [*byol.split(one).seen, *byol.split(later).seen]
    for a, b in itertools.combinations(views, 2):
        assert (a.x != b.x).flatten(1).any(1).all()


def test_a_view_without_chance_is_the_image() -> None:
    byol, one = objective(config.Byol(shift=0, jitter=0.0, noise=0.0)).pretext, batch()
    for view in byol.split(one).seen:
        torch.testing.assert_close(view.x, torch.from_numpy(one.pixels).float() / 255)


def test_shifting_moves_each_image_by_its_own_pixels_and_repeats_the_edge() -> None:
    x = torch.rand(3, 2, 5, 4)
    down, right = torch.tensor([0, 2, -1]), torch.tensor([1, 0, -3])
    moved = shifted(x, down, right)
    for i, r, c in itertools.product(range(3), range(5), range(4)):
        source = np.clip(r - int(down[i]), 0, 4), np.clip(c - int(right[i]), 0, 3)
        assert torch.equal(moved[i, :, r, c], x[i, :, source[0], source[1]])


def features(backbone: ConvNet, pixels: np.ndarray) -> np.ndarray:
    with torch.no_grad():
        return torch.nn.functional.normalize(
            backbone.eval()(Pixels(torch.from_numpy(pixels).float() / 255)).last
        ).numpy()


def test_on_digits_it_beats_a_random_network_and_does_not_collapse() -> None:
    torch.set_num_threads(1)
    stream = ImageStream(config.ImageData(rows=64), seed=0)
    whole = objective(config.Byol(hidden=64, out=32, decay=0.9, noise=0.2), config.ConvNet(channels=(8, 16)))

    def accuracy() -> float:
        train, away = stream.training, stream.away
        knn = KNeighborsClassifier(5).fit(features(whole.backbone, stream.pixels[train]), stream.label[train])
        return knn.score(features(whole.backbone, stream.pixels[away]), stream.label[away])

    untrained, steps = accuracy(), 150
    optimizer = torch.optim.AdamW([p for p in whole.parameters() if p.requires_grad])
    for k, step in enumerate(itertools.islice(stream.train(Cursor(), 0, steps, 1), steps), 1):
        optimizer.param_groups[0]["lr"] = 1e-2 * min(k / 9, 1 - k / steps)
        whole.train()
        term = whole(whole.pretext.split(step.parts[0]))["byol"]
        optimizer.zero_grad()
        (term.sum / term.count).backward()
        optimizer.step()
        whole.pretext.after_step(whole.backbone, k, steps)
    trained = accuracy()
    # A collapsed representation has no spread; directions spread over the whole sphere have one of 1/sqrt(width).
    spread = features(whole.backbone, stream.pixels).std(0).mean() * math.sqrt(whole.backbone.width)
    assert trained > untrained + 0.03, (untrained, trained)
    assert spread > 0.25
