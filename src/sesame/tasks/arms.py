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
from sesame.models.layer_mix import LayerMix
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


def arms_of(model: Model) -> tuple[Arm, ...]:
    """The arms there are: the embeddings alone are one of a Transformer. Word vectors are nothing else."""
    return ARMS if isinstance(model.objective.backbone, Transformer) else ("scratch", "pretrained")


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


def fresh(model: Model, seed: int, start: Start | None = None) -> Backbone:
    """The model's architecture with the weights that a pretraining run of that seed starts from.

    `start` is another way to draw them than the model's own, where there are several. What is no weight (which
    characters a word has) is the model's.
    """
    backbone, _ = text_model(model)
    shape = backbone.config
    if isinstance(backbone, Transformer):
        shape = msgspec.structs.replace(shape, start=start or shape.start)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed_for("weights", seed))
        made = models.build(shape)
    made.load_state_dict(dict(backbone.named_buffers()), strict=False)
    return made.to(next(backbone.parameters()).device)


def network_of(
    arm: Arm,
    model: Model,
    task: Task[Any, Any],
    seed: int,
    dropout: float,
    start: Start | None = None,
    mix: bool = False,
) -> Network:
    """The network that `arm` starts from, with a fresh head; the same for the same seed. `model` is not touched.

    `start` is how scratch draws its weights; None for the model's own way. With `mix` the head reads all layers.
    """
    its = fresh(model, seed, start) if arm == "scratch" else text_model(model)[0]
    backbone: Backbone = with_dropout(its, dropout)
    if arm == "embeddings":
        assert isinstance(backbone, Transformer), "of other models the embeddings alone are no arm"
        backbone = Embeddings(backbone)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed_for("head", seed))
        head = task.head(backbone.width, dropout)
    weight = next(backbone.parameters())
    shape: Any = its.config
    layers = 1 if arm == "embeddings" else 1 + shape.layers
    mixed = LayerMix(layers).to(weight.device, weight.dtype) if mix else None
    return Network(backbone, head.to(weight.device, weight.dtype), mixed)


def with_dropout(backbone: Backbone, rate: float) -> Backbone:
    """A copy of `backbone` that trains with this dropout.

    Attention weights keep what the backbone was trained with, which is none unless its recipe says otherwise: dropping
    them takes torch's slow way on a CPU.
    """
    copied = copy.deepcopy(backbone)
    if not isinstance(copied, Transformer):  # of other models the head alone has dropout
        return copied
    copied.config = msgspec.structs.replace(copied.config, dropout=rate)
    for module in copied.modules():
        if isinstance(module, Embedding | Block):
            module.dropout = rate
    return copied
