"""Whether a text model is as often right as it is sure, about held-out tokens.

The examples and their masks are those of pretraining's own evaluation: 64 rows in the live form, 512 in the full one.
A prediction is the most probable token, its confidence that token's probability. `ece` is the expected calibration
error with 15 bins of equal width (Guo et al. 2017, 2): the mean over predictions of |accuracy − confidence| of their
bin. `brier` is the squared distance of all probabilities from the truth (Brier 1950), from 0 to 2. `reliability` is
the accuracy of each bin, and `reliability_confidence` its mean confidence.
"""

from collections.abc import Iterator

import numpy as np
from jaxtyping import Bool, Float

from sesame.engine.build import Model
from sesame.probes.base import Answer, Ask, Value
from sesame.probes.prediction import held_out_answers
from sesame.probes.words import share

READS = ("text",)

BINS = 15


def measure(model: Model, ask: Ask) -> Iterator[Answer]:
    sure: list[np.ndarray] = []
    rights: list[np.ndarray] = []
    squares: list[np.ndarray] = []
    for target, logits in held_out_answers(model, ask):
        probability = logits.softmax(-1)
        highest, best = probability.max(-1)
        of_target = probability.gather(1, target[:, None])[:, 0]
        sure.append(highest.double().numpy(force=True))
        rights.append((best == target).numpy(force=True))
        squares.append(((probability**2).sum(-1) - 2 * of_target + 1).double().numpy(force=True))
    confidence, right, square = map(np.concatenate, (sure, rights, squares))
    yield Value("ece", expected_error(confidence, right), len(right))
    yield Value("brier", float(square.mean()), len(right))
    yield Value("confidence", float(confidence.mean()), len(right))
    yield share("accuracy", right)
    number = bins(confidence)
    for each in np.unique(number).tolist():
        name, here = f"{each / BINS:.2f} to {(each + 1) / BINS:.2f}", number == each
        yield share("reliability", right[here], name)
        yield Value("reliability_confidence", float(confidence[here].mean()), int(here.sum()), name)


def bins(confidence: Float[np.ndarray, " prediction"]) -> np.ndarray:
    """The bin of each confidence; 0 begins the first, 1 ends the last."""
    return np.minimum((confidence * BINS).astype(np.int64), BINS - 1)


def expected_error(confidence: Float[np.ndarray, " prediction"], right: Bool[np.ndarray, " prediction"]) -> float:
    """Over the bins, the sum of |predictions that are right − their confidence|, for each prediction."""
    number = bins(confidence)
    gap = np.bincount(number, right, BINS) - np.bincount(number, confidence, BINS)
    return float(np.abs(gap).sum() / len(right))
