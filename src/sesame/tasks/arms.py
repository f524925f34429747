"""What a task is learned from: a pretrained network, the same network from scratch, or its embeddings alone."""

import copy
from collections.abc import Sequence
from typing import Any, Literal, TypeVar

import torch
from jaxtyping import Float
from msgspec.structs import replace
from torch import Tensor

from sesame import config, models
from sesame.data.batch import At, Rows
from sesame.data.chance import seed_for
from sesame.engine.build import Model
from sesame.errors import UserError
from sesame.models.base import Backbone, States
from sesame.models.encoder_decoder import EncoderDecoder
from sesame.models.layer_mix import LayerMix
from sesame.models.transformer import Block, Embedding, Transformer, gather
from sesame.tasks.base import Head, Task
from sesame.tasks.network import Network
from sesame.tasks.reading import model_for
from sesame.tasks.writer import Writer

B = TypeVar("B", bound=Backbone)
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


def arms_of(task: Task[Any, Any], arms: Sequence[Arm] = ARMS, backbone: Backbone | None = None) -> tuple[Arm, ...]:
    """Those of `arms` that `task` can be learned from, in order. Embeddings alone cannot write; and they are an arm of
    a Transformer, where the backbone is known: word vectors are nothing else."""
    alone = task.reads == "text" and not task.writes and (backbone is None or isinstance(backbone, Transformer))
    return tuple(arm for arm in ARMS if arm in arms and (alone or arm != "embeddings"))


def fresh(model: Model, seed: int, start: Start | None = None) -> Backbone:
    """The model's architecture with the weights that a pretraining run of that seed starts from.

    `start` is another way to draw them than the model's own, where there are several. What is no weight (which
    characters a word has) is the model's.
    """
    backbone = model.objective.backbone
    c: Any = backbone.config
    if start and isinstance(c, config.EncoderDecoder):
        c = replace(c, **{name: replace(getattr(c, name), start=start) for name in ("encoder", "decoder")})
    elif start and isinstance(c, config.Transformer):
        c = replace(c, start=start)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed_for("weights", seed))
        made = models.build(c)
    if not isinstance(model.recipe and model.recipe.data, config.ImageData):  # batch norm's statistics are learned
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
    its: Backbone = fresh(model, seed, start) if arm == "scratch" else model_for(task, model)[0]
    backbone = with_dropout(its, dropout)
    if task.reads == "images":
        if mix:
            raise UserError("--mix reads all layers of a model of text. Leave it out: of images the last one is read.")
        from sesame.tasks.images import ImageNetwork, gentle

        weight = next(backbone.parameters())
        return ImageNetwork(backbone, _head(task, backbone, seed, dropout).to(weight), gentle(model))
    if isinstance(backbone, EncoderDecoder):
        return Writer(backbone)
    if arm == "embeddings":
        assert isinstance(backbone, Transformer), "of other models the embeddings alone are no arm"
        backbone = Embeddings(backbone)
    head = _head(task, backbone, seed, dropout)
    weight = next(backbone.parameters())
    shape: Any = its.config
    layers = 1 if arm == "embeddings" else 1 + shape.layers
    mixed = LayerMix(layers).to(weight.device, weight.dtype) if mix else None
    return Network(backbone, head.to(weight.device, weight.dtype), mixed)


def _head(task: Task[Any, Any], backbone: Backbone, seed: int, dropout: float) -> Head:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed_for("head", seed))
        return task.head(backbone.width, dropout)


def with_dropout(backbone: B, rate: float) -> B:
    """A copy of `backbone` that trains with this dropout.

    Attention weights keep what the backbone was trained with, which is none unless its recipe says otherwise: dropping
    them takes torch's slow way on a CPU.
    """
    copied = copy.deepcopy(backbone)
    for module in copied.modules():
        if isinstance(module, Embedding | Block):
            module.dropout = rate
        elif isinstance(module, Transformer):
            module.config = replace(module.config, dropout=rate)
    if isinstance(copied, EncoderDecoder):
        copied.config = replace(copied.config, encoder=copied.encoder.config, decoder=copied.decoder.config)
    return copied
