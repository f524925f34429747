"""The one idea as a contract: divide x into x′ and x″, and say what "close" means."""

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from torch import Tensor, nn

from sesame.data.batch import At, Drawable, Movable, Stream
from sesame.models.base import Backbone


@dataclass(frozen=True)
class Split(Movable):
    """One batch, divided. Made on the host; `to(device)` moves it."""

    seen: Any
    """x′: what the backbone is given (Rows, a pair of Rows, a pair of Pixels)."""
    target: dict[str, Tensor]
    """x″, and where in what is read it belongs."""
    count: dict[str, int]
    """How many things each term of the loss is summed over, known before the forward pass."""
    where: At | None = None
    """The positions that are read; None for all."""
    size: int = 0
    """Useful positions (images) of the batch."""


@dataclass(frozen=True)
class Term:
    """One named part of a loss: a sum over `count` things. The engine divides by the count of the whole step."""

    sum: Tensor
    count: int
    weight: float = 1.0
    hits: Tensor | None = None
    """How many of the things were predicted right, where that means something."""


Loss = dict[str, Term]


@dataclass(frozen=True)
class Teacher:
    """A trained model whose hidden states become targets."""

    backbone: Backbone
    data: Any
    """How it reads: the data of its recipe; None for a published model."""


class Pretext(nn.Module):
    """A way to divide, and a way to say close. Owns its heads (MLM head, projector, slow copy)."""

    whole_batch: ClassVar[bool] = False
    """The loss joins examples of the whole step (NT-Xent): accumulation is refused, and in training the task itself
    joins what the processes have (models/collective.py)."""
    recalls: ClassVar[bool] = False
    """Targets are what `prepare` found (clusters): it is given to `recall` whenever a run is trained or opened."""
    teacher: str = ""
    """A run whose model `prepare` asks."""
    summed: ClassVar[bool] = False
    """A step follows the sum of its things' gradients, not their mean: each takes a step of its own size (word2vec)."""

    def stream(self, data: Any, seed: int, rank: int = 0, world: int = 1) -> Stream:
        """The data room's stream that cuts examples the way this task needs them."""
        raise NotImplementedError("abstract")

    def split(self, batch: Any) -> Split:
        """Choose x′ and x″. Pure and keyed: the same batch always splits the same way. Runs in the loader's thread."""
        raise NotImplementedError("abstract")

    def picture(self, stream: Stream) -> Any:
        """Examples, and what is made of them, as an image of Pillow; None where there is nothing to see."""
        return stream.picture() if isinstance(stream, Drawable) else None

    def loss(self, backbone: Backbone, split: Split) -> Loss:
        """How far the model's output for x′ is from x″."""
        raise NotImplementedError("abstract")

    def prepare(self, data: Any) -> dict[str, np.ndarray]:
        """What must be computed from the data beforehand (word counts, cluster labels); kept by content hash.

        Of a task with a `teacher` it is called with a second argument, the Teacher.
        """
        return {}

    def recall(self, artifact: dict[str, np.ndarray]) -> None:
        """Of a task that `recalls`: take what `prepare` found and no weight holds."""

    def start(self, backbone: Backbone, artifact: dict[str, np.ndarray]) -> None:
        """Put what `prepare` found into fresh weights. Called once, before step 0."""

    def after_step(self, backbone: Backbone, step: int, steps: int) -> None:
        """For slow copies: called after every optimiser step."""


class Objective(nn.Module):
    """Backbone and pretext task: the one module that the engine calls, shards and saves."""

    def __init__(self, backbone: Backbone, pretext: Pretext):
        super().__init__()
        self.backbone = backbone
        self.pretext = pretext

    def forward(self, split: Split) -> Loss:
        return self.pretext.loss(self.backbone, split)
