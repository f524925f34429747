"""What a labelled task gains from the weights, after a quick fine-tuning: --probe downstream=TASK.

TASK is what `sesame finetune` takes: a built-in one (pydocs/area, pydocs/names, pydocs/match, pydocs/params), a folder
of labelled files or a task file. A copy of the backbone, with a fresh head, is trained on a fixed small budget, and
scored on the task's test examples: by accuracy, F1 or whatever the task is measured by. `…_frozen` is the score of a
head alone, the backbone left as it is. `…_majority` and `…_tfidf` are what needs no network, from the same examples.

The light form learns from 480 examples in 30 steps of 16 sequences and asks 300; the full one learns from 1,920 in 120
steps and asks up to 2,000. Both choose by key, take one seed (0), so that heads and order are the same at every step,
and one rate: 0.001 up to a width of 128, falling as width^-1.5 (0.00007 at 768), ten times that for a head alone,
warmed up over a tenth of the steps, then linearly to 0, with dropout 0.1. So scores are lower than those of `sesame
finetune`, which takes its time, and made to be compared with each other. Intervals are those of the test examples
(Wilson 1927); another seed would differ too.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from sesame.config import FineTune
from sesame.engine.build import Model
from sesame.errors import UserError
from sesame.probes.base import Answer, Ask, Item, Value
from sesame.probes.words import CLOSING, OPENING, key_of, say_once, share, shown_of
from sesame.tasks.arms import network_of
from sesame.tasks.base import TaskData, keyed_order
from sesame.tasks.classification import Classification
from sesame.tasks.finetune import Diverged, Encoded, encode, fine_tune
from sesame.tasks.network import predict
from sesame.tasks.opening import files_of, open_task
from sesame.tasks.reading import reach, text_model
from sesame.tasks.span_qa import SpanQA
from sesame.tasks.tagging import Tagging

READS = ("text",)


class Size(NamedTuple):
    """How much is learned from, and how long."""

    train: int
    """Examples, at most; so are the next two."""
    dev: int
    test: int
    steps: int


LIGHT, FULL = Size(480, 100, 300, 30), Size(1920, 500, 2000, 120)
ROWS = 16
"""Sequences in a step."""
RATE, WIDTH = 1e-3, 128
"""The peak rate of a backbone so wide, or narrower."""
HEAD_RATE = 10.0
"""Times that where a head is trained alone: it is fresh, and has nothing to forget."""
NONE = "no answer"


@dataclass(frozen=True)
class Prepared:
    """A task as one vocabulary writes it, and what it scores without a network."""

    encoded: Encoded
    plain: list[Value]


@dataclass(frozen=True)
class Right:
    """A thing of the test examples that can be right or wrong, and what the network said."""

    metric: str
    key: int
    right: bool
    gold: str
    said: str
    probability: float
    """Of what was said; NaN where the task gives none."""
    text: str


def measure(model: Model, ask: Ask) -> Iterator[Answer]:
    backbone, vocabulary = text_model(model)
    data = ask.once(("downstream", ask.source), lambda: _open(ask.source))
    size = FULL if ask.full else LIGHT
    name = ("downstream", ask.source, ask.full, vocabulary.hash, reach(model))
    made = ask.once(name, lambda: _prepared(model, data, size))
    say_once(ask, "downstream", made.encoded.data.notes.counts)
    for frozen in (False, True):
        task, said = _learned(model, made.encoded, settings_of(backbone.width, size.steps, frozen))
        yield from _told(task, made.encoded.data, said, "_frozen" * frozen)
    yield from made.plain


def files(source: str) -> list[Path]:
    """The files that a measurement depends on: a task file names others."""
    return files_of(source)


def settings_of(width: int, steps: int, frozen: bool) -> FineTune:
    """How a backbone so wide, or a head on it, is trained."""
    rate = RATE * min(1.0, WIDTH / width) ** 1.5 * (HEAD_RATE if frozen else 1.0)
    # With next to no epochs the steps alone decide; with one look at dev, at the end, nothing is chosen there.
    return FineTune(epochs=1e-9, min_steps=steps, rows=ROWS, lr=rate, freeze=frozen, evaluations=1, seed=0)


# ------------------------------------------------------------------------------------------------ the task
def _open(source: str) -> TaskData[Any, Any]:
    if not source:
        raise UserError(
            "downstream: which task? Give one that `sesame finetune` takes: --probe downstream=pydocs/area, or a "
            "folder of labelled files."
        )
    return open_task(source)


def _prepared(model: Model, data: TaskData[Any, Any], size: Size) -> Prepared:
    def some(examples: list[Any], most: int) -> list[Any]:
        return [examples[i] for i in np.sort(keyed_order(examples, "quick fine-tuning")[:most])]

    notes = replace(data.notes, counts=data.notes.counts.copy())
    data = replace(
        data,
        train=some(data.train, size.train),
        dev=some(data.dev, size.dev),
        test=some(data.test, size.test),
        notes=notes,
    )
    encoded = encode(model, data)
    plain = []
    for name, guesses in data.task.baselines(data.train, data.test).items():
        metrics = data.task.metrics(data.test, guesses)
        plain.append(Value(f"{data.task.metric}_{name}", metrics[data.task.metric], len(data.test)))
    return Prepared(encoded, plain)


# ---------------------------------------------------------------------------------------------- learning it
def _learned(model: Model, encoded: Encoded, settings: FineTune) -> tuple[Any, list[Any]]:
    """The task with what was chosen on dev, and a prediction for every test example. The model is not touched, and
    neither is the state of torch's generators."""
    device = next(model.objective.backbone.parameters()).device
    with torch.random.fork_rng([device] if device.type == "cuda" else []), torch.enable_grad():
        network = network_of("pretrained", model, encoded.data.task, settings.seed, settings.dropout)
        try:
            tuning = fine_tune(network, encoded, settings)
        except Diverged:
            raise UserError(
                f"{encoded.data.name} cannot be learned from these weights at the rate {settings.lr:.2g}: the loss is "
                "not finite."
            ) from None
        test = encoded.data.test
        return tuning.task, predict(tuning.task, tuning.network, test, encoded.test, encoded.pad)


def _told(task: Any, data: TaskData[Any, Any], said: Sequence[Any], end: str) -> Iterator[Answer]:
    """The task's metric; where things are right or wrong, the share that is, with an interval, and the things.

    The key of an example may be the number of its line, so its content is part of the thing's own key.
    """
    rights = _rights(task, data, said)
    metric = rights[0].metric if rights else ""
    if metric != task.metric:
        yield Value(task.metric + end, task.metrics(data.test, said)[task.metric], len(data.test))
    if not rights:
        return
    yield share(metric + end, np.array([one.right for one in rights]))
    shown = shown_of([one.key for one in rights], [""] * len(rights))
    for number, one in enumerate(rights):
        text, guesses = (one.text, ((one.said, one.probability),)) if number in shown else ("", ())
        yield Item(metric + end, one.key, "", one.right, one.gold, text, guesses)


def _rights(task: Any, data: TaskData[Any, Any], said: Sequence[Any]) -> list[Right]:
    """Each thing that is right or wrong, of the kinds of task that have such; their share is a metric of the task."""
    name, test = data.name, data.test
    if isinstance(task, Classification):
        return [
            Right("accuracy", key_of(name, one.key, one.text, one.pair), guess.label == one.label, one.label,
                  guess.label, guess.probability, " ↔ ".join(filter(None, (one.text, one.pair))))
            for one, guess in zip(test, said, strict=True)
        ]  # fmt: skip
    if isinstance(task, Tagging):
        return [
            Right("accuracy", key_of(name, one.key, one.words, i), tag == gold, gold, tag, math.nan,
                  _marked(one.words, i))
            for one, tags in zip(test, said, strict=True)
            for i, (gold, tag) in enumerate(zip(one.tags, tags, strict=True))
        ]  # fmt: skip
    if isinstance(task, SpanQA):
        return [
            Right("exact", key_of(name, one.key, one.question), bool(task.score(one, guess.text)[0]),
                  (one.answers or (NONE,))[0], guess.text or NONE, math.nan, one.question)
            for one, guess in zip(test, said, strict=True)
        ]  # fmt: skip
    return []


def _marked(words: Sequence[str], i: int) -> str:
    return " ".join((*words[:i], f"{OPENING}{words[i]}{CLOSING}", *words[i + 1 :]))
