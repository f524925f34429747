"""What a task is learned from: a pretrained network, the same from scratch, or less than a network.

pretrained and scratch are trained with the head. Of the others the head alone is trained: `frozen` is the pretrained
network and `random` a fresh one, both read as a learned mix of their layers; `raw` is what a network reads, made by no
network; `embeddings` are a Transformer's without its blocks (and are trained, too).
"""

import copy
from collections.abc import Sequence
from typing import Any, Literal, TypeVar, get_args

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
from sesame.models.elmo import Elmo
from sesame.models.encoder_decoder import EncoderDecoder
from sesame.models.gru import Gru
from sesame.models.layer_mix import LayerMix
from sesame.models.transformer import Block, Embedding, Transformer, gather
from sesame.tasks.base import Head, Task
from sesame.tasks.network import Network
from sesame.tasks.reading import model_for
from sesame.tasks.writer import Writer

B = TypeVar("B", bound=Backbone)
Arm = Literal["raw", "random", "embeddings", "frozen", "scratch", "pretrained"]
Start = Literal["normal", "mimetic", "copying"]
"""Of `config.Transformer.start`."""
ARMS: tuple[Arm, ...] = get_args(Arm)
"""In the order in which they are trained and shown."""
HEAD_ALONE: tuple[Arm, ...] = ("raw", "random", "frozen")
"""Arms of which the head alone is trained."""


class Raw(Backbone):
    """What is read, as it is."""

    def __init__(self, width: int):
        super().__init__()
        self.config, self.width = None, width

    @property
    def depth(self) -> int:
        return 1

    def forward(self, inputs: Rows, at: At | None = None, layers: bool = False) -> States:
        last = inputs.x if at is None else inputs.x.flatten(0, 1)[at.places(inputs.x.shape[1])]
        return States(last, (last,) if layers else (), inputs.valid)


class Embeddings(Backbone):
    """A Transformer without its blocks: what a head can do with the pretrained vectors of single tokens."""

    def __init__(self, whole: Transformer):
        super().__init__()
        self.width, self.embed, self.norm = whole.width, whole.embed, whole.norm

    @property
    def depth(self) -> int:
        return 1

    def forward(self, inputs: Rows, at: At | None = None, layers: bool = False) -> States:
        h: Float[Tensor, "*where width"] = self.embed(inputs)[0]
        if at is not None:
            h = gather(h, at).flatten(0, 1)[at.flat]
        if self.norm is not None:
            h = self.norm(h)
        return States(h, (h,) if layers else (), inputs.valid)


def arms_of(task: Task[Any, Any], arms: Sequence[Arm] = ARMS, backbone: Backbone | None = None) -> tuple[Arm, ...]:
    """Those of `arms` that `task` can be learned from, in order. Embeddings alone cannot write; and they are an arm of
    a Transformer, where the backbone is known: word vectors are nothing else. A network that is only ever read, such as
    a published one, is the arm `frozen` alone."""
    without = set[str]()
    if task.writes or not (backbone is None or isinstance(backbone, Transformer)):
        without.add("embeddings")
    if backbone is not None and not backbone.trainable:
        without |= {"random", "scratch", "pretrained"}
    return tuple(arm for arm in ARMS if arm in arms and arm in task.arms and arm not in without)


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
    if not isinstance(model.data, config.ImageData):  # batch norm's statistics are learned
        made.load_state_dict(dict(backbone.named_buffers()), strict=False)
    return made.to(next(backbone.parameters()).device)


def starts_of(backbone: Backbone) -> tuple[Start | None, ...]:
    """The ways to draw the weights of such a network; None is its own."""
    if isinstance(backbone, Transformer):
        return ("normal", "mimetic")
    if isinstance(backbone, EncoderDecoder) and backbone.config.encoder.start == "copying":
        return ("normal", "copying")
    return (None,)


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

    `start` is how scratch draws its weights; None for the model's own way. With `mix` the head reads all layers, as it
    always does of a network that is not trained.
    """
    its, vocabulary = model_for(task, model)
    if arm in ("scratch", "random"):
        its = fresh(model, seed, start)
    backbone: Backbone = Raw(task.raw(vocabulary)[1]) if arm == "raw" else with_dropout(its, dropout)
    if task.reads == "images":
        if mix:
            raise UserError("--mix reads all layers of a model. Leave it out: of images the last one is read.")
        from sesame.tasks.images import ImageNetwork, gentle

        head = _head(task, backbone, seed, dropout).to(next(backbone.parameters()))
        return ImageNetwork(backbone, head, gentle(model))
    if isinstance(backbone, EncoderDecoder):
        return Writer(backbone)
    if arm == "embeddings":
        assert isinstance(backbone, Transformer), "of other models the embeddings alone are no arm"
        backbone = Embeddings(backbone)
    head = _head(task, backbone, seed, dropout)
    weight = next(model.objective.backbone.parameters(), torch.zeros(()))
    mix = (mix or arm in HEAD_ALONE) and arm != "raw"
    mixed = LayerMix(backbone.depth).to(weight.device, weight.dtype) if mix else None
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
        elif isinstance(module, Transformer | Gru | Elmo):
            module.config = replace(module.config, dropout=rate)
    if isinstance(copied, EncoderDecoder):
        copied.config = replace(copied.config, encoder=copied.encoder.config, decoder=copied.decoder.config)
    return copied
