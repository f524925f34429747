"""How well predictions of a class or a number agree with the labels. Each follows scikit-learn or SciPy.

All take the labels first, then the predictions, example by example.
"""

from collections.abc import Sequence

import numpy as np
from scipy import stats
from sklearn.metrics import accuracy_score, f1_score, matthews_corrcoef


def accuracy(gold: Sequence[str], predicted: Sequence[str]) -> float:
    """The share of examples predicted right."""
    return float(accuracy_score(gold, predicted))


def macro_f1(gold: Sequence[str], predicted: Sequence[str]) -> float:
    """The mean of each label's F1, over the labels that occur in `gold` or in `predicted`.

    A label of the training examples that occurs in neither does not count. A label that is never predicted right has
    F1 0.
    """
    return float(f1_score(gold, predicted, average="macro", zero_division=0.0))


def matthews(gold: Sequence[str], predicted: Sequence[str]) -> float:
    """Matthews's correlation coefficient, for any number of labels (Gorodkin 2004); -1..1.

    0.0 where all predictions, or all labels, are the same: that agrees with the labels no more than chance does.
    """
    if len(set(gold)) == 1 or len(set(predicted)) == 1:
        return 0.0
    return float(matthews_corrcoef(gold, predicted))


def pearson(gold: Sequence[float], predicted: Sequence[float]) -> float:
    """Pearson's correlation; -1..1.

    0.0 where either side is constant or there are fewer than two examples. The coefficient is 0/0 there; a prediction
    that is the same for every example orders nothing, which is what 0 says of other predictions.
    """
    if _constant(gold) or _constant(predicted):
        return 0.0
    return float(stats.pearsonr(gold, predicted).statistic)


def spearman(gold: Sequence[float], predicted: Sequence[float]) -> float:
    """Spearman's rank correlation, ties sharing their mean rank; -1..1. 0.0 where Pearson's is, for the same reason."""
    if _constant(gold) or _constant(predicted):
        return 0.0
    return float(stats.spearmanr(gold, predicted).statistic)


def _constant(values: Sequence[float]) -> bool:
    return len(values) < 2 or bool(np.ptp(values) == 0)
