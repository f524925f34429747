"""Geometry, attention, images and speech: measuring changes no weight, no generator, leaves no hook, and repeats."""

import copy
import dataclasses
import functools
import importlib

import numpy as np
import probed
import pytest
import torch

from sesame import config
from sesame.probes import Ask, Item, Value, find, neighbours

KINDS = {
    "bert": lambda folder: probed.text(folder),
    "gpt": lambda folder: probed.text(folder, config.CausalLM(), causal=True, norm="pre"),
    "bart": lambda folder: probed.text(folder, config.Denoising()),
    "byol": lambda folder: probed.images(),
    "apc": lambda folder: probed.speech(folder),
}
READS = {"bert": "text", "gpt": "text", "bart": "text", "byol": "images", "apc": "speech"}
MINE = ("rank", "geometry", "attention", "neighbours", "collapse", "frames")
PAIRS = [
    (name, kind) for name in MINE for kind in KINDS if READS[kind] in find(config.Probe(name=name)).reads
]  # fmt: skip


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A model of each kind, made once: all probes are to leave it as it is."""
    torch.set_num_threads(1)
    return functools.cache(lambda kind: KINDS[kind](tmp_path_factory.mktemp(kind)))


def smaller(monkeypatch) -> None:
    """Enough to go through every line."""
    for name in ("rank", "geometry", "attention", "collapse", "frames"):
        module = importlib.import_module(f"sesame.probes.{name}")
        monkeypatch.setattr(module, "LIGHT", 70)
        monkeypatch.setattr(module, "FULL", 90)
    monkeypatch.setattr(neighbours, "LIGHT", (300, 40))
    monkeypatch.setattr(neighbours, "FULL", (400, 60))


@pytest.mark.parametrize("name, kind", PAIRS)
def test_a_measurement_leaves_everything_as_it_was_and_gives_the_same_again(name: str, kind: str, made, monkeypatch):
    smaller(monkeypatch)
    model, ask = made(kind)
    whole, probe = model.objective, find(config.Probe(name=name))
    before = {key: value.clone() for key, value in whole.state_dict().items()}
    random, threads = (torch.get_rng_state(), np.random.get_state()[1].copy()), torch.get_num_threads()
    hooks = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks")
    for full in (False, True):
        found = list(probe.measure(model, Ask(data=ask.data, full=full)))
        assert found and (full or repr(found) == repr(list(probe.measure(model, Ask(data=ask.data)))))
        values = [v for v in found if isinstance(v, Value)]
        assert len({(v.metric, v.group, v.layer) for v in values}) == len(values)
        assert all(np.isfinite(v.value) for v in values)
        items = [i for i in found if isinstance(i, Item)]
        assert len({(i.metric, i.key) for i in items}) == len(items)
    for key, value in whole.state_dict().items():
        assert torch.equal(value, before[key]), key
    assert all(not getattr(module, hook) for module in whole.modules() for hook in hooks)
    assert not whole.training and all(p.grad is None for p in whole.parameters())
    assert torch.equal(random[0], torch.get_rng_state()) and (random[1] == np.random.get_state()[1]).all()
    assert torch.get_num_threads() == threads


def test_live_weights_in_bf16_products_and_in_fp64_are_measured_too(made, monkeypatch):
    smaller(monkeypatch)
    model, ask = made("bert")
    for name in ("rank", "geometry", "attention", "collapse"):
        measure = find(config.Probe(name=name)).measure
        plain = [v.value for v in measure(model, ask)]
        with torch.autocast("cpu", torch.bfloat16):
            rough = [v.value for v in measure(model, ask)]
        np.testing.assert_allclose(rough, plain, atol=0.5, rtol=0.2)
    for kind in ("apc", "byol"):
        model, ask = made(kind)
        model = dataclasses.replace(model, objective=copy.deepcopy(model.objective).double())
        for name in PAIRS:
            if name[1] == kind:
                assert list(find(config.Probe(name=name[0])).measure(model, ask))
