"""Resizing and blur: each image of a batch with its own filter along rows and columns."""

import math

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int, Shaped
from torch import Tensor

_SMALL = 64 * 64
"""Pixels up to which a product with whole matrices is fastest on a CPU."""


def resize(
    pixels: Shaped[Tensor, "image channel height width"],
    box: Int[Tensor, "image 4"],
    flip: Int[Tensor, " image"],
    size: int,
) -> Float[Tensor, "image channel {size} {size}"]:
    """What is inside each box (top, left, height, width), brought to `size`, mirrored where `flip` is 1; not clipped.

    Keys' cubic (1981) with a = -1/2; where it shrinks it is as much wider, so that nothing aliases: what Pillow and
    torch's antialiased `interpolate` do. Large images go through the latter on a CPU, where boxes can be looked at.
    """
    if pixels.device.type != "cpu" or max(size * size, pixels[0, 0].numel()) <= _SMALL:
        return _by_matrices(pixels, box, flip, size)
    out = pixels.new_empty((len(pixels), pixels.shape[1], size, size), dtype=torch.float32)
    for i, ((top, left, height, width), mirrored) in enumerate(zip(box.tolist(), flip.tolist(), strict=True)):
        inside = pixels[i : i + 1, :, top : top + height, left : left + width].float()
        done = F.interpolate(inside, (size, size), mode="bicubic", antialias=True)
        out[i] = done[0].flip(-1) if mirrored else done[0]
    return out


def _by_matrices(
    pixels: Tensor, box: Int[Tensor, "image 4"], flip: Int[Tensor, " image"], size: int
) -> Float[Tensor, "image channel {size} {size}"]:
    """One matrix from the left and one from the right for each image."""
    images, channels, height, width = pixels.shape
    top, left, high, wide = box.unbind(1)
    down, across = cubic(top, high, flip * 0, size, height), cubic(left, wide, flip, size, width)
    x = pixels.transpose(1, 2).float().reshape(images, height, channels * width)
    x = torch.bmm(down, x).view(images, size * channels, width)
    x = torch.bmm(x, across.mT).view(images, size, channels, size)
    return x.transpose(1, 2).contiguous()


def cubic(
    start: Int[Tensor, " image"], length: Int[Tensor, " image"], flip: Int[Tensor, " image"], out: int, full: int
) -> Float[Tensor, "image {out} {full}"]:
    """The matrices that bring `length` of `full` pixels, from `start` on, to `out` pixels, backwards where flipped."""
    scale = length.float()[:, None] / out
    wide = scale.clamp(min=1.0)
    place = torch.arange(out, device=start.device)
    place = torch.where(flip[:, None] > 0, out - 1 - place, place)
    centre = (place + 0.5) * scale
    first = (centre - 2.0 * wide + 0.5).floor().clamp_(min=0.0)
    taps = first[..., None] + torch.arange(math.ceil(4.0 * max(full / out, 1.0)) + 1, device=start.device)
    t = ((taps - centre[..., None] + 0.5) / wide[..., None]).abs()
    near, far = (1.5 * t - 2.5) * t * t + 1.0, ((2.5 - 0.5 * t) * t - 4.0) * t + 2.0
    weight = torch.where(t < 1.0, near, torch.where(t < 2.0, far, 0.0)) * (taps < length[:, None, None])
    weight = weight / weight.sum(-1, keepdim=True)
    taps = (taps.long() + start[:, None, None]).clamp_(max=full - 1)
    return weight.new_zeros(len(start), out, full).scatter_add_(2, taps, weight)


def gaussian(sigma: Float[Tensor, " image"], radius: int) -> Float[Tensor, "image {radius}+1"]:
    """The weights of a pixel and of those 1 to `radius` beside it."""
    kernel = torch.exp(-0.5 * (torch.arange(radius + 1, device=sigma.device) / sigma[:, None]) ** 2)
    return kernel / (2.0 * kernel.sum(1, keepdim=True) - kernel[:, :1])


def blur(
    x: Float[Tensor, "image channel h w"], kernel: Float[Tensor, "image weights"]
) -> Float[Tensor, "image channel h w"]:
    """Each image under its own symmetric kernel (`gaussian`), along rows and along columns, mirrored at the edges."""
    radius = kernel.shape[1] - 1
    if not radius:
        return x
    weight = kernel[:, :, None, None, None].unbind(1)
    beside = torch.empty_like(x)
    for dim, size in ((2, x.shape[2]), (3, x.shape[3])):
        around = F.pad(x, (0, 0, radius, radius) if dim == 2 else (radius, radius, 0, 0), mode="reflect")
        x = x * weight[0]
        for k in range(1, radius + 1):
            torch.add(around.narrow(dim, radius - k, size), around.narrow(dim, radius + k, size), out=beside)
            x.add_(beside.mul_(weight[k]))
    return x
