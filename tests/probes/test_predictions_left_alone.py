"""Probes of what a text model predicts: they change no weight and no generator, and give the same again."""

import json
from pathlib import Path

import numpy as np
import pytest
import readers
import torch

from sesame import config
from sesame.probes import Ask, Item, Value, downstream, find, prediction, word_classes


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    torch.set_num_threads(1)
    return readers.prepared(tmp_path_factory.mktemp("data"))


@pytest.fixture(autouse=True)
def small(monkeypatch):
    for module, light, full in ((word_classes, "LIGHT", "FULL"), (prediction, "LIGHT_ROWS", "FULL_ROWS")):
        monkeypatch.setattr(module, light, 6 if module is prediction else 40)
        monkeypatch.setattr(module, full, 9 if module is prediction else 60)
    for size in ("LIGHT", "FULL"):
        monkeypatch.setattr(downstream, size, downstream.Size(12, 4, 4, 2))


def source_of(probe: str, folder: Path) -> str:
    told = {
        "minimal-pairs": {"sentence_good": "she liked them.", "sentence_bad": "she liked they."},
        "cloze": {"text": "she walked into [MASK].", "answer": "paris"},
    }
    if probe == "downstream":
        for part, count in (("train", 12), ("dev", 4), ("test", 4)):
            rows = "".join(f"{readers.sentence(n, count)}\t{n % 2}\n" for n in range(count))
            (folder / f"{part}.tsv").write_text(f"text\tlabel\n{rows}")
        return str(folder)
    if probe not in told:
        return ""
    (folder / "told.jsonl").write_text(json.dumps(told[probe]) + "\n")
    return str(folder / "told.jsonl")


@pytest.mark.parametrize("make", [readers.bert, readers.gpt])
@pytest.mark.parametrize("name", ["word-classes", "minimal-pairs", "cloze", "frequency", "calibration", "downstream"])
def test_a_measurement_leaves_everything_as_it_was_and_gives_the_same_again(data, tmp_path, name, make):
    model, probe = make(data), find(config.Probe(name=name))
    assert probe.reads == {"text"}
    before = {key: value.clone() for key, value in model.objective.state_dict().items()}
    random = torch.get_rng_state(), np.random.get_state()[1].copy()
    for full in (False, True):
        asks = [Ask(source=source_of(name, tmp_path), data=data, full=full) for _ in range(2)]
        with torch.no_grad():
            one, two = (list(probe.measure(model, ask)) for ask in asks)
            again = list(probe.measure(model, asks[0]))
        assert one and repr(one) == repr(two) == repr(again)
        values = [v for v in one if isinstance(v, Value)]
        assert len({(v.metric, v.group, v.layer) for v in values}) == len(values)
        assert all(np.isfinite(v.value) for v in values)
        items = [i for i in one if isinstance(i, Item)]
        assert len({(i.metric, i.key) for i in items}) == len(items)
    assert all(torch.equal(value, before[key]) for key, value in model.objective.state_dict().items())
    assert not model.objective.training and all(p.grad is None for p in model.objective.parameters())
    assert torch.equal(random[0], torch.get_rng_state()) and (random[1] == np.random.get_state()[1]).all()


@pytest.mark.parametrize("name", ["word-classes", "frequency", "calibration"])
def test_products_in_bf16_and_weights_in_fp64_are_measured_too(data, name):
    measure, model = find(config.Probe(name=name)).measure, readers.bert(data)
    with torch.no_grad():
        plain, double = list(measure(model, Ask(data=data))), None
        with torch.autocast("cpu", torch.bfloat16):
            rough = list(measure(model, Ask(data=data)))
        model.objective.double()
        double = list(measure(model, Ask(data=data)))
    for other in (rough, double):
        pairs = [
            (a, b) for a, b in zip(plain, other, strict=False) if isinstance(a, Value) and "reliability" not in a.metric
        ]
        assert len(pairs) > 2
        for a, b in pairs:
            assert (a.metric, a.group) == (b.metric, b.group) and a.value == pytest.approx(b.value, abs=0.2)
