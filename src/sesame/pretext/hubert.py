"""HuBERT (Hsu et al. 2021) as MelHuBERT has it (Lin et al. 2022): predict the clusters of hidden frames.

x′ is an utterance with a learned vector in place of spans of frames, x″ the clusters of these, close is plain
cross-entropy. Clusters are found by k-means before training: in the first iteration among the frames themselves, in
the second among the hidden states of a run of the first (`labels`, `layer`).
"""

import logging
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any, ClassVar

import numpy as np
import torch
from jaxtyping import Float, Float32, Int
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]
from torch import nn

from sesame import config
from sesame.data import chance
from sesame.data.batch import At, SpeechBatch
from sesame.data.sound import resampled_size
from sesame.data.speech import SpeechSet, SpeechStream, cut_at, rows_of
from sesame.data.utterance import Utterance
from sesame.errors import UserError
from sesame.models.base import Backbone
from sesame.pretext.base import Loss, Pretext, Split, Teacher
from sesame.pretext.codes import code_counts, code_terms
from sesame.pretext.frame_spans import check, hidden_frames

log = logging.getLogger(__name__)

Frames = Callable[[Utterance], Float32[np.ndarray, "frame feature"]]


class Hubert(Pretext):
    """A linear layer from the states of hidden frames to the clusters. The hidden frames' vector stands in the frames'
    space: the first layer is linear, so it stands for a vector of any embedding."""

    recalls: ClassVar[bool] = True

    def __init__(self, c: config.Hubert, backbone: Any, vocabulary: None = None):
        super().__init__()
        check("HuBERT", backbone, causal=False)
        self.config, self.teacher = c, c.labels
        self.head = nn.Linear(backbone.width, c.clusters)
        self.hidden = nn.Parameter(torch.empty(backbone.config.features).uniform_())
        self.labels: dict[int, Int[np.ndarray, " frame"]] = {}

    def stream(self, data: SpeechSet, seed: int, rank: int = 0, world: int = 1) -> SpeechStream:
        return SpeechStream(data, seed, rank, world)

    # ---------------------------------------------------------------------------------------- beforehand
    def prepare(self, data: SpeechSet, teacher: Teacher | None = None) -> dict[str, np.ndarray]:
        """The cluster of every frame of every utterance; none is found from what the source calls dev or test."""
        from sklearn.cluster import MiniBatchKMeans  # half of the time that every command would take to start

        frames = data.features if teacher is None else listening(data, teacher, self.config.layer)
        order = np.argsort(chance.bits("clusters", data.key), kind="stable")
        order = order[data.to_learn[order]]
        some = list(taken((frames(data.utterances[i]) for i in order), self.config.sample))
        found = np.concatenate(some)
        if len(found) < self.config.clusters:
            raise UserError(
                f"{data.config.source} has {len(found)} frames, too few for {self.config.clusters} clusters. Give more "
                "sound, or fewer --pretext.clusters."
            )
        log.info("%d clusters are found from %d frames", self.config.clusters, len(found))
        means = MiniBatchKMeans(
            self.config.clusters, batch_size=10_000, n_init=5, reassignment_ratio=0.0, random_state=0
        )
        with threadpool_limits(1):
            means.fit(found)
            labels = [means.predict(frames(utterance)).astype(np.uint16) for utterance in data.utterances]
        offsets = np.cumsum([0, *map(len, labels)])
        return {"labels": np.concatenate(labels), "offsets": offsets, "key": data.key}

    def recall(self, artifact: dict[str, np.ndarray]) -> None:
        edges = artifact["offsets"].tolist()
        self.labels = {
            key: artifact["labels"][a:b]
            for key, a, b in zip(artifact["key"].tolist(), edges[:-1], edges[1:], strict=True)
        }

    # ------------------------------------------------------------------------------------------ training
    def split(self, batch: SpeechBatch) -> Split:
        """Read the hidden frames alone."""
        hidden = hidden_frames(batch, self.config)
        label = np.zeros(hidden.shape, np.int64)
        for row, (key, size) in enumerate(zip(batch.key.tolist(), batch.frames_in.tolist(), strict=True)):
            if key not in self.labels:
                raise UserError("the clusters of an utterance are not known: were the data changed? Begin a new run.")
            whole = self.labels[key]
            if len(whole) < size:
                raise UserError(
                    f"an utterance has {len(whole)} clusters for at least {size} frames: they were found for other "
                    "frames. Begin a new run."
                )
            start = cut_at(len(whole), size, batch.seed, batch.epoch, key)
            label[row, :size] = whole[start : start + size]
        target = {"label": torch.from_numpy(label[hidden]), "hidden": torch.from_numpy(hidden)}
        counts = code_counts("hubert", int(hidden.sum()))
        return Split(rows_of(batch), target, counts, At.of(hidden), batch.size)

    def loss(self, backbone: Backbone, split: Split) -> Loss:
        """Cross-entropy of the clusters, summed over the hidden frames; beside it how the clusters are used."""
        x = torch.where(split.target["hidden"][:, :, None], self.hidden, split.seen.x)
        states = backbone(replace(split.seen, x=x), split.where).last
        return code_terms("hubert", self.head(states), split.target["label"])


def taken(parts: Iterator[np.ndarray], most: int) -> Iterator[np.ndarray]:
    """Parts until they have `most` rows."""
    count = 0
    for part in parts:
        yield part[: most - count]
        count += len(part)
        if count >= most:
            return


def listening(data: SpeechSet, teacher: Teacher, layer: int) -> Frames:
    """The teacher's states of one layer, for every frame of an utterance as `data` counts them."""
    backbone, theirs = teacher.backbone, teacher.data
    if not isinstance(theirs, config.SpeechData):
        raise UserError("--pretext.labels names a run on something else than speech. Choose a run on speech.")
    if not -backbone.depth <= layer < backbone.depth:
        raise UserError(
            f"--pretext.layer {layer}: the run of --pretext.labels has the layers 0 to {backbone.depth - 1}."
        )
    heard = SpeechSet(theirs)  # hears as they do what it is given; their own sounds are not opened
    for one in data.utterances:  # each, since two sampling rates can agree about one length and not about another
        there = heard.to_frames.frames_in(resampled_size(one.samples, one.rate, theirs.sample_rate))
        if there != one.frames:
            raise UserError(
                f"{one.where}: the run of --pretext.labels hears {there} frames where this one hears {one.frames}. "
                "Choose the same --data.features, --data.stack and --data.sample-rate as its."
            )
    weight = next(backbone.parameters())

    def states(utterance: Utterance) -> Float[np.ndarray, "frame width"]:
        frames, found = torch.from_numpy(heard.features(utterance)).to(weight), []
        with torch.inference_mode():
            for part in frames.split(theirs.longest):
                one = SpeechBatch(
                    frames=part[None].numpy(), frames_in=np.array([len(part)]), key=data.key[:1], seed=0, epoch=0
                )
                found.append(backbone(rows_of(one), layers=True).layers[layer][0].float().numpy())
        return np.concatenate(found)

    return states
