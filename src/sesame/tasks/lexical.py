"""What can be said of texts without a backbone: the most frequent answer, and linear models on TF-IDF features.

The linear model is the bar that a pretrained network has to clear, so it is given a fair chance: word pairs or
characters as the writing needs it, how the two texts of a pair compare, and a strength of regularisation chosen by
cross-validation on the training examples, by the metric that is reported.
"""

import warnings
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from scipy import sparse
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.model_selection import KFold, StratifiedKFold, cross_val_predict

from sesame.tasks.tables import TextExample

FEATURES = 100_000
"""The most frequent n-grams that are kept."""
TUNED_ON = 10_000
"""Training examples, drawn at random, that the regularisation is chosen on; the model itself is fitted to all."""
FOLDS = 3
TOLERANCE = 1e-3
"""Largest gradient at which the logistic regression counts as fitted; scikit-learn's own 1e-4 takes twice the time
for predictions that are hardly ever different."""
INVERSE_STRENGTHS = (0.1, 1.0, 10.0, 100.0)
"""Of the logistic regression (its C)."""
STRENGTHS = (0.1, 1.0, 10.0)
"""Of the ridge regression (its alpha)."""

Score = Callable[[Any, Any], float]
"""(labels, predictions) -> a metric; greater is better."""


def most_frequent(labels: Sequence[str]) -> tuple[str, float]:
    """The most frequent label (the first in the alphabet of several) and its share."""
    counts = Counter(labels)
    label = min(counts, key=lambda name: (-counts[name], name))
    return label, counts[label] / len(labels)


def classify(
    train: Sequence[TextExample], labels: Sequence[str], test: Sequence[TextExample], score: Score
) -> list[tuple[str, float]]:
    """The label and its probability for every example of `test`: multinomial logistic regression on TF-IDF features.

    `labels` are those of `train`; where all are alike, that is the answer.
    """
    if len(set(labels)) == 1:
        return [most_frequent(labels)] * len(test)
    features = Features(train)
    x, y = features(train), np.array(labels)

    def model(c: float) -> LogisticRegression:
        return LogisticRegression(C=c, tol=TOLERANCE, max_iter=1000)

    chosen = _best(model, INVERSE_STRENGTHS, x, y, _stratified, score)
    fitted = model(chosen).fit(x, y)
    probability = fitted.predict_proba(features(test))
    best = probability.argmax(1)
    return [(str(fitted.classes_[k]), float(p[k])) for k, p in zip(best, probability, strict=True)]


def regress(
    train: Sequence[TextExample], values: Sequence[float], test: Sequence[TextExample], score: Score
) -> list[float]:
    """The value of every example of `test`: ridge regression on the same features."""
    features = Features(train)
    x, y = features(train), np.array(values, np.float64)

    def model(alpha: float) -> Ridge:
        return Ridge(alpha)

    chosen = _best(model, STRENGTHS, x, y, _even, score)
    return [float(value) for value in model(chosen).fit(x, y).predict(features(test))]


class Features:
    """TF-IDF of a text, a row each; of a pair [a; b; |a - b|; a * b; cosine of a and b] of the two rows.

    The n-grams are words and pairs of words (a punctuation mark is a word), or runs of 1 to 3 characters where the
    writing does not separate words: see `unspaced`.
    """

    def __init__(self, train: Sequence[TextExample]):
        texts = [text for example in train for text in (example.text, example.pair) if text is not None]
        shape: dict[str, Any] = (
            {"analyzer": "char", "ngram_range": (1, 3)}
            if unspaced(texts)
            else {"token_pattern": r"\w+|[^\w\s]", "ngram_range": (1, 2)}
        )
        self.vectorizer = TfidfVectorizer(sublinear_tf=True, max_features=FEATURES, dtype=np.float64, **shape)
        self.vectorizer.fit(texts)

    def __call__(self, examples: Sequence[TextExample]) -> sparse.csr_matrix:
        """[example, feature]. Either all examples are pairs or none is."""
        a = self.vectorizer.transform([example.text for example in examples])
        second = [example.pair for example in examples if example.pair is not None]
        if not second:
            return a
        b = self.vectorizer.transform(second)
        shared = a.multiply(b).tocsr()
        cosine = sparse.csr_matrix(shared.sum(1))  # the rows have length 1
        return sparse.hstack([a, b, abs(a - b), shared, cosine], format="csr")


def unspaced(texts: Sequence[str]) -> bool:
    """Whether the writing does not separate words: less than one in twenty characters is white space.

    In sentences of languages that do, it is one in eight (Turkish) to one in five; in Chinese and Thai less than one in
    thirty. Texts of a single word count as unspaced too, and characters say more of them.
    """
    spaces = sum(character.isspace() for text in texts for character in text)
    return 20 * spaces < sum(map(len, texts))


def _best(
    model: Callable[[float], Any],
    strengths: Sequence[float],
    x: sparse.csr_matrix,
    y: np.ndarray,
    plan: Callable[[np.ndarray], KFold | StratifiedKFold | None],
    score: Score,
) -> float:
    """The strength whose predictions of examples that were not fitted score best; 1 where there are too few to tell."""
    if len(y) > TUNED_ON:
        some = np.random.default_rng(0).choice(len(y), TUNED_ON, replace=False)
        x, y = x[some], y[some]
    folds = plan(y)  # of the drawn: a rare label may not be among them
    if folds is None:
        return 1.0
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The least populated class")  # rare labels are as they are
        predicted = {strength: cross_val_predict(model(strength), x, y, cv=folds) for strength in strengths}
    return max(strengths, key=lambda strength: score(y.tolist(), predicted[strength].tolist()))


def _even(y: np.ndarray) -> KFold | None:
    return KFold(min(FOLDS, len(y)), shuffle=True, random_state=0) if len(y) > 1 else None


def _stratified(y: np.ndarray) -> StratifiedKFold | None:
    """Folds that leave at least two labels to fit: the second most frequent is in two folds or more."""
    counts = sorted([0, *Counter(y.tolist()).values()])
    folds = min(FOLDS, counts[-2])
    return StratifiedKFold(folds, shuffle=True, random_state=0) if folds > 1 else None
