"""Views of images: what is done to each is drawn on the host, by keyed chance, and done on any device, in batches.

The parts follow torchvision's definitions, which are Pillow's: crops of 10 tries, with a bicubic filter (a = -1/2) that
is widened where it shrinks; brightness, contrast (about the mean grey) and saturation as blends that are clipped to
0..1; the hue in HSV; a blur that mirrors at the edges. SimCLR and BYOL, in TensorFlow and JAX, differ from that only
in the mean that contrast keeps (one per channel), in saturation (in HSV) and in the blur's edges (black).
"""

import math
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int, UInt8, UInt64
from torch import Tensor

from sesame.config import Augment
from sesame.data import chance
from sesame.data.batch import Movable

TRIES = 10
"""Crops that are drawn until one fits into the image."""
BRIGHTNESS, CONTRAST, SATURATION, HUE = range(4)
GREY = (0.299, 0.587, 0.114)
"""Luma of red, green and blue (ITU-R BT.601)."""


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
        x = cropped(pixels, p)
        for place, some in enumerate(p.jittered):
            if len(some):
                x[some] = jittered(x[some], p.order[some], p.factor[some], place)
        if len(p.grey) and x.shape[1] == 3:
            x[p.grey] = luma(x[p.grey]).expand(-1, 3, -1, -1)
        if len(p.blurred) and p.radius:
            x[p.blurred] = blurred(x[p.blurred], p.sigma, p.radius)
        if len(p.solarised):
            some = x[p.solarised]
            x[p.solarised] = torch.where(some < 0.5, some, 1.0 - some)
        return x


def cropped(pixels: Tensor, p: Parameters) -> Float[Tensor, "image channel {p.size} {p.size}"]:
    """The crop, resized and flipped: a product with one matrix from the left and one from the right."""
    top, left, height, width = p.box.unbind(1)
    nothing = torch.zeros_like(p.flip)
    down = resizing(top, height, nothing, p.size, pixels.shape[2])
    across = resizing(left, width, p.flip, p.size, pixels.shape[3])
    x = pixels.float()
    if not pixels.is_floating_point():
        across = across / 255.0
    return (down[:, None] @ (x @ across[:, None].mT)).clamp_(0.0, 1.0)


def resizing(
    start: Int[Tensor, " image"], length: Int[Tensor, " image"], flip: Int[Tensor, " image"], out: int, full: int
) -> Float[Tensor, "image {out} {full}"]:
    """The matrices that resize `length` of `full` pixels, from `start` on, to `out` pixels, backwards where flipped.

    Keys' cubic (1981) with a = -1/2; shrinking, it is as much wider (Pillow's and torch's antialiasing).
    """
    scale = length.float() / out
    wide = scale.clamp(min=1.0)
    centre = (torch.arange(out, device=start.device) + 0.5) * scale[:, None]
    first = (centre - 2.0 * wide[:, None] + 0.5).floor().clamp_(min=0.0)
    place = first[..., None] + torch.arange(math.ceil(4.0 * max(full / out, 1.0)) + 1, device=start.device)
    t = ((place - centre[..., None] + 0.5) / wide[:, None, None]).abs()
    near = (1.5 * t - 2.5) * t * t + 1.0
    far = ((2.5 - 0.5 * t) * t - 4.0) * t + 2.0
    weight = torch.where(t < 1.0, near, torch.where(t < 2.0, far, 0.0))
    weight = weight * (place < length[:, None, None])
    weight = weight / weight.sum(-1, keepdim=True)
    weight = torch.where(flip[:, None, None] > 0, weight.flip(1), weight)
    place = torch.where(flip[:, None, None] > 0, place.flip(1), place)
    matrix = weight.new_zeros(len(start), out, full)
    return matrix.scatter_add_(2, (place.long() + start[:, None, None]).clamp_(max=full - 1), weight)


def luma(x: Float[Tensor, "image 3 h w"]) -> Float[Tensor, "image 1 h w"]:
    """The grey of each pixel."""
    red, green, blue = x.split(1, 1)
    return (GREY[0] * red).add_(green, alpha=GREY[1]).add_(blue, alpha=GREY[2])


def jittered(
    x: Float[Tensor, "image channel h w"], order: Int[Tensor, "image 4"], factor: Float[Tensor, "image 4"], hue_at: int
) -> Float[Tensor, "image channel h w"]:
    """Colours changed, each image in its own order, in which the hue is number `hue_at` for all of them.

    The three other changes are f·x + (1 - f)·base, where base is 0, the mean grey, or the pixel's grey: one formula,
    whichever each image is due.
    """
    x = x.clone()
    coloured = x.shape[1] == 3
    for turn in range(4):
        which = order[:, turn, None, None, None]
        f = factor.gather(1, order[:, turn, None])[:, :, None, None]
        if turn == hue_at:
            if coloured:
                x = turned(x, f)
            continue
        grey = luma(x) if coloured else x.clone()
        mean = grey.mean((2, 3), keepdim=True)
        if not coloured:
            f = torch.where(which == SATURATION, 1.0, f)
        to_mean, to_grey = (1.0 - f) * (which == CONTRAST), (1.0 - f) * (which == SATURATION)
        x.mul_(f).add_(grey.mul_(to_grey).add_(to_mean * mean)).clamp_(0.0, 1.0)
    return x


def turned(x: Float[Tensor, "image 3 h w"], turn: Float[Tensor, "image 1 1 1"]) -> Float[Tensor, "image 3 h w"]:
    """The hue in HSV turned by a share of the circle: the greatest and the least of each pixel's colours stay."""
    red, green, blue = x.split(1, 1)
    most, least = x.amax(1, keepdim=True), x.amin(1, keepdim=True)
    spread = most - least
    over = 1.0 / spread.clamp(min=1e-12)
    sixth = torch.where(
        most == red,
        (green - blue) * over,
        torch.where(most == green, (blue - red) * over + 2.0, (red - green) * over + 4.0),
    )
    sixth = sixth + 6.0 * turn
    offset = torch.tensor([5.0, 3.0, 1.0], device=x.device)[:, None, None]
    k = (sixth + offset) % 6.0
    return most - spread * torch.minimum(k, 4.0 - k).clamp_(0.0, 1.0)


def blurred(
    x: Float[Tensor, "image channel h w"], sigma: Float[Tensor, " image"], radius: int
) -> Float[Tensor, "image channel h w"]:
    """A Gaussian of each image's own width along rows and columns, mirrored at the edges."""
    t = torch.arange(-radius, radius + 1, device=x.device)
    kernel = torch.exp(-0.5 * (t / sigma[:, None]) ** 2)
    kernel = kernel / kernel.sum(1, keepdim=True)
    images, channels = x.shape[:2]
    kernel = kernel.repeat_interleave(channels, 0)
    groups = images * channels
    flat = F.pad(x, (radius,) * 4, mode="reflect").reshape(1, groups, x.shape[2] + 2 * radius, x.shape[3] + 2 * radius)
    flat = F.conv2d(flat, kernel[:, None, None, :], groups=groups)
    return F.conv2d(flat, kernel[:, None, :, None], groups=groups).reshape(x.shape)
