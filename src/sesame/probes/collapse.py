"""Collapse: whether the outputs for different examples still differ (Chen & He 2021, figure 2).

Of the outputs at length 1, `std` is the standard deviation over examples, averaged over dimensions: 0 where all outputs
are one, and 1/√width where they point evenly in all directions; `std_share` is it divided by that. `cosine` is the mean
cosine of two examples' outputs, over all pairs, and `rankme` their rank (see the probe rank). The group `backbone` is
the last layer: of an image its output, of text and speech the mean over an example's tokens or frames; `projection` is
what the projector makes of that, where a task has one (BYOL).

Measured on the examples of 8,192 held-out tokens, frames or images, 32,768 in the full form.
"""

from collections.abc import Iterator

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from sesame.engine.build import Model
from sesame.probes.base import Answer, Ask, Value
from sesame.probes.geometry import between, unit_vectors
from sesame.probes.held_out import example_means, held_out, layer_states
from sesame.probes.rank import Moments, rankme

READS = ("text", "images", "speech")
LIGHT, FULL = 8192, 32_768


def measure(model: Model, ask: Ask) -> Iterator[Answer]:
    parts = held_out(model, ask, FULL if ask.full else LIGHT)
    means = torch.cat([example_means(part, layer_states(model, part)[-1].float()) for part in parts])
    outputs = {"backbone": means}
    projector = getattr(model.objective.pretext, "projector", None)
    if projector is not None:
        with torch.no_grad():
            outputs["projection"] = projector(means.to(next(projector.parameters()).dtype))
    for group, output in outputs.items():
        yield from collapse(output.double(), group)


def collapse(output: Float[Tensor, "example width"], group: str) -> Iterator[Value]:
    """The measures of one matrix of outputs."""
    n, width = output.shape
    unit = unit_vectors(output)
    std = float(unit.std(0, correction=0).mean())
    moments = Moments()
    moments.add(output)
    yield Value("std", std, n, group)
    yield Value("std_share", std * width**0.5, n, group)
    yield Value("cosine", between(unit, np.arange(n)), n, group)
    yield Value("rankme", rankme(moments.singular_values()), n, group)
