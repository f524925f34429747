"""What losses are compared with: the level that needs no learning, and the lowest there is."""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch

from sesame import config
from sesame.data.batch import Cursor
from sesame.data.text import TextSet
from sesame.health.patient import NotMeasured, Patient
from sesame.pretext.best_rq import BestRq
from sesame.pretext.hubert import Hubert
from sesame.probes import Ask
from sesame.probes.held_out import held_out
from sesame.report.reading import guessing

FRAMES = 8192
"""Held-out frames that the mean frame's error is measured on, as the probe frames in its light form."""
CODES = 65_536
"""Training frames whose codes are counted."""


@dataclass(frozen=True)
class Level:
    """What one term of the loss means."""

    term: str
    plateau: float
    """The loss of whoever looks at no context: by the frequency of words or codes, or by chance where that is all."""
    what: str
    """How that is guessed, in words."""
    lowest: float = 0.0
    training: bool = False
    """The loss depends on how many examples are compared, so that of training steps is meant, not the held-out one."""
    moving: bool = False
    """What is predicted changes with the network: the loss may rise while all is well, and is low after collapse."""
    loss: float | None = None
    """The loss itself, where a probe measured it beside the level."""

    @property
    def way(self) -> float:
        """From the plateau down to the lowest; nothing where all that is to be predicted is alike."""
        return self.plateau - self.lowest

    def progress(self, loss: float) -> float:
        """How far a loss is from the plateau down to the lowest: 0 to 1, and below 0 above the plateau."""
        return (self.plateau - loss) / self.way


def levels(patient: Patient) -> Iterator[Level]:
    """Of every term that has one. Raises NotMeasured where it has to be measured, and cannot be."""
    task, data = patient.recipe.pretext, patient.recipe.data
    if isinstance(task, config.WordWindow):
        # Of 1 + k words one is true, and that alone is known: −log 1/(1 + k) − k log k/(1 + k).
        k = task.negative
        name = "skip_gram" if isinstance(task, config.SkipGram) else "cbow"
        yield Level(name, math.log1p(k) + k * math.log1p(1 / k), "knowing only how many words are drawn by chance")
    elif isinstance(data, config.TextData):
        terms = [term for term in patient.told.terms if term not in ("next_sentence", "sentence_order")]
        if terms:
            loss = _unigram(patient)
            yield from (Level(term, loss, "by word frequency alone") for term in terms)
        for term in ("next_sentence", "sentence_order"):
            if term in patient.told.terms:
                yield Level(term, math.log(2), "by a coin")
    elif isinstance(data, config.ImageData):
        yield _of_images(task, data.rows)
    elif isinstance(task, config.Cpc):
        yield Level("cpc", math.log1p(task.negatives), "any of the frames alike")
    elif isinstance(task, config.Apc):
        found = patient.probe("frames")
        by = {"always the mean frame": "error_mean", "repeating the last frame": "error_copy"}
        plateau, what = min((found.value(metric, None), what) for what, metric in by.items())
        yield Level("apc", plateau, what, loss=found.value("error", f"{task.ahead} ahead"))
    elif isinstance(task, config.Mockingjay):
        term = "tera" if isinstance(task, config.Tera) else "mockingjay"
        yield Level(term, _mean_frame(patient), "always the mean frame")
    elif isinstance(task, config.BestRq | config.Hubert):
        term = "best_rq" if isinstance(task, config.BestRq) else "hubert"
        share = code_counts(patient) / code_counts(patient).sum()
        yield Level(term, entropy(share), "by the frequency of codes alone")


def _of_images(task: config.Pretext, rows: int) -> Level:
    if isinstance(task, config.SimClr):
        return Level("nt_xent", math.log(2 * rows - 1), "any of the views alike", training=True)
    if isinstance(task, config.MocoV3):
        plateau = 4 * task.temperature * math.log(rows)
        return Level("moco", plateau, "any of the images alike", training=True, moving=True)
    if isinstance(task, config.SimSiam):
        return Level("simsiam", 0.0, "a direction that has nothing to do with the view", -1.0, moving=True)
    return Level("byol", 4.0, "directions that have nothing to do with the views", moving=True)


def _unigram(patient: Patient) -> float:
    if not isinstance(patient.data, TextSet):
        raise NotMeasured(patient.no_data)
    store = patient.data.store
    if not store.held_out.any():
        raise NotMeasured("nothing is held out of its text")
    return guessing(store, store.trained_counts(patient.data.vocabulary.size))["loss"]


def _mean_frame(patient: Patient) -> float:
    """The mean absolute difference of held-out frames to their mean."""
    if patient.model is None:
        raise NotMeasured(patient.no_model)
    if patient.data is None:
        raise NotMeasured(patient.no_data)
    parts = held_out(patient.model, Ask(data=patient.data), FRAMES)
    frames = torch.cat([part.inputs.x.flatten(0, 1)[part.at] for part in parts]).double()
    return float((frames - frames.mean(0)).abs().mean())


# --------------------------------------------------------------------------------------------------- codes
def code_counts(patient: Patient) -> np.ndarray:
    """How often each code is to be predicted, among the first frames that training hides."""
    return patient.once("codes", lambda: _code_counts(patient))


def _code_counts(patient: Patient) -> np.ndarray:
    if patient.model is None:
        raise NotMeasured(patient.no_model)
    if patient.data is None:
        raise NotMeasured(patient.no_data)
    task = patient.model.objective.pretext
    assert isinstance(task, BestRq | Hubert)
    size = task.config.codes if isinstance(task, BestRq) else task.config.clusters
    counts = np.zeros(size, np.int64)
    recipe = patient.recipe
    for step in task.stream(patient.data, recipe.seed).train(Cursor(), 0, recipe.steps, 1):
        for batch in step.parts:
            target = task.split(batch).target
            codes = task.codes(target["frames"].to(task.projection)) if isinstance(task, BestRq) else target["label"]
            counts += np.bincount(codes.cpu().numpy(), minlength=size)
        if counts.sum() >= CODES or step.cursor.epoch:
            break
    if not counts.any():
        raise NotMeasured("no frame was hidden, so no code is to be predicted")
    return counts


def entropy(share: np.ndarray) -> float:
    """−Σ p log p, in nats."""
    some = share[share > 0]
    return float(-(some * np.log(some)).sum())
