"""Images to bytes of one size: in this process while there are few, then on all cores."""

import hashlib
from collections import Counter
from collections.abc import Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain, islice
from typing import Any

import numpy as np
from jaxtyping import UInt8, UInt64

from sesame.data.image_sources import Raw, opened
from sesame.processes import here_or_on_all_cores

BATCH = 256
"""Images decoded at a time."""
ALONE = 4
"""Batches that one process decodes as fast as workers are started."""
LOOK = 256
"""Images whose headers say what size and channels all of them get."""
SMALL = 128
"""The commonest size up to this is kept; larger images are brought to LARGE."""
LARGE = 224
_SIXTEEN = ("PNG", "PPM")
"""Formats whose deep images have 16 bits even where Pillow says I, which is 32: .pgm, and .png in older versions."""
_GREY = ("1", "L", "LA", "I", "I;16", "I;16B", "F")


class Unfit(Exception):
    """An image that cannot be used: a reason, and what is wrong in words."""


@dataclass(frozen=True)
class Decoded:
    """A batch of images, and what was wrong with those that are not in it."""

    pixels: UInt8[np.ndarray, "image channel height width"]
    keys: UInt64[np.ndarray, " image"]
    raws: tuple[tuple[int | str | None, str], ...]
    """Label of each, and where it was."""
    greys: int
    """Images without colour that were given three equal channels."""
    bad: tuple[tuple[str, str], ...]


def decoded(raws: Iterator[Raw], size: int, channels: int) -> tuple[int, int, Generator[Decoded]]:
    """Height and width, channels, and the images in batches; close the generator when it is left early."""
    first = list(islice(raws, LOOK))
    size, to_grey = size or _size_of(first), channels == 1
    channels = channels or _channels_of(first)
    make = partial(partial, decode, size=size, channels=channels, to_grey=to_grey)
    hint = "Nothing was written. Free some, or use fewer cores (taskset -c 0 sesame …), and try again."
    batches = _batches(chain(first, raws))
    return size, channels, here_or_on_all_cores(batches, make, make, ALONE, "decoding images", hint)


def _batches(raws: Iterable[Raw]) -> Iterator[list[Raw]]:
    raws = iter(raws)
    while batch := list(islice(raws, BATCH)):
        yield batch


# ------------------------------------------------------------------------------------------ what they are
def _headers(raws: Sequence[Raw]) -> Iterator[tuple[int, int, bool]]:
    """Width, height and whether it is grey, of those whose header can be read."""
    for raw in raws:
        if isinstance(raw.data, np.ndarray):
            yield raw.data.shape[1], raw.data.shape[0], raw.data.ndim == 2 or raw.data.shape[2] == 1
            continue
        try:
            with opened(raw) as image:
                yield *image.size, image.mode in _GREY
        except Exception:  # whatever Pillow's readers raise; decoding will say it
            continue


def _size_of(raws: Sequence[Raw]) -> int:
    sizes = Counter(min(width, height) for width, height, _ in _headers(raws))
    commonest = min(sizes, key=lambda size: (-sizes[size], size), default=LARGE)
    return commonest if 2 <= commonest <= SMALL else LARGE


def _channels_of(raws: Sequence[Raw]) -> int:
    return 1 if all(grey for *_, grey in _headers(raws)) else 3


# -------------------------------------------------------------------------------------------- one batch
def content_keys(pixels: UInt8[np.ndarray, "image channel height width"]) -> UInt64[np.ndarray, " image"]:
    """64 bits that stand for what each image shows, wherever it is kept."""
    shape = repr(pixels.shape[1:]).encode()
    hashes = (hashlib.blake2b(shape + image.tobytes(), digest_size=8).digest() for image in pixels)
    return np.frombuffer(b"".join(hashes), np.dtype("<u8")).astype(np.uint64)


def decode(raws: Sequence[Raw], size: int, channels: int, to_grey: bool = False) -> Decoded:
    """What is inside each image's middle, its shorter side brought to `size`; colours among grey images are bad, unless
    `to_grey`."""
    pixels, told, bad, greys = [], [], [], 0
    for raw in raws:
        try:
            image, grey = _decode(raw, size, channels, to_grey)
        except Unfit as error:
            bad.append((str(error.args[0]), f"{raw.where}: {error.args[1]}"))
            continue
        pixels.append(image)
        told.append((raw.label, raw.where))
        greys += grey and channels == 3
    together = np.stack(pixels) if pixels else np.zeros((0, channels, size, size), np.uint8)
    return Decoded(together, content_keys(together), tuple(told), greys, tuple(bad))


def _decode(
    raw: Raw, size: int, channels: int, to_grey: bool
) -> tuple[UInt8[np.ndarray, "channel height width"], bool]:
    from PIL import Image

    if isinstance(raw.data, np.ndarray):
        array = raw.data[..., 0] if raw.data.ndim == 3 and raw.data.shape[2] == 1 else raw.data
        image: Any = Image.fromarray(np.ascontiguousarray(array))
    else:
        image = _loaded(raw)
    if min(image.size) < 2:
        raise Unfit("too small", f"{image.width}x{image.height} pixels; an image has at least 2x2.")
    grey = image.mode in _GREY
    if channels == 1 and not grey and not to_grey:
        raise Unfit(
            "colours among grey images",
            "has colours, and the images before it are grey. Pass --data.channels 3, or 1 to make it grey.",
        )
    image = _fitted(_plain(image, "L" if channels == 1 else "RGB"), size)
    array = np.asarray(image, np.uint8)
    return (array[None] if array.ndim == 2 else np.ascontiguousarray(array.transpose(2, 0, 1))), grey


def _loaded(raw: Raw) -> Any:
    """The image, turned the way its camera was held."""
    from PIL import ImageOps

    try:
        image = opened(raw)
        image.load()
        ImageOps.exif_transpose(image, in_place=True)  # a copy would not say of which format it is
        return image
    except Exception as error:  # Pillow's readers raise errors of many kinds at bytes that they did not expect
        told = str(error).splitlines()[0] if str(error) else type(error).__name__
        told = "of a kind that is not known" if "cannot identify" in told else told
        raise Unfit("corrupt image", f"cannot be read as an image ({told}).") from None


def _plain(image: Any, mode: str) -> Any:
    """Without a palette, on white where it is transparent, 16 bits brought to 8."""
    from PIL import Image

    if image.mode in ("I", "F") or image.mode.startswith("I;16"):
        image = Image.fromarray(_shallow(image))
    if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return image if image.mode == mode else image.convert(mode)


def _shallow(image: Any) -> UInt8[np.ndarray, "height width"]:
    """16 bits, or numbers from 0 to 1, as bytes. What an image's white is its kind says, never its brightest pixel."""
    deep = np.asarray(image, np.float64)
    if image.mode == "F":
        if not np.isfinite(deep).all():
            raise Unfit("values that are no pixels", "holds values that are not finite.")
        low, high = float(deep.min()), float(deep.max())
        if low < 0.0 or high > 1.0:
            raise Unfit("values that are no pixels", f"holds numbers from {low:g} to {high:g}, not from 0 to 1.")
        deep *= 255.0
    elif image.mode.startswith("I;16") or image.format in _SIXTEEN:
        deep /= 257.0
    else:
        raise Unfit("values that are no pixels", "holds numbers of 32 bits or with a sign; none is known as white.")
    return deep.round().astype(np.uint8)


def _fitted(image: Any, size: int) -> Any:
    """The middle square, after the shorter side was brought to `size`."""
    from PIL import Image

    if image.size == (size, size):
        return image
    width, height = image.size
    short = min(width, height)
    left, top = (width - short) / 2, (height - short) / 2
    return image.resize((size, size), Image.Resampling.BICUBIC, (left, top, left + short, top + short))
