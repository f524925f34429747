"""Views: each part against Pillow, colorsys, scipy or a loop; the whole against a slow way, image by image."""

import colorsys
import itertools
import math
from typing import Any

import numpy as np
import pytest
import torch
from msgspec.structs import replace
from PIL import Image, ImageEnhance, ImageOps
from scipy.ndimage import correlate1d

from sesame.config import VIEWS, Augment
from sesame.data import colours, filters, views
from sesame.data.views import Parameters, apply, draw

STILL = Augment(area=(1.0, 1.0), ratio=(1.0, 1.0), flip=0.0, jitter=0.0, grey=0.0, blur=0.0)
KEYS = np.arange(1, 400, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
STEP = 1.0 / 255.0


def photos(count: int, height: int, width: int, channels: int = 3) -> torch.Tensor:
    """Smooth colours with some noise, some pixels grey: as bytes."""
    rng = np.random.default_rng(0)
    coarse = rng.integers(0, 256, (count, channels, 4, 5)).astype(np.uint8)
    large = [[Image.fromarray(c).resize((width, height), Image.Resampling.BICUBIC) for c in image] for image in coarse]
    pixels = np.array([[np.asarray(c) for c in image] for image in large]).astype(np.int64)
    pixels = np.clip(pixels + rng.integers(-20, 21, pixels.shape), 0, 255)
    pixels[:, :, 0] = pixels[:, :1, 0]
    return torch.from_numpy(pixels.astype(np.uint8))


def pillow(x: torch.Tensor) -> Image.Image:
    return Image.fromarray(x.permute(1, 2, 0).squeeze(-1).numpy())


def pixels_of(image: Image.Image) -> np.ndarray:
    array = np.asarray(image, np.float32) / 255.0
    return array[None] if array.ndim == 2 else array.transpose(2, 0, 1)


# ------------------------------------------------------------------------------------------------ crops
@pytest.mark.parametrize(("height", "width", "size"), [(32, 32, 32), (40, 28, 24), (90, 70, 64), (70, 90, 80)])
def test_a_crop_is_what_pillow_cuts_and_resizes(height: int, width: int, size: int) -> None:
    x = photos(12, height, width) // 2 + 60  # nowhere near 0 or 255, where Pillow clips between its two passes
    p = draw(
        replace(STILL, size=size, area=(0.08, 1.0), ratio=(0.75, 4 / 3), flip=0.5), KEYS[:12], 1, 2, 0, height, width
    )
    assert 0 < int(p.flip.sum()) < 12
    got = apply(x, p).numpy()
    for i, (top, left, h, w) in enumerate(p.box.tolist()):
        image = pillow(x[i]).crop((left, top, left + w, top + h)).resize((size, size), Image.Resampling.BICUBIC)
        expected = pixels_of(ImageOps.mirror(image) if p.flip[i] else image)
        assert np.abs(got[i] - expected).max() < 1.6 * STEP, i  # Pillow rounds twice


def test_both_ways_to_resize_are_one() -> None:
    x = photos(6, 90, 75)
    p = draw(replace(STILL, size=66, area=(0.1, 1.0), ratio=(0.5, 2.0), flip=0.5), KEYS[:6], 0, 0, 0, 90, 75)
    ours = filters._by_matrices(x, p.box, p.flip, p.size)
    torch.testing.assert_close(filters.resize(x, p.box, p.flip, p.size), ours, atol=2e-3, rtol=0)  # of 255


def test_boxes_lie_inside_and_have_the_areas_and_ratios_that_were_asked_for() -> None:
    a = replace(STILL, area=(0.2, 0.6), ratio=(0.5, 2.0))
    p = draw(a, KEYS, 0, 0, 0, 200, 300)
    top, left, height, width = p.box.double().unbind(1)
    assert (top >= 0).all() and (left >= 0).all() and (top + height <= 200).all() and (left + width <= 300).all()
    share, ratio = height * width / 60_000, width / height
    assert share.min() > 0.19 and share.max() < 0.61 and share.min() < 0.25 and share.max() > 0.52
    assert 0.49 < ratio.min() < 0.6 and 1.6 < ratio.max() < 2.05
    assert abs(float((ratio.log() > 0).double().mean()) - 0.55) < 0.1  # wide ones fit a wide image more often


def test_where_no_crop_fits_the_largest_in_the_middle_is_taken() -> None:
    p = draw(replace(STILL, area=(1.0, 1.0), ratio=(1.0, 1.0)), KEYS[:5], 0, 0, 0, 20, 50)
    assert p.box.tolist() == [[0, 15, 20, 20]] * 5


def test_without_any_change_a_view_is_the_image() -> None:
    x = photos(3, 24, 24)
    torch.testing.assert_close(apply(x, draw(STILL, KEYS[:3], 0, 0, 0, 24, 24)), x.float() / 255)
    torch.testing.assert_close(apply(x.float() / 255, draw(STILL, KEYS[:3], 0, 0, 0, 24, 24)), x.float() / 255)


# ---------------------------------------------------------------------------------------------- colours
ENHANCE: dict[int, Any] = {
    colours.BRIGHTNESS: ImageEnhance.Brightness,
    colours.CONTRAST: ImageEnhance.Contrast,
    colours.SATURATION: ImageEnhance.Color,
}


def jittered(x: torch.Tensor, order: list[int], factor: list[float]) -> torch.Tensor:
    """`colours.jitter` of one image."""
    y = x[None].clone()
    planes = torch.empty(colours.PLANES, 1, 1, *x.shape[1:])
    colours.jitter(y, torch.tensor([order]), torch.tensor([factor]), order.index(colours.HUE), planes)
    return y[0]


@pytest.mark.parametrize("change", ENHANCE)
@pytest.mark.parametrize("factor", [0.0, 0.4, 1.7])
def test_a_change_of_colour_is_pillows(change: int, factor: float) -> None:
    x = photos(1, 20, 30)[0]
    factors = [factor if i == change else 1.0 for i in range(3)] + [0.0]
    got = jittered(x.float() / 255, [0, 1, 2, 3], factors)
    assert np.abs(got.numpy() - pixels_of(ENHANCE[change](pillow(x)).enhance(factor))).max() < 1.6 * STEP


def slow_hue(x: np.ndarray, turn: float) -> np.ndarray:
    out = np.empty_like(x)
    for r, c in itertools.product(range(x.shape[1]), range(x.shape[2])):
        h, s, v = colorsys.rgb_to_hsv(*x[:, r, c].tolist())
        out[:, r, c] = colorsys.hsv_to_rgb((h + turn) % 1.0, s, v)
    return out


@pytest.mark.parametrize("turn", [-0.5, -0.21, 0.0, 0.07, 0.5])
def test_the_hue_turns_as_in_colorsys(turn: float) -> None:
    levels = torch.tensor([0.0, 0.1, 0.5, 0.9, 1.0])
    every = torch.cartesian_prod(levels, levels, levels).T.reshape(3, 25, 5)  # ties of every kind
    for x in (every, photos(1, 16, 16)[0].float() / 255):
        got = jittered(x, [3, 0, 1, 2], [1.0, 1.0, 1.0, turn])
        np.testing.assert_allclose(got.numpy(), slow_hue(x.double().numpy(), turn), atol=2e-6)


def slow_jitter(x: np.ndarray, order: list[int], factor: list[float]) -> np.ndarray:
    for change in order:
        f = factor[change]
        if change == colours.HUE:
            x = slow_hue(x, f)
            continue
        grey = 0.299 * x[:1] + 0.587 * x[1:2] + 0.114 * x[2:]
        base = {colours.BRIGHTNESS: 0.0, colours.CONTRAST: grey.mean(), colours.SATURATION: grey}[change]
        x = np.clip(f * x + (1 - f) * base, 0.0, 1.0)
    return x


@pytest.mark.parametrize("order", [[0, 1, 2, 3], [3, 2, 1, 0], [1, 3, 0, 2], [2, 0, 3, 1]])
def test_the_changes_come_in_the_images_own_order(order: list[int]) -> None:
    x = photos(1, 16, 12)[0]
    factor = [1.6, 0.5, 1.8, 0.13]
    got = jittered(x.float() / 255, order, factor).numpy()
    np.testing.assert_allclose(got, slow_jitter(x.numpy() / 255.0, order, factor), atol=1e-5)


# ------------------------------------------------------------------------------------------------- blur
def slow_blur(x: np.ndarray, sigma: float, radius: int) -> np.ndarray:
    kernel = np.exp(-0.5 * (np.arange(-radius, radius + 1) / sigma) ** 2)
    kernel /= kernel.sum()
    return correlate1d(correlate1d(x, kernel, 1, mode="mirror"), kernel, 2, mode="mirror")


@pytest.mark.parametrize("sigma", [0.1, 0.8, 2.0])
def test_a_blur_is_scipys_mirrored_correlation(sigma: float) -> None:
    x = photos(2, 30, 30).float() / 255
    got = filters.blur(x, filters.gaussian(torch.tensor([sigma, 1.3]), 5))
    np.testing.assert_allclose(got[0].numpy(), slow_blur(x[0].double().numpy(), sigma, 5), atol=1e-6)
    np.testing.assert_allclose(got[1].numpy(), slow_blur(x[1].double().numpy(), 1.3, 5), atol=1e-6)


# ------------------------------------------------------------------------------------------- the whole
def slow_view(x: torch.Tensor, p: Parameters, i: int) -> np.ndarray:
    """What `apply` should make of image i, one operation after the other, in numpy and Pillow's float mode."""
    top, left, height, width = p.box[i].tolist()
    inside = x[i, :, top : top + height, left : left + width].numpy().astype(np.float32)
    resized = [Image.fromarray(c).resize((p.size, p.size), Image.Resampling.BICUBIC) for c in inside]
    y = np.clip(np.array([np.asarray(c) for c in resized]).astype(np.float64) / 255.0, 0.0, 1.0)
    if p.flip[i]:
        y = y[:, :, ::-1]
    if any(i in some for some in p.jittered):
        y = slow_jitter(y, p.order[i].tolist(), p.factor[i].tolist())
    if i in p.grey:
        y = np.repeat(0.299 * y[:1] + 0.587 * y[1:2] + 0.114 * y[2:], 3, 0)
    if i in p.blurred:
        y = slow_blur(y, float(p.sigma[p.blurred.tolist().index(i)]), p.radius)
    return np.where(y < 0.5, y, 1.0 - y) if i in p.solarised else y


@pytest.mark.parametrize(("height", "width", "size"), [(26, 30, 24), (70, 66, 68)])
def test_a_view_is_what_a_slow_way_makes_of_each_image(height: int, width: int, size: int) -> None:
    a = replace(VIEWS["byol"][1], size=size, blur=0.5, grey=0.3, brightness=0.8, contrast=0.8, kernel=0.2)
    count = 14
    x = photos(count, height, width)
    p = draw(a, KEYS[:count], 5, 1, 1, height, width)
    assert all(0 < len(some) < count for some in (*p.jittered, p.grey, p.blurred, p.solarised))
    got = apply(x, p).numpy()
    for i in range(count):
        expected = slow_view(x, p, i)
        edge = np.abs(expected - 0.5) < 1e-3  # solarising: a hair's breadth decides which way a pixel goes
        assert np.abs(got[i] - expected)[~edge].max() < 0.02 * STEP, i


def test_grey_images_stay_grey_images() -> None:
    x = photos(20, 28, 28, channels=1)
    p = draw(VIEWS["simclr-cifar"][0], KEYS[:20], 0, 0, 0, 28, 28)
    three = apply(x.expand(-1, 3, -1, -1), p)
    torch.testing.assert_close(apply(x, p), three[:, :1], atol=1e-5, rtol=0)


# ------------------------------------------------------------------------------------------------ chance
def test_an_images_view_does_not_depend_on_the_batch_it_is_in() -> None:
    x, keys = photos(9, 20, 20), KEYS[:9]
    a = VIEWS["byol"][1]
    some = np.array([7, 2, 4])
    whole = apply(x, draw(replace(a, size=20), keys, 3, 1, 0, 20, 20))
    part = apply(x[some], draw(replace(a, size=20), keys[some], 3, 1, 0, 20, 20))
    torch.testing.assert_close(part, whole[some], atol=1e-6, rtol=0)


def test_seed_epoch_and_view_each_change_what_is_drawn() -> None:
    a = VIEWS["simclr"][0]
    drawn = [draw(a, KEYS[:8], *words, 64, 64) for words in ((0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 1))]
    for one, other in itertools.combinations(drawn, 2):
        assert (one.box != other.box).any(1).all() and (one.factor != other.factor).any(1).all()


def test_every_order_of_the_colours_comes_equally_often_and_chances_are_what_was_asked_for() -> None:
    keys = np.arange(24_000, dtype=np.uint64)
    p = draw(VIEWS["byol"][1], keys, 0, 0, 0, 32, 32)
    count = np.unique(p.order.numpy(), axis=0, return_counts=True)[1]
    assert len(count) == 24 and abs(count - 1000).max() < 5 * math.sqrt(1000)
    shares = {0.8: sum(map(len, p.jittered)), 0.2: len(p.grey), 0.1: len(p.blurred)}
    for expected, found in [*shares.items(), (0.2, len(p.solarised)), (0.5, int(p.flip.sum()))]:
        assert abs(found / 24_000 - expected) < 0.015
    for place, some in enumerate(p.jittered):
        assert (p.order[some, place] == colours.HUE).all()
    low, high = p.factor.amin(0).tolist(), p.factor.amax(0).tolist()
    assert low == pytest.approx([0.6, 0.6, 0.8, -0.1], abs=1e-3) and high == pytest.approx(
        [1.4, 1.4, 1.2, 0.1], abs=1e-3
    )


def test_the_ready_made_views_are_the_papers() -> None:
    """Chen et al. 2020, appendix A and B.9; Grill et al. 2020, table 6."""
    one, other = VIEWS["simclr"]
    assert one == other
    assert (one.area, one.flip, one.jitter, one.grey, one.blur, one.sigma) == (
        (0.08, 1.0),
        0.5,
        0.8,
        0.2,
        0.5,
        (0.1, 2.0),
    )
    assert (one.brightness, one.contrast, one.saturation, one.hue) == (0.8, 0.8, 0.8, 0.2)
    cifar = VIEWS["simclr-cifar"][0]
    assert (cifar.brightness, cifar.contrast, cifar.saturation, cifar.hue, cifar.blur) == (0.4, 0.4, 0.4, 0.1, 0.0)
    assert [(a.blur, a.solarise) for a in VIEWS["byol"]] == [(1.0, 0.0), (0.1, 0.2)]
    assert {(a.brightness, a.contrast, a.saturation, a.hue) for a in VIEWS["byol"]} == {(0.4, 0.4, 0.2, 0.1)}
    assert draw(one, KEYS[:2], 0, 0, 0, 300, 300).radius == 11  # 23 pixels of 224


@pytest.mark.gpu
@pytest.mark.parametrize("name", VIEWS)
@pytest.mark.parametrize("channels", [1, 3])
def test_a_gpu_gives_the_same_pixels(name: str, channels: int) -> None:
    for view, a in enumerate(VIEWS[name]):
        x = photos(64, 96, 80, channels)
        p = draw(a, KEYS[:64], 0, 0, view, 96, 80)
        here, there = apply(x, p), apply(x.cuda(), p.to("cuda")).cpu()
        assert (here - there).abs().max() < STEP
        assert views.apply(x.cuda(), p.to("cuda")).device.type == "cuda"
