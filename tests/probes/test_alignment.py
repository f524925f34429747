"""Alignment and uniformity against a double loop over the paper's formulas, at their ends, and on every method."""

import math

import numpy as np
import probed
import pytest
import torch

from sesame import config
from sesame.data.images import ImageSet
from sesame.errors import UserError
from sesame.probes import Ask, alignment
from sesame.probes.alignment import measure

DIGITS = config.VIEWS["digits"]
TASKS = {
    "simclr": config.SimClr(views=DIGITS, out=8),
    "byol": config.Byol(views=DIGITS, hidden=12, out=8),
    "simsiam": config.SimSiam(views=DIGITS, out=8, hidden=4),
    "moco": config.MocoV3(views=DIGITS, hidden=12, out=8),
}


def by_hand(first: np.ndarray, second: np.ndarray) -> dict[str, float]:
    first, second = (z / np.linalg.norm(z, axis=1, keepdims=True) for z in (first, second))
    n = len(first)
    near = sum(sum((a - b) ** 2 for a, b in zip(first[i], second[i], strict=True)) for i in range(n)) / n
    pairs = [math.exp(-2 * ((first[i] - first[j]) ** 2).sum()) for i in range(n) for j in range(n) if i != j]
    return {"alignment": near, "uniformity": math.log(sum(pairs) / len(pairs))}


@pytest.mark.parametrize("name", TASKS)
def test_of_every_method_the_measures_are_those_of_the_formulas(name, monkeypatch):
    monkeypatch.setattr(alignment, "LIGHT", 40)
    monkeypatch.setattr(alignment, "TOGETHER", 16)
    source = ImageSet(config.ImageData(rows=64))
    net = config.ConvNet(channels=(6, 10))
    recipe = config.Recipe(name="tiny", data=source.config, backbone=net, pretext=TASKS[name], threads=1)
    model = probed.model_of(recipe, source)
    whole = model.objective
    (batch,) = whole.pretext.stream(source, 0).held_out(40)
    outputs = {"backbone": [], "projection": []}
    with torch.no_grad():
        for view in whole.pretext.views(whole.pretext.split(batch)):
            outputs["backbone"].append(whole.backbone(view).last.double().numpy())
            outputs["projection"].append(whole.pretext.projector(whole.backbone(view).last).double().numpy())
    found = list(measure(model, Ask(data=source)))
    assert all(value.n == 40 for value in found)
    for group, views in outputs.items():
        told = {value.metric: value.value for value in found if value.group == group}
        assert told == pytest.approx(by_hand(*views), rel=1e-6)


def test_a_collapsed_network_has_nothing_of_either_and_even_directions_are_uniform():
    one = torch.nn.functional.normalize(torch.ones(50, 8, dtype=torch.float64), dim=1)
    assert alignment.alignment(one, one) == pytest.approx(0)
    assert alignment.uniformity(one) == pytest.approx(0, abs=1e-9)
    generator = torch.Generator().manual_seed(0)
    even = torch.nn.functional.normalize(torch.randn(3000, 512, generator=generator, dtype=torch.float64), dim=1)
    assert alignment.uniformity(even) == pytest.approx(-4 + 8 / 512, abs=0.01)


def test_what_has_no_two_views_is_refused(tmp_path):
    model, ask = probed.images()
    with pytest.raises(UserError, match="give no file"):
        list(measure(model, Ask(data=ask.data, source="x.npz")))
    text, its = probed.text(tmp_path)
    with pytest.raises(UserError, match="give no file"):
        list(measure(text, its))
