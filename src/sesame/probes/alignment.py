"""Alignment and uniformity: how near two views of one image are, and how evenly images fill the sphere.

Of outputs at length 1 (Wang & Isola 2020, section 4): `alignment` is the mean squared distance of two views of an
image, as training makes them, 0 where they are one and 2 where they have nothing in common; `uniformity` is the
logarithm of the mean of exp(−2 · squared distance) over pairs of different images: 0 where all outputs are one, near −4
where they fill many directions evenly. Both are better lower; a collapsed network has 0 and 0. The group `backbone` is
the last layer, `projection` what the projector makes of it. Measured on 1,024 held-out images, 8,192 in the full form.
"""

from collections.abc import Iterator
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from sesame.data.images import ImageSet
from sesame.engine.build import Model
from sesame.errors import UserError
from sesame.probes.base import Answer, Ask, Value
from sesame.probes.geometry import unit_vectors

READS = ("images",)
LIGHT, FULL = 1024, 8192
TOGETHER = 512
"""Outputs whose distances from the others are computed at once."""


def measure(model: Model, ask: Ask) -> Iterator[Answer]:
    task: Any = model.objective.pretext
    if ask.source or not isinstance(ask.data, ImageSet):
        raise UserError("The probe alignment measures the images of the run itself: give no file.")
    if not hasattr(task, "views"):
        raise UserError("The probe alignment measures tasks that compare two views of an image, and this one does not.")
    stream = ask.once(("held out", "stream"), lambda: task.stream(ask.data, 0))
    device = next(task.parameters()).device
    found: dict[str, tuple[list[Tensor], list[Tensor]]] = {"backbone": ([], []), "projection": ([], [])}
    with torch.no_grad():
        for batch in stream.held_out(FULL if ask.full else LIGHT):
            for number, view in enumerate(task.views(task.split(batch).to(device))):
                output = model.objective.backbone(view).last
                found["backbone"][number].append(output.double())
                found["projection"][number].append(task.projector(output).double())
    for group, views in found.items():
        first, second = (unit_vectors(torch.cat(view)) for view in views)
        yield Value("alignment", alignment(first, second), len(first), group)
        if len(first) > 1:
            yield Value("uniformity", uniformity(first), len(first), group)


def alignment(first: Float[Tensor, "image width"], second: Float[Tensor, "image width"]) -> float:
    """The mean of ‖x − y‖² over images (α = 2)."""
    return float((first - second).square().sum(1).mean())


def uniformity(unit: Float[Tensor, "image width"]) -> float:
    """log of the mean of exp(−2‖x − y‖²) over all pairs of different images (t = 2)."""
    n, total = len(unit), unit.new_zeros(())
    for some in unit.split(TOGETHER):
        total += torch.exp(-2.0 * (2.0 - 2.0 * (some @ unit.T))).sum()
    return float(torch.log((total - n) / (n * (n - 1))))  # an image is at no distance from itself: exp(0) each
