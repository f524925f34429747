"""Fine-tuning: one network, one rate, one seed; the weights that are best on dev are kept."""

import logging
import math
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import count
from typing import Any

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor

from sesame.config import FineTune, Optimizer
from sesame.data.chance import permute, seed_for
from sesame.engine import machine, optim
from sesame.engine.build import Model
from sesame.errors import UserError
from sesame.models.transformer import Transformer
from sesame.tasks.base import Encodings, Notes, Task, TaskData
from sesame.tasks.network import Network, predict, readable
from sesame.tasks.reading import model_for, name, positions, reach

log = logging.getLogger(__name__)


class Diverged(UserError):
    """The loss is not finite any more."""


@dataclass(frozen=True)
class Encoded:
    """A task's examples as one model reads them."""

    data: TaskData[Any, Any]
    train: Encodings
    dev: Encodings
    test: Encodings
    pad: int
    length: int
    """Tokens a sequence may have; 0 where there are none."""


@dataclass(frozen=True)
class Evaluation:
    """Where training stood at one look at dev."""

    epoch: float
    step: int
    seconds: float
    """Since training began."""
    train_loss: float
    """Mean over what was predicted since the look before."""
    dev: dict[str, float]


@dataclass(frozen=True)
class Tuning:
    """A network that was trained, with its best weights in place."""

    network: Network
    task: Task[Any, Any]
    """With what was chosen on dev."""
    evaluations: tuple[Evaluation, ...]
    best: Evaluation

    def test(self, encoded: Encoded) -> dict[str, float]:
        """The metrics on test."""
        examples = encoded.data.test
        return self.task.metrics(examples, predict(self.task, self.network, examples, encoded.test, encoded.pad))


def encode(model: Model, data: TaskData[Any, Any], length: int = 0) -> Encoded:
    """The examples as `model` reads them, in at most `length` tokens (0: what the model learned to read).

    What is cut is counted in `data.notes`.
    """
    backbone, vocabulary = model_for(data.task, model)
    data.task.check_model(backbone, data.train)
    if vocabulary is None:
        train, dev, test = (data.task.encode(part, None, 0, data.notes) for part in (data.train, data.dev, data.test))
        return Encoded(data, train, dev, test, pad=0, length=0)
    length = length or reach(model)
    if length > positions(backbone):
        raise UserError(
            f"--length {length}: {name(model)} has {positions(backbone)} positions. Choose a length of at most "
            "that many."
        )
    if length > reach(model):
        log.warning("%s was trained on rows of %d; positions after that are fresh", name(model), reach(model))
    data = replace(data, task=data.task.suited(causal=isinstance(backbone, Transformer) and backbone.config.causal))
    return _encoded(data, vocabulary, length)


def encode_raw(model: Model, data: TaskData[Any, Any], length: int = 0) -> Encoded:
    """The same examples as no network reads them: the arm `raw`. What is cut is not counted a second time."""
    _, vocabulary = model_for(data.task, model)
    return _encoded(replace(data, notes=Notes()), data.task.raw(vocabulary)[0], length or reach(model))


def _encoded(data: TaskData[Any, Any], vocabulary: Any, length: int) -> Encoded:
    (train, its_train), (dev, its_dev), (test, its_test) = (
        readable(part, data.task.encode(part, vocabulary, length, data.notes))
        for part in (data.train, data.dev, data.test)
    )
    data = replace(data, train=train, dev=dev, test=test)
    return Encoded(data, its_train, its_dev, its_test, vocabulary.pad, length)


def fine_tune(
    network: Network,
    encoded: Encoded,
    settings: FineTune,
    chosen: Int[np.ndarray, " chosen"] | None = None,
    tell: Callable[[Evaluation], None] = lambda _: None,
) -> Tuning:
    """Train `network` on the training sequences (those `chosen`, or all), and give it the weights best on dev.

    Everything that is left to chance follows from `settings.seed`. Raises Diverged where the loss is not finite.
    """
    task, seed = encoded.data.task, settings.seed
    chosen = np.arange(len(encoded.train)) if chosen is None else chosen
    if not len(chosen):
        raise UserError(f"{encoded.data.name}: no training example can be read in {encoded.length} tokens.")
    an_epoch = math.ceil(len(chosen) / settings.rows)
    steps = max(1, settings.min_steps, round(settings.epochs * an_epoch))
    looks = {round(steps * k / settings.evaluations) for k in range(1, settings.evaluations + 1)} | {steps}
    for parameter in network.backbone.parameters():
        parameter.requires_grad_(not settings.freeze)
    if not any(parameter.requires_grad for parameter in network.parameters()):
        raise UserError(f"--freeze trains the head alone, and a task of kind {task.kind} has none. Leave it out.")
    schedule = schedule_of(settings)
    optimizer = optim.Optimizer(network, schedule, layer_rates(network, settings.layer_decay))
    evaluations: list[Evaluation] = []
    best, best_task, since = None, task, 0
    whole = {**optimizer.named, **dict(network.named_buffers())}  # batch norm's statistics go with the weights
    kept: dict[str, Tensor] = {}
    total, things, began = torch.zeros(()), 0, time.monotonic()
    for step, some in zip(range(steps), batches(chosen, settings.rows, seed), strict=False):
        network.train()
        network.backbone.train(not settings.freeze)  # states of frozen weights are the same at every step
        machine.seed(network.device, seed_for("fine-tuning dropout", seed, step))
        batch = network.batch(encoded.train, some, encoded.pad)
        loss = task.loss(network(batch), batch)
        (loss.weight / max(loss.count, 1) * loss.sum).backward()
        optimizer.clip()
        optimizer.step(optim.rate_at(schedule, step, steps))
        total, things = loss.sum.detach() + total, things + loss.count
        if step + 1 not in looks:
            continue
        train_loss = float(total) / max(things, 1)
        if not math.isfinite(train_loss):
            raise Diverged(f"{encoded.data.name}: the loss of step {step + 1} is not finite. Try a lower --lr.")
        predictions = predict(task, network, encoded.data.dev, encoded.dev, encoded.pad)
        tuned, predictions = task.tuned(encoded.data.dev, predictions)
        dev = tuned.metrics(encoded.data.dev, predictions)
        now = Evaluation((step + 1) / an_epoch, step + 1, time.monotonic() - began, train_loss, dev)
        evaluations.append(now)
        tell(now)
        total, things, since = torch.zeros(()), 0, since + 1
        if best is None or dev[task.metric] > best.dev[task.metric]:
            best, best_task, since = now, tuned, 0
            kept = {key: value.detach().clone() for key, value in whole.items()}
        if settings.patience and since >= settings.patience:
            break
    assert best is not None  # the last step is one of those that are looked at
    with torch.no_grad():
        for key, value in whole.items():
            value.copy_(kept[key])
    return Tuning(network.eval(), best_task, tuple(evaluations), best)


def batches(chosen: Int[np.ndarray, " chosen"], rows: int, seed: int) -> Iterator[Int[np.ndarray, " some"]]:
    """`rows` sequences at a time, epoch after epoch, each in a keyed order of its own; an epoch's last has the rest."""
    for epoch in count():
        order = chosen[permute(np.arange(len(chosen)), len(chosen), "fine-tuning order", seed, epoch)]
        yield from (order[start : start + rows] for start in range(0, len(order), rows))


def schedule_of(settings: FineTune) -> Optimizer:
    """AdamW as BERT is fine-tuned: warm-up over a tenth of the steps, then linearly to 0 (Devlin et al. 2019, A.2)."""
    return Optimizer(lr=settings.lr, weight_decay=settings.weight_decay, beta2=0.999, warmup=0.1, decay="linear")


def layer_rates(network: Network, decay: float) -> dict[str, float]:
    """Of every parameter the share of the rate: 1 in the head, `decay` in the last layer, its square in the one before.

    The embeddings, and the stem of a conv net, come after the first layer (Howard & Ruder 2018, 3.2; Clark et al.
    2020, appendix B). In an encoder-decoder the encoder's last layer comes after the decoder's first.
    """
    names = [key for key, _ in network.named_parameters()]
    within = [re.match(r"backbone\.((?:encoder|decoder|transformer)\.)?((?:blocks|layer\d)\.\d+)\.", k) for k in names]
    layers = dict[str, list[str]]()  # of each stack, from the first on
    for stack, block in dict.fromkeys(found.groups("") for found in within if found):
        layers.setdefault(stack, []).append(block)

    def steps_from_head(key: str, found: re.Match[str] | None) -> int:
        if key.startswith(("head.", "mix.")):
            return 0
        after = len(layers.get("decoder.", ())) if key.startswith("backbone.encoder.") else 0
        if found:
            stack, block = found.groups("")
            return after + len(layers[stack]) - layers[stack].index(block)
        first = re.search(r"\.(embed|stem|stem_norm|conv1|bn1)\.", key)
        return 1 + (sum(map(len, layers.values())) if first else after)

    return {key: decay ** steps_from_head(key, found) for key, found in zip(names, within, strict=True)}
