"""The score of a quick fine-tuning: what `fine_tune` gives by hand, the same every time, and training left alone."""

import json
import math
import re

import numpy as np
import probed
import pytest
import readers
import torch
from scipy.stats import binomtest
from test_bus import same
from watched import recipe, train, watching

from sesame import config
from sesame.config import FineTune
from sesame.engine import machine
from sesame.errors import UserError
from sesame.probes import Ask, Item, Value, downstream, find
from sesame.probes.downstream import Size
from sesame.probes.watch import _contents
from sesame.tasks.arms import network_of
from sesame.tasks.base import keyed_order
from sesame.tasks.finetune import encode, fine_tune
from sesame.tasks.network import predict
from sesame.tasks.opening import open_task
from sesame.tasks.qa_metrics import normalised

LIGHT, FULL = Size(24, 8, 12, 6), Size(40, 12, 20, 9)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    torch.set_num_threads(1)
    return readers.prepared(tmp_path_factory.mktemp("data"))


@pytest.fixture(autouse=True)
def small(monkeypatch):
    monkeypatch.setattr(downstream, "LIGHT", LIGHT)
    monkeypatch.setattr(downstream, "FULL", FULL)
    monkeypatch.setattr(machine, "matmul_limit", lambda *_: 1.0)


@pytest.fixture
def tasks(tmp_path):
    """A folder of each kind that has things which are right or wrong, and one of numbers."""
    for name in ("texts", "tags", "questions", "numbers"):
        (tmp_path / name).mkdir()
    for part, first, count in (("train", 0, 60), ("dev", 200, 16), ("test", 300, 30)):
        said = [readers.sentence(first + n, 3) for n in range(count)]
        label = [("they", "one")["she" in text or "he " in text] for text in said]
        rows = "".join(f"{text}\t{which}\n" for text, which in zip(said, label, strict=True))
        (tmp_path / "texts" / f"{part}.tsv").write_text(f"text\tlabel\n{rows}")
        rows = "".join(f"{text}\t{len(text)}\n" for text in said)
        (tmp_path / "numbers" / f"{part}.tsv").write_text(f"text\tlabel\n{rows}")
        words = ["".join(f"{word}\t{'LONG' if len(word) > 4 else 'SHORT'}\n" for word in text.split()) for text in said]
        (tmp_path / "tags" / f"{part}.conll").write_text("\n".join(words))
        asked = [
            {"id": f"{part} {n}", "question": "who was it", "answers": [{"text": text.split()[0], "answer_start": 0}]}
            for n, text in enumerate(said)
        ]
        found = [{"context": text, "qas": [one]} for text, one in zip(said, asked, strict=True)]
        (tmp_path / "questions" / f"{part}.json").write_text(json.dumps({"data": [{"paragraphs": found}]}))
    task = {"kind": "regression"} | {part: f"numbers/{part}.tsv" for part in ("train", "dev", "test")}
    (tmp_path / "lengths.json").write_text(json.dumps(task))
    return tmp_path


def measured(model, ask: Ask) -> tuple[dict[str, Value], list[Item]]:
    with torch.no_grad():
        found = list(downstream.measure(model, ask))
    return {v.metric: v for v in found if isinstance(v, Value)}, [i for i in found if isinstance(i, Item)]


@pytest.mark.parametrize(
    "kind, metric, full",
    [
        ("texts", "accuracy", True),
        ("texts", "accuracy", False),
        ("tags", "accuracy", True),
        ("questions", "exact", False),
    ],
)
def test_the_scores_are_those_of_fine_tuning_by_hand(data, tasks, kind, metric, full):
    model = readers.bert(data)
    values, items = measured(model, Ask(source=str(tasks / kind), data=data, full=full))
    size, task = FULL if full else LIGHT, open_task(str(tasks / kind))
    for part, most in (("train", size.train), ("dev", size.dev), ("test", size.test)):
        examples = getattr(task, part)
        kept = set(keyed_order(examples, "quick fine-tuning")[:most].tolist())
        examples[:] = [example for i, example in enumerate(examples) if i in kept]
        assert len(examples) == most
    encoded = encode(model, task)
    for end, rate in (("", 1e-3), ("_frozen", 1e-2)):
        settings = FineTune(
            epochs=1e-9, min_steps=size.steps, rows=16, lr=rate, evaluations=1, freeze=end == "_frozen", seed=0
        )
        tuning = fine_tune(network_of("pretrained", model, task.task, 0, 0.1), encoded, settings)
        assert tuning.best.step == size.steps
        said = predict(tuning.task, tuning.network, task.test, encoded.test, encoded.pad)
        score = tuning.task.metrics(task.test, said)
        value, own = values[metric + end], [item for item in items if item.metric == metric + end]
        assert value.value == pytest.approx(score[metric]) == np.mean([item.right for item in own])
        assert value.n == len(own) == (sum(len(s.words) for s in task.test) if kind == "tags" else size.test)
        interval = binomtest(sum(item.right for item in own), value.n).proportion_ci(method="wilson")
        assert (value.low, value.high) == pytest.approx((interval.low, interval.high))
        if kind == "questions":
            assert values[f"f1{end}"].value == pytest.approx(score["f1"]) and math.isnan(values[f"f1{end}"].low)
    for name, guess in (("majority", task.task.majority), ("tfidf", task.task.lexical)):
        expected = task.task.metrics(task.test, guess(task.train, task.test))[task.task.metric]
        assert values[f"{task.task.metric}_{name}"].value == expected
    assert len({(item.metric, item.key) for item in items}) == len(items)
    shown = [item for item in items if item.text]
    alike = normalised if kind == "questions" else str  # "an" is as good an answer as "the"
    assert shown and all(item.right == (alike(item.guesses[0][0]) == alike(item.word)) for item in shown)


def test_an_example_that_was_edited_is_another_thing(data, tasks):
    def keys() -> set[int]:
        return {item.key for item in measured(readers.bert(data), Ask(source=str(tasks / "texts"), data=data))[1]}

    before, file = keys(), next((tasks / "texts").glob("test.*"))
    lines = file.read_text().splitlines(keepends=True)
    file.write_text("".join([lines[0], *(f"another {line}" for line in lines[1:])]))
    assert before and not before & keys()


def test_a_task_of_numbers_has_a_score_without_things_that_are_right_or_wrong(data, tasks):
    values, items = measured(readers.bert(data), Ask(source=str(tasks / "lengths.json")))
    assert set(values) == {"pearson", "pearson_frozen", "pearson_majority", "pearson_tfidf"} and not items
    assert all(v.n == LIGHT.test and math.isnan(v.low) for v in values.values())


def test_the_same_weights_have_the_same_score_whatever_was_drawn_before(data, tasks):
    model, source = readers.gpt(data), str(tasks / "texts")
    one = measured(model, Ask(source=source))
    torch.rand(5), np.random.seed(3)
    assert repr(measured(model, Ask(source=source))) == repr(one)
    assert repr(measured(readers.gpt(data, seed=1), Ask(source=source))) != repr(one)


def test_wide_backbones_learn_at_lower_rates():
    assert [downstream.settings_of(width, 30, False).lr for width in (64, 128, 768)] == [
        1e-3, 1e-3, pytest.approx(6.8e-5, rel=0.01)
    ]  # fmt: skip
    assert downstream.settings_of(768, 30, True).lr == pytest.approx(6.8e-4, rel=0.01)


def test_training_beside_it_ends_with_the_same_weights(tasks):
    plain = train(recipe("bert", tasks), tasks / "plain")
    watch = watching(f"downstream={tasks / 'texts'}", at=(5,))
    assert same(plain, train(recipe("bert", tasks, watch=watch), tasks / "watched"))


def test_what_a_task_file_names_is_part_of_what_a_measurement_is_made_from(tasks):
    probe = find(config.Probe(name="downstream", source=str(tasks / "lengths.json")))
    before = _contents(probe)
    assert before == _contents(probe)
    with (tasks / "numbers" / "train.tsv").open("a") as file:
        file.write("one more\t8\n")
    assert before != _contents(probe)


@pytest.mark.parametrize(
    "source, message",
    [
        ("", "downstream: which task? Give one that `sesame finetune` takes: --probe downstream=pydocs/area"),
        ("pydocs/aera", "pydocs has no task 'aera'. Did you mean area"),
        ("name", "name: no such task. Did you mean pydocs/names? Give pydocs/NAME"),
    ],
)
def test_a_task_that_is_not_there(data, source, message):
    with pytest.raises(UserError, match=re.escape(message)):
        measured(readers.bert(data), Ask(source=source))


def test_a_model_of_something_else_is_told_apart(tmp_path):
    with pytest.raises(UserError, match="downstream measures models of text, and this one is trained on images"):
        train(recipe("byol", tmp_path, watch=watching("downstream=pydocs/area")), tmp_path / "run")
    model, _ = probed.text(tmp_path, config.Denoising())
    with pytest.raises(UserError, match="is no Transformer over text"):
        measured(model, Ask(source="pydocs/area"))


def test_weights_from_which_nothing_can_be_learned_are_told(data, tasks):
    model = readers.bert(data)
    with torch.no_grad():
        model.objective.backbone.embed.token.weight.fill_(math.nan)
    with pytest.raises(UserError, match="texts cannot be learned from these weights"):
        measured(model, Ask(source=str(tasks / "texts")))
