"""What a task is learned from: a pretrained network, the same network from scratch, or its embeddings alone."""

import copy
from typing import Any, Literal

import msgspec
import torch
from jaxtyping import Float
from torch import Tensor

from sesame import models
from sesame.data.batch import At, Rows
from sesame.data.chance import seed_for
from sesame.engine.build import Model
from sesame.models.base import Backbone, States
from sesame.models.transformer import Block, Embedding, Transformer, gather
from sesame.tasks.base import Task
from sesame.tasks.network import Network
from sesame.tasks.reading import text_model

Arm = Literal["pretrained", "scratch", "embeddings"]
Start = Literal["normal", "mimetic"]
"""Of `config.Transformer.start`."""
STARTS: tuple[Start, ...] = ("normal", "mimetic")
ARMS: tuple[Arm, ...] = ("embeddings", "scratch", "pretrained")
"""In the order in which they are trained and shown."""


class Embeddings(Backbone):
    """A Transformer without its blocks: what a head can do with the pretrained vectors of single tokens."""

    def __init__(self, whole: Transformer):
        super().__init__()
        self.width, self.embed, self.norm = whole.width, whole.embed, whole.norm

    def forward(self, inputs: Rows, at: At | None = None, layers: bool = False) -> States:
        h: Float[Tensor, "*where width"] = self.embed(inputs)[0]
        if at is not None:
            h = gather(h, at).flatten(0, 1)[at.flat]
        if self.norm is not None:
            h = self.norm(h)
        return States(h, (h,) if layers else (), inputs.valid)


def fresh(model: Model, seed: int, start: Start | None = None) -> Transformer:
    """The model's architecture with the weights that a pretraining run of that seed starts from.

    `start` is another way to draw them than the model's own.
    """
    backbone, _ = text_model(model)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed_for("weights", seed))
        made = models.build(msgspec.structs.replace(backbone.config, start=start or backbone.config.start))
    assert isinstance(made, Transformer)
    return made.to(backbone.embed.token.weight.device)


def network_of(
    arm: Arm, model: Model, task: Task[Any, Any], seed: int, dropout: float, start: Start | None = None
) -> Network:
    """The network that `arm` starts from, with a fresh head; the same for the same seed. `model` is not touched.

    `start` is how scratch draws its weights; None for the model's own way.
    """
    its = fresh(model, seed, start) if arm == "scratch" else text_model(model)[0]
    backbone: Backbone = with_dropout(its, dropout)
    if arm == "embeddings":
        assert isinstance(backbone, Transformer)
        backbone = Embeddings(backbone)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed_for("head", seed))
        head = task.head(backbone.width, dropout)
    weight = next(backbone.parameters())
    return Network(backbone, head.to(weight.device, weight.dtype))


def with_dropout(backbone: Transformer, rate: float) -> Transformer:
    """A copy of `backbone` that trains with this dropout.

    Attention weights keep what the backbone was trained with, which is none unless its recipe says otherwise: dropping
    them takes torch's slow way on a CPU.
    """
    copied = copy.deepcopy(backbone)
    copied.config = msgspec.structs.replace(backbone.config, dropout=rate)
    for module in copied.modules():
        if isinstance(module, Embedding | Block):
            module.dropout = rate
    return copied
