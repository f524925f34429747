"""A contact sheet: images beside their views, with what was drawn for each, and where each was cut from."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Int, UInt8
from PIL import Image, ImageDraw, ImageFont

from sesame.config import Views
from sesame.data import chance
from sesame.data.colours import HUE
from sesame.data.images import ImageStream
from sesame.data.views import Parameters, apply, draw

TILE, GAP, LINE = 168, 14, 15
"""Pixels: side of a picture, space between two, height of a line of text."""
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
"""Okabe and Ito (2008): people with any colour vision can tell them apart."""
_INK, _FAINT = "#222222", "#666666"
_CHANGES = ("brightness", "contrast", "saturation", "hue")


def chosen(stream: ImageStream, count: int, seed: int) -> Int[np.ndarray, " image"]:
    """The numbers of `count` images, drawn by the seed."""
    return np.argsort(chance.bits("contact sheet", seed, stream.key), kind="stable")[:count]


def contact_sheet(
    stream: ImageStream, views: Views, images: Int[np.ndarray, " image"], columns: int, seed: int, title: str
) -> Image.Image:
    """One row an image: as it is, with its crops outlined, then `columns` views, those of both settings in turn."""
    pixels, key = stream.pixels[images], stream.key[images]
    height, width = pixels.shape[2:]
    drawn = [draw(views[n % 2], key, seed, n // 2, n % 2, height, width) for n in range(columns)]
    made = [apply(torch.from_numpy(pixels), p).mul(255).round().byte().numpy() for p in drawn]
    font, bold = ImageFont.load_default(12), ImageFont.load_default(15)
    grey = pixels.shape[1] == 1
    texts = [
        [_wrapped(told(p, i, views[n % 2].jitter > 0, grey), font) for n, p in enumerate(drawn)]
        for i in range(len(images))
    ]
    lines = [1 + max(len(text) for text in row) for row in texts]
    top = 4 * GAP
    sheet = Image.new(
        "RGB", (GAP + (TILE + GAP) * (columns + 1), top + sum(TILE + n * LINE + GAP for n in lines)), "white"
    )
    pen = ImageDraw.Draw(sheet)
    pen.text((GAP, GAP), title, _INK, bold)
    for i in range(len(images)):
        sheet.paste(_picture(pixels[i]), (GAP, top))
        name = "" if stream.label is None else stream.names[int(stream.label[images[i]])]
        pen.text((GAP, top + TILE + 3), _short(name, font), _INK, font)
        pen.text((GAP, top + TILE + 3 + LINE), f"{width}x{height} pixels", _FAINT, font)
        for n, p in enumerate(drawn):
            left, colour = GAP + (TILE + GAP) * (n + 1), COLOURS[n % len(COLOURS)]
            _outline(pen, p.box[i].tolist(), (GAP, top), TILE / max(height, width), colour)
            sheet.paste(_picture(made[n][i]), (left, top))
            pen.rectangle((left - 2, top - 2, left + TILE + 1, top + TILE + 1), outline=colour, width=2)
            for line, text in enumerate(texts[i][n]):
                pen.text((left, top + TILE + 3 + line * LINE), text, _INK if line else colour, font)
        top += TILE + lines[i] * LINE + GAP
    return sheet


def told(p: Parameters, i: int, jitters: bool, grey: bool) -> list[str]:
    """What was drawn for image `i`: the crop, factors of the colours in their order, what else; all in ASCII and °."""
    _, _, height, width = p.box[i].tolist()
    found = [f"crop {width}x{height}{', mirrored' if p.flip[i] else ''}"]
    if any(i in some for some in p.jittered):
        changes = [
            f"{_CHANGES[c]} {p.factor[i, c] * 360:+.0f}°" if c == HUE else f"{_CHANGES[c]} {p.factor[i, c]:.2f}"
            for c in p.order[i].tolist()
            if not grey or c < 2
        ]
        found.append(", ".join(changes))
    elif jitters:
        found.append("colours kept")
    others = ["grey"] if i in p.grey and not grey else []
    if i in p.blurred and p.radius:
        others.append(f"blur {p.sigma[p.blurred.tolist().index(i)]:.1f} px")
    others += ["solarised"] if i in p.solarised else []
    return [*found, *([", ".join(others)] if others else [])]


def _picture(pixels: UInt8[np.ndarray, "channel height width"]) -> Image.Image:
    """As large as a tile allows; small images keep their hard edges."""
    image = Image.fromarray(pixels[0] if len(pixels) == 1 else np.ascontiguousarray(pixels.transpose(1, 2, 0)))
    scale = TILE / max(image.size)
    size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    return image.resize(size, Image.Resampling.NEAREST if scale > 1 else Image.Resampling.LANCZOS)


def _outline(pen: ImageDraw.ImageDraw, box: Sequence[int], corner: tuple[int, int], scale: float, colour: str) -> None:
    top, left, height, width = (round(edge * scale) for edge in box)
    x, y = corner[0] + left, corner[1] + top
    pen.rectangle((x, y, x + max(width, 2) - 1, y + max(height, 2) - 1), outline=colour, width=2)


def _wrapped(parts: Sequence[str], font: Any) -> list[str]:
    """The parts in lines that are no wider than a tile, each part on a line of its own."""
    lines: list[str] = []
    for part in parts:
        lines.append("")
        for word in part.replace(", ", ",\n").split("\n"):
            longer = f"{lines[-1]} {word}".strip()
            if lines[-1] and font.getlength(longer) > TILE:
                lines.append(word)
            else:
                lines[-1] = longer
    return lines


def _short(name: str, font: Any) -> str:
    while name and font.getlength(name) > TILE:
        name = name[:-2].rstrip("…") + "…"
    return name
