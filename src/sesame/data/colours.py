"""Changes of colour for a batch of images, numbers from 0 to 1, as torchvision and Pillow define them.

On a CPU such work is bound by memory, so it is done in place, in planes of one number a pixel that are taken once and
used again, for as many images at a time as fit into a core's cache.
"""

from collections.abc import Iterator

import torch
from jaxtyping import Float, Int
from torch import Tensor

BRIGHTNESS, CONTRAST, SATURATION, HUE = range(4)
PLANES = 5
"""Numbers a pixel that `turn_hue` works with."""
_TOGETHER = 1 << 15
"""Pixels that are worked on at a time on a CPU."""


def chunks(some: Int[Tensor, " some"], x: Tensor) -> Iterator[Int[Tensor, " chunk"]]:
    """Numbers of images, as many at a time as are best worked on together."""
    if len(some):
        yield from some.split(max(1, _TOGETHER // x[0, 0].numel()) if x.device.type == "cpu" else len(some))


def luma(x: Float[Tensor, "image 3 h w"], out: Float[Tensor, "image 1 h w"]) -> Float[Tensor, "image 1 h w"]:
    """The grey of each pixel (ITU-R BT.601)."""
    red, green, blue = x.split(1, 1)
    return torch.mul(red, 0.299, out=out).add_(green, alpha=0.587).add_(blue, alpha=0.114)


def jitter(
    x: Float[Tensor, "image channel h w"],
    order: Int[Tensor, "image 4"],
    factor: Float[Tensor, "image 4"],
    hue_at: int,
    planes: Float[Tensor, "plane image 1 h w"],
) -> None:
    """Change the colours in place, each image's in its own order, in which the hue is number `hue_at` for all of them.

    The three other changes are f·x + (1 - f)·base, where base is 0, the mean grey, or the pixel's own grey: one
    formula, whichever of them an image is due.
    """
    coloured = x.shape[1] == 3
    for place in range(4):
        f = factor.gather(1, order[:, place, None])[:, :, None, None]
        if place == hue_at:
            if coloured:
                turn_hue(x, f, planes)
            continue
        which = order[:, place, None, None, None]
        to_mean, to_grey = (1.0 - f) * (which == CONTRAST), (1.0 - f) * (which == SATURATION)
        if coloured:
            base = luma(x, planes[0])
            mean = base.mean((2, 3), keepdim=True)
            x.mul_(f).add_(base.mul_(to_grey).add_(to_mean * mean)).clamp_(0.0, 1.0)
        else:  # grey already: nothing to saturate
            mean = x.mean((2, 3), keepdim=True)
            x.mul_(f + to_grey).add_(to_mean * mean).clamp_(0.0, 1.0)


def turn_hue(
    x: Float[Tensor, "image 3 h w"], turn: Float[Tensor, "image 1 1 1"], planes: Float[Tensor, "plane image 1 h w"]
) -> None:
    """Turn the hue (HSV) by a share of the circle, in place: the greatest and the least colour of a pixel stay.

    With d the distance on the circle of the pixel's new hue from a colour's own (red 0, green 1/3, blue 2/3), that
    colour is the greatest for d <= 1/6, the least for d >= 1/3, and on the line between the two elsewhere.
    """
    red, green, blue = x.split(1, 1)
    a, b, c, d, h = planes[:PLANES]
    # The hue, from the colours in order: (middle - least) / 6(greatest - least), up or down from the greatest's own.
    more, less = torch.maximum(green, blue, out=a), torch.minimum(green, blue, out=b)
    under = torch.lt(red, more, out=c)  # 1 where red is not the greatest
    middle = torch.minimum(red, more, out=d)
    torch.sub(middle, less, out=h)
    torch.minimum(middle, less, out=b)
    most = torch.maximum(red, more, out=a)
    spread = torch.sub(most, b, out=b).mul_(6.0)
    h.div_(torch.add(spread, 1e-12, out=d))
    below = torch.lt(green, blue, out=d)
    h.sub_(below)  # |h - 1| where blue is above green, |h - 1/3| or |h + 2/3| where red is not the greatest
    h.sub_(under, alpha=1 / 3).add_(under.mul_(below), alpha=2.0).abs_()
    h.add_(turn + 1.0).frac_()
    sixth = 1 / 6
    # Red: the distance is 1/2 - |h - 1/2|.
    near = torch.sub(h, 0.5, out=c).abs_().clamp_(sixth, 2 * sixth)
    torch.sub(most, spread, alpha=2 * sixth, out=d)
    torch.addcmul(d, spread, near, out=red)
    most.add_(spread, alpha=sixth)
    for colour, own in ((green, 2 * sixth), (blue, 4 * sixth)):
        near = torch.sub(h, own, out=c).abs_().clamp_(sixth, 2 * sixth)
        torch.addcmul(most, spread, near, value=-1.0, out=colour)
