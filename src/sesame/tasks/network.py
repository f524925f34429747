"""A backbone with a task's head on it, and what it says about sequences of any number."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from sesame.errors import UserError
from sesame.models.base import Backbone
from sesame.models.layer_mix import LayerMix
from sesame.models.segments import pick
from sesame.tasks.base import Encodings, Head, Task
from sesame.tasks.sequences import Sequences, TaskBatch, batch_of

MOST = 0.75
"""Share of the positions a head reads above which the last layer computes them all: it need not gather any then."""
TOKENS = 4096
"""Tokens that are read at once without gradients."""


class Network(nn.Module):
    """What is fine-tuned. With a `mix` the head reads all layers."""

    def __init__(self, backbone: Backbone, head: Head, mix: LayerMix | None = None):
        super().__init__()
        self.backbone, self.head, self.mix = backbone, head, mix

    def forward(self, batch: TaskBatch) -> Float[Tensor, "*what out"]:
        """The head's scores. Where the head reads few states, the last layer computes no others."""
        if self.mix is None and len(batch.at.flat) <= MOST * batch.rows.example.numel():
            states = pick(self.backbone(batch.rows, batch.at).last, batch.order)
        else:
            places = batch.at.places(batch.rows.example.shape[1])[batch.order]
            if self.mix is None:
                whole = self.backbone(batch.rows).last
            elif self.head.pools:  # what is pooled need not be linear in the states: the mix is of what was pooled
                layers = self.backbone(batch.rows, layers=True).layers
                pooled = [self.head.pool(pick(h.flatten(0, 1), places), batch) for h in layers]
                return self.head.scores(self.mix(pooled))
            else:
                whole = self.mix(self.backbone(batch.rows, layers=True).layers)
            states = pick(whole.flatten(0, 1), places)
        return self.head(states, batch)

    def batch(self, sequences: Any, chosen: Int[np.ndarray, " chosen"], pad: int) -> Any:
        """The `chosen` of `Sequences` where and as the backbone reads them best: a `TaskBatch`.

        Networks of other things have batches of their own.
        """
        batch = batch_of(sequences, chosen, pad, on_end=self.device.type == "cpu")
        if batch.rows.x.is_floating_point():
            batch = replace(batch, rows=replace(batch.rows, x=batch.rows.x.to(next(self.parameters()).dtype)))
        return batch.to(self.device)

    def scores(self, sequences: Any, pad: int) -> np.ndarray:
        """What it says of all sequences, in their order, for `Task.decode`."""
        return scores_of(self, sequences, pad)

    @property
    def device(self) -> torch.device:
        return next(self.parameters()).device


def scores_of(network: Network, sequences: Sequences, pad: int) -> Float[np.ndarray, "*what out"]:
    """The scores of all sequences, in their order: what the sequences give one by one, without dropout.

    Sequences of about the same length are read together, so that next to nothing of a batch is empty.
    """
    network.eval()
    groups, scores = groups_of(sequences.lengths), []
    with torch.inference_mode():
        for chosen in groups:
            batch = network.batch(sequences, chosen, pad)
            scores.append(network(batch).float().cpu())
    return in_order(scores, groups, sequences).numpy()


def in_order(
    parts: Sequence[Float[Tensor, "_ *what"]], groups: Sequence[Int[np.ndarray, " _"]], sequences: Sequences
) -> Float[Tensor, "all *what"]:
    """What was found of each group, a row a sequence or a row a read position, in the order of the sequences."""
    together, place = torch.cat(tuple(parts)), np.concatenate(groups)
    if len(together) != len(place):  # also right where each sequence reads one position
        edges = sequences.read_offsets
        place = np.concatenate([np.arange(edges[i], edges[i + 1]) for i in place])
    ordered = torch.empty_like(together)
    ordered[torch.from_numpy(place)] = together
    return ordered


def groups_of(lengths: Int[np.ndarray, " sequence"]) -> list[Int[np.ndarray, " chosen"]]:
    """Every sequence in one group of about `TOKENS` tokens, with others of about the same length."""
    order = np.argsort(lengths, kind="stable")
    number = (np.cumsum(lengths[order]) - 1) // TOKENS
    return np.split(order, np.flatnonzero(np.diff(number)) + 1)


def readable(examples: Sequence[Any], read: Any) -> tuple[list[Any], Any]:
    """The examples that `read`, their `Encodings`, holds something of, and it with these as its owners.

    The others were at fault and skipped when they were encoded: they are neither predicted nor scored. Raises UserError
    where there is nothing to read of any.
    """
    owners, owner = np.unique(read.owner, return_inverse=True)
    if not len(owners):
        raise UserError(f"none of the {len(examples)} examples can be read. Choose a greater --length.")
    if len(owners) == len(examples):
        return list(examples), read
    return [examples[i] for i in owners], replace(read, owner=owner)


def predict(
    task: Task[Any, Any], network: Network, examples: Sequence[Any], sequences: Encodings, pad: int
) -> list[Any]:
    """One prediction an example."""
    return task.decode(examples, sequences, network.scores(sequences, pad))
