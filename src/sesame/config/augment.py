"""How a view of an image is made; the published settings. Colours, grey and blur are as torchvision defines them."""

from typing import Annotated

from msgspec import Meta, Struct

from sesame.config.types import Above0, Count, Rate

NonNegative = Annotated[float, Meta(ge=0.0)]


class Augment(Struct, frozen=True, kw_only=True):
    """One view. Its parts come in the order of the fields: crop, flip, colours, grey, blur, solarise."""

    size: Count = 0
    """Height and width of the view; 0 for the shorter side of the images."""
    area: tuple[Above0, Above0] = (0.08, 1.0)
    """Share of the image that the crop covers, from and to; (1, 1) with a ratio of (1, 1) keeps a square image."""
    ratio: tuple[Above0, Above0] = (3 / 4, 4 / 3)
    """Width by height of the crop, from and to, uniform on a logarithmic scale."""
    flip: Rate = 0.5
    """Chance that left and right change places."""
    jitter: Rate = 0.8
    """Chance that the colours change; the four changes below come in an order of their own for each image."""
    brightness: NonNegative = 0.8
    """Pixels times a number from 1 - this (at least 0) to 1 + this."""
    contrast: NonNegative = 0.8
    """The same of their distance from the image's mean grey, …"""
    saturation: NonNegative = 0.8
    """… and of their distance from their own grey."""
    hue: Annotated[float, Meta(ge=0.0, le=0.5)] = 0.2
    """The hue turns by up to this share of the circle, either way."""
    grey: Rate = 0.2
    """Chance that all colour goes."""
    blur: Rate = 0.5
    """Chance of a Gaussian blur, …"""
    sigma: tuple[Above0, Above0] = (0.1, 2.0)
    """… its standard deviation in pixels, from and to, …"""
    kernel: Rate = 0.1
    """… and the share of `size` that its kernel spans, made odd (SimCLR: a tenth)."""
    solarise: Rate = 0.0
    """Chance that what is brighter than one half is inverted."""


Views = tuple[Augment, Augment]

_SIMCLR = Augment(size=224)
_CIFAR = Augment(brightness=0.4, contrast=0.4, saturation=0.4, hue=0.1, blur=0.0)
_BYOL = Augment(size=224, brightness=0.4, contrast=0.4, saturation=0.2, hue=0.1, blur=1.0)
_BYOL_OTHER = Augment(
    size=224, brightness=0.4, contrast=0.4, saturation=0.2, hue=0.1, blur=0.1, solarise=0.2
)  # fmt: skip
_DIGITS = Augment(
    area=(0.5, 1.0), flip=0.0, brightness=0.4, contrast=0.4, saturation=0.0, hue=0.0, grey=0.0, blur=0.0
)  # fmt: skip

VIEWS: dict[str, Views] = {
    "simclr": (_SIMCLR, _SIMCLR),
    "simclr-cifar": (_CIFAR, _CIFAR),
    "byol": (_BYOL, _BYOL_OTHER),
    "digits": (_DIGITS, _DIGITS),
}
"""Two views each. SimCLR: Chen et al. 2020, appendix A, with strength 1; for CIFAR strength 0.5 and no blur (appendix
B.9). BYOL: Grill et al. 2020, table 6. digits: ours; what a digit is survives neither a flip nor a small crop."""
