"""Taggers without a network, which every result stands beside."""

import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence

import numpy as np
from scipy.sparse import csr_matrix
from sklearn.feature_extraction import FeatureHasher
from sklearn.linear_model import SGDClassifier

from sesame.tasks.conll import Sentence

_FEATURES = 1 << 18
"""Columns that features are hashed into."""
_AFFIX = 4
"""Characters of the longest prefix and suffix."""
_INVERSE_PENALTY = 3.0
_PASSES = 15
_EDGE = ""
"""What stands before the first word of a sentence and after its last."""


def majority(train: Sequence[Sentence], test: Sequence[Sentence]) -> list[tuple[str, ...]]:
    """Each word its most frequent tag in training, a word never seen there the most frequent tag of all.

    This is the field's baseline (Jurafsky & Martin, Speech and Language Processing, 8.2: "most frequent class"): a tag
    for all words alike would be too easily beaten. Of equally frequent tags the first in the alphabet is taken.
    """
    of_word: defaultdict[str, Counter[str]] = defaultdict(Counter)
    of_all: Counter[str] = Counter()
    for sentence in train:
        for word, tag in zip(sentence.words, sentence.tags or (), strict=True):
            of_word[word][tag] += 1
            of_all[tag] += 1
    best = {word: _most_frequent(tags) for word, tags in of_word.items()}
    otherwise = _most_frequent(of_all)
    return [tuple(best.get(word, otherwise) for word in sentence.words) for sentence in test]


def _most_frequent(tags: Counter[str]) -> str:
    return min(tags, key=lambda tag: (-tags[tag], tag))


def lexical(train: Sequence[Sentence], test: Sequence[Sentence]) -> list[tuple[str, ...]]:
    """Logistic regression on the word, its prefixes, suffixes and shape, and its two neighbours.

    These are Ratnaparkhi's features (1996) without the tags before; one classifier a tag, against the rest.
    """
    tags = [tag for sentence in train for tag in sentence.tags or ()]
    if len(set(tags)) == 1:
        return majority(train, test)
    alpha = 1 / (_INVERSE_PENALTY * len(tags))  # scikit-learn's C, said for a mean instead of a sum
    model = SGDClassifier(loss="log_loss", alpha=alpha, max_iter=_PASSES, tol=None, random_state=0)
    model.fit(_features(train), tags)
    predicted = iter(model.predict(_features(test)).tolist())
    return [tuple(next(predicted) for _ in sentence.words) for sentence in test]


def _features(sentences: Sequence[Sentence]) -> csr_matrix:
    """A row a word. Text repeats its words, so each different one is spelled out once for each of its places."""
    number: dict[str, int] = {_EDGE: 0}
    here, before, after = [], [], []
    for sentence in sentences:
        ids = [number.setdefault(word, len(number)) for word in sentence.words]
        here += ids
        before += [0, *ids[:-1]]
        after += [*ids[1:], 0]
    hasher = FeatureHasher(_FEATURES, input_type="string", dtype=np.float32)
    own = hasher.transform(list(_spelling(word)) for word in number)
    left = hasher.transform([f"before={word}"] for word in number)
    right = hasher.transform([f"after={word}"] for word in number)
    return own[here] + left[before] + right[after]


def _spelling(word: str) -> Iterator[str]:
    yield f"word={word}"
    yield f"lower={word.lower()}"
    yield f"shape={_shape(word)}"
    for size in range(1, min(_AFFIX, len(word)) + 1):
        yield f"prefix={word[:size]}"
        yield f"suffix={word[-size:]}"


def _shape(word: str) -> str:
    """Kinds of characters, runs drawn together: "Kant's" is Xx'x, "1,000" is 0,0."""
    kinds = "".join("0" if c.isdigit() else "X" if c.isupper() else "x" if c.isalpha() else c for c in word)
    return re.sub(r"(.)\1+", r"\1", kinds)
