"""Views of images: what is done to each is drawn on the host, by keyed chance, and done on any device, in batches.

The parts follow torchvision's definitions, which are Pillow's: crops of 10 tries, with a bicubic filter (a = -1/2) that
is widened where it shrinks; brightness, contrast (about the mean grey) and saturation as blends that are clipped to
0..1; the hue in HSV; a blur that mirrors at the edges. SimCLR's own code (TensorFlow) differs from that in details:
nothing is widened, contrast keeps each channel's mean, saturation is changed in HSV, and the blur sees black outside.
"""

import math
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int, UInt8, UInt64
from torch import Tensor

from sesame.config import Augment
from sesame.data import chance
from sesame.data.batch import Movable
from sesame.data.colours import HUE, PLANES, chunks, jitter, luma
from sesame.data.filters import blur, gaussian, resize

TRIES = 10
"""Crops that are drawn until one fits into the image."""


@dataclass(frozen=True)
class Parameters(Movable):
    """What is done to each image of a batch. Which images a part touches is known on the host: no device waits."""

    size: int
    """Height and width of the view."""
    box: Int[Tensor, "image 4"]
    """The crop: top, left, height and width, in pixels."""
    flip: Int[Tensor, " image"]
    """1 where left and right change places."""
    order: Int[Tensor, "image 4"]
    """Which change of the colours comes first, second, …"""
    factor: Float[Tensor, "image 4"]
    """Factors of brightness, contrast and saturation, and the turn of the hue."""
    jittered: tuple[Int[Tensor, " _"], ...]
    """Numbers of the images whose colours change, by the place of the hue in their order."""
    grey: Int[Tensor, " grey"]
    """Numbers of the images that lose their colour, …"""
    blurred: Int[Tensor, " blurred"]
    """… that are blurred, …"""
    sigma: Float[Tensor, " blurred"]
    """… by which standard deviation, …"""
    radius: int
    """… over how many pixels to each side, …"""
    solarised: Int[Tensor, " solarised"]
    """… and that are solarised."""


# ------------------------------------------------------------------------------------------------- draw
def draw(
    a: Augment, keys: UInt64[np.ndarray, " image"], seed: int, epoch: int, view: int, height: int, width: int
) -> Parameters:
    """What is done to each image for its view number `view`, by its key, the seed and the epoch alone."""
    u = iter(chance.uniform("view", seed, epoch, keys[:, None], view, np.arange(2 * TRIES + 16)).T)

    def between(low: float, high: float) -> np.ndarray:
        return low + (high - low) * next(u)

    box = _crop(a, np.stack([next(u) for _ in range(2 * TRIES + 2)]), height, width)
    flip = next(u) < a.flip
    jittered = next(u) < a.jitter
    order = np.argsort(np.stack([next(u) for _ in range(4)], 1), axis=1, kind="stable")
    strengths = a.brightness, a.contrast, a.saturation
    factor = [between(max(0.0, 1.0 - s), 1.0 + s) for s in strengths] + [between(-a.hue, a.hue)]
    grey, blurred = next(u) < a.grey, next(u) < a.blur
    sigma = between(*a.sigma)
    solarised = next(u) < a.solarise
    hue_at = np.argmax(order == HUE, axis=1)
    size = a.size or min(height, width)
    return Parameters(
        size=size,
        box=torch.from_numpy(box),
        flip=torch.from_numpy(flip.astype(np.int64)),
        order=torch.from_numpy(order),
        factor=torch.from_numpy(np.stack(factor, 1).astype(np.float32)),
        jittered=tuple(_where(jittered & (hue_at == place)) for place in range(4)),
        grey=_where(grey),
        blurred=_where(blurred),
        sigma=torch.from_numpy(sigma[blurred].astype(np.float32)),
        radius=int(a.kernel * size) // 2,
        solarised=_where(solarised),
    )


def _where(some: np.ndarray) -> Tensor:
    return torch.from_numpy(np.flatnonzero(some))


def _crop(a: Augment, u: Float[np.ndarray, "number image"], height: int, width: int) -> Int[np.ndarray, "image 4"]:
    """The first of the tries that fits into the image; the largest one in the middle where none does."""
    area = height * width * (a.area[0] + (a.area[1] - a.area[0]) * u[:TRIES])
    ratio = np.exp(math.log(a.ratio[0]) + math.log(a.ratio[1] / a.ratio[0]) * u[TRIES : 2 * TRIES])
    w, h = np.rint(np.sqrt(area * ratio)).astype(np.int64), np.rint(np.sqrt(area / ratio)).astype(np.int64)
    fits = (w > 0) & (w <= width) & (h > 0) & (h <= height)
    first, some = np.argmax(fits, axis=0), fits.any(axis=0)
    w, h = (np.take_along_axis(x, first[None], axis=0)[0] for x in (w, h))
    middle = min(max(width / height, a.ratio[0]), a.ratio[1])
    w = np.where(some, w, min(width, round(height * middle)))
    h = np.where(some, h, min(height, round(width / middle)))
    top = np.where(some, np.floor(u[2 * TRIES] * (height - h + 1)), (height - h) // 2)
    left = np.where(some, np.floor(u[2 * TRIES + 1] * (width - w + 1)), (width - w) // 2)
    return np.stack([top, left, h, w], 1).astype(np.int64)


# ------------------------------------------------------------------------------------------------ apply
@torch.no_grad()
def apply(
    pixels: UInt8[Tensor, "image channel height width"] | Float[Tensor, "image channel height width"], p: Parameters
) -> Float[Tensor, "image channel {p.size} {p.size}"]:
    """The views, from 0 to 1, on the device of the pixels. Pixels are bytes, or numbers from 0 to 1."""
    with torch.autocast(pixels.device.type, enabled=False):
        x = resize(pixels, p.box, p.flip, p.size)
        if not pixels.is_floating_point():
            x.mul_(1 / 255)
        x.clamp_(0.0, 1.0)
        planes = x.new_empty(PLANES, _most(p, x), 1, p.size, p.size)
        for place, those in enumerate(p.jittered):
            for some in chunks(those, x):
                changed = x[some]
                jitter(changed, p.order[some], p.factor[some], place, planes[:, : len(some)])
                x[some] = changed
        if x.shape[1] == 3:
            for some in chunks(p.grey, x):
                x[some] = luma(x[some], planes[0, : len(some)]).expand(-1, 3, -1, -1)
        if p.radius and len(p.blurred):
            _blur(x, p)
        for some in chunks(p.solarised, x):
            bright = x[some]
            x[some] = torch.where(bright < 0.5, bright, 1.0 - bright)
        return x


def _most(p: Parameters, x: Tensor) -> int:
    """Images that are worked on at a time."""
    return max((len(some) for those in (*p.jittered, p.grey) for some in chunks(those, x)), default=0)


def _blur(x: Float[Tensor, "image channel h w"], p: Parameters) -> None:
    """In place. On a CPU a kernel ends where its weights are too small to count, five standard deviations away."""
    radius = min(p.radius, p.size - 1)  # there is no more to mirror
    kernel = gaussian(p.sigma, radius)
    if x.device.type != "cpu":
        x[p.blurred] = blur(x[p.blurred], kernel)
        return
    for i, sigma, weights in zip(p.blurred.tolist(), p.sigma.tolist(), kernel, strict=True):
        x[i : i + 1] = blur(x[i : i + 1], weights[None, : math.ceil(5.0 * sigma) + 1])
