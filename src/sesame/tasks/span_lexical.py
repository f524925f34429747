"""Answers without a network: a constant rule, and logistic regression over the spans of the most similar sentences.

The second follows the baseline of Rajpurkar et al. (2016, section 5), without its parser: sentences are ranked by the
TF-IDF cosine to the question, and spans of the best ones by logistic regression on what can be seen of a span and its
surroundings. A word is a run of letters and digits, or one Chinese or Japanese character.
"""

import re
from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from math import log, sqrt

import numpy as np
from jaxtyping import Float, Int
from scipy.sparse import csr_matrix, hstack
from sklearn.linear_model import LogisticRegression

from sesame.data import sentences
from sesame.tasks.qa_metrics import Score
from sesame.tasks.span_decoding import best_threshold
from sesame.tasks.squad import Question

Scorer = Callable[[Question, str], Score]

_ALONE = "\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff"
_WORD = re.compile(rf"[{_ALONE}]|[^\W{_ALONE}]+")

CONSTANTS = (0, 1, 2, 3, 5, 8, 13, 21, 34)
"""The rules that are tried: the first so many words of the text; none is ""."""
SENTENCES = 3
"""Sentences of a text whose spans are considered."""
LONGEST = 20
"""Words a span may have, or fewer where nine in ten training answers are shorter."""
NEGATIVES = 50
"""Wrong spans a question is learned from, drawn evenly."""
KNOWN_WORDS = 300
"""The most frequent words, which a span may begin or end with, or stand beside."""
QUESTION_WORDS = 15
"""Words that are most typical of questions; the first in a question and the word after it are the question's type."""
COMMON_TYPE = 5
"""Training questions that a type of two words must have, to be told from its first word alone."""
NEAR = 4
"""Words beside a span among which words of the question are looked for."""


# ---------------------------------------------------------------------------------------------- a constant
def first_words(text: str, count: int) -> str:
    """The first `count` words of `text`, from the first letter to the last."""
    found = list(_WORD.finditer(text))[:count]
    return text[found[0].start() : found[-1].end()] if found else ""


def best_constant(train: Sequence[Question], score: Scorer) -> int:
    """Which of CONSTANTS has the greatest mean F1 on the training questions."""

    def mean_f1(count: int) -> float:
        return sum(score(question, first_words(question.context, count))[1] for question in train) / len(train)

    return max(CONSTANTS, key=mean_f1)


# ------------------------------------------------------------------------------------------ what is read
def words(text: str) -> list[str]:
    return [match.group().lower() for match in _WORD.finditer(text)]


@dataclass(frozen=True)
class Text:
    """A context, cut into words."""

    text: str

    @cached_property
    def edges(self) -> Int[np.ndarray, "word 2"]:
        """From which character to which each word goes."""
        return np.array([match.span() for match in _WORD.finditer(self.text)], np.int64).reshape(-1, 2)

    @cached_property
    def words(self) -> list[str]:
        return words(self.text)

    @cached_property
    def sentences(self) -> list[tuple[int, int]]:
        """From which word to which each sentence goes; none is empty."""
        starts = sentences.starts(self.text)
        number = [bisect_right(starts, begin) for begin in self.edges[:, 0].tolist()]
        changes = [i for i in range(1, len(number)) if number[i] != number[i - 1]]
        return list(pairwise([0, *changes, len(number)])) if number else []

    @cached_property
    def shape(self) -> Int[np.ndarray, " word"]:
        return np.array([_shape(self.text[begin:end]) for begin, end in self.edges.tolist()], np.int64)

    @cached_property
    def gaps(self) -> Int[np.ndarray, " gap"]:
        """What stands before each word and after the last: the place in _GAPS of the gap's first mark."""
        inner = [
            self.text[a:b] for a, b in zip([0, *self.edges[:, 1]], [*self.edges[:, 0], len(self.text)], strict=True)
        ]
        return np.array([_GAPS.find((gap.strip() or " ")[0]) + 1 for gap in inner], np.int64)

    def span_of(self, start: int, answer: str) -> tuple[int, int]:
        """The first and the last word that share a character with the answer at `start`; (0, -1) for none."""
        shared = np.flatnonzero((self.edges[:, 1] > start) & (self.edges[:, 0] < start + len(answer)))
        return (int(shared[0]), int(shared[-1])) if len(shared) else (0, -1)


_GAPS = " .,;:()\"'“”‘’-–，。、；：（）《》「」"
_SHAPES = 5


def _shape(word: str) -> int:
    if any(map(str.isdigit, word)):
        return 3 if len(word) == 4 and word.isdigit() else 4
    return 2 if word.isupper() else int(word[0].isupper())


# ---------------------------------------------------------------------------------------- what is learned
class SpanFeatures:
    """Categories and numbers of every candidate span, with word counts from the training texts."""

    def __init__(self, train: Sequence[Question]):
        self.texts: dict[str, Text] = {}
        texts = [self.text(context) for context in dict.fromkeys(question.context for question in train)]
        told = [set(text.words[a:b]) for text in texts for a, b in text.sentences]
        asked = [words(question.question) for question in train]
        in_texts = Counter(word for sentence in told for word in sentence)
        in_questions = Counter(word for question in asked for word in set(question))
        self.idf = {word: log((1 + len(told)) / (1 + count)) + 1 for word, count in in_texts.items()}
        self.unseen = log(1 + len(told)) + 1
        self.known = {word: 2 + i for i, word in enumerate(_most(in_texts, KNOWN_WORDS))}

        def typical(word: str) -> float:
            share = in_questions[word] / len(train)
            return share * log(share * (1 + len(told)) / (1 + in_texts[word]))

        self.question_words = set(_most({word: typical(word) for word in in_questions}, QUESTION_WORDS))
        pairs = Counter(self._pair(question) for question in asked)
        common = [pair for pair, count in sorted(pairs.items()) if count >= COMMON_TYPE]
        self.types = {
            key: 1 + i for i, key in enumerate(dict.fromkeys([*common, *((w, "") for w, _ in sorted(pairs))]))
        }
        lengths = [np.diff(self.text(q.context).span_of(q.starts[0], q.answers[0]))[0] + 1 for q in train if q.answers]
        self.longest = int(min(LONGEST, max(1, np.quantile(lengths, 0.9))))
        shape, kind, length = _SHAPES**2, 1 + len(self.types), self.longest
        gap, word = len(_GAPS) + 1, 2 + KNOWN_WORDS
        self.sizes = (SENTENCES, 10, length, shape, kind * length, kind * shape, gap, gap, word, word, word, word)
        """How many values each category has."""

    def text(self, context: str) -> Text:
        """`context` cut into words, once for all its questions."""
        return self.texts.setdefault(context, Text(context))

    def _pair(self, question: Sequence[str]) -> tuple[str, str]:
        for word, after in pairwise([*question, ""]):
            if word in self.question_words:
                return word, after
        return "", ""

    def weight(self, word: str) -> float:
        return self.idf.get(word, self.unseen)

    def ranked(self, question: set[str], text: Text) -> list[tuple[int, int, float]]:
        """(from, to, cosine) of the sentences that resemble the question most, the best first."""
        asked = sqrt(sum(self.weight(word) ** 2 for word in question)) or 1.0
        found = []
        for a, b in text.sentences:
            told = set(text.words[a:b])
            shared = sum(self.weight(word) ** 2 for word in told & question)
            found.append((a, b, shared / asked / sqrt(sum(self.weight(word) ** 2 for word in told))))
        return sorted(found, key=lambda sentence: -sentence[2])[:SENTENCES]

    def __call__(
        self, question: str, text: Text
    ) -> tuple[Int[np.ndarray, "span 2"], Int[np.ndarray, "span category"], Float[np.ndarray, "span number"]]:
        """The candidate spans (first and last word), their categories, counted over all, and numbers."""
        asked = words(question)
        pair = self._pair(asked)
        kind = self.types.get(pair, self.types.get((pair[0], ""), 0))
        heard = np.array([self.weight(word) * (word in asked) for word in text.words])
        heard = np.append(0.0, np.cumsum(heard)) / (sum(map(self.weight, set(asked))) or 1.0)
        known = np.array([0, *(self.known.get(word, 1) for word in text.words), 0])  # 0 beyond the text, 1 a rare word
        spans, categories, numbers = [], [], []
        for rank, (a, b, cosine) in enumerate(self.ranked(set(asked), text)):
            first, length = np.divmod(np.arange((b - a) * self.longest), self.longest)
            inside = a + first + length < b
            first, length = a + first[inside], length[inside]
            last, same = first + length, np.ones(len(first), np.int64)
            shape = text.shape[first] * _SHAPES + text.shape[last]
            spans.append(np.stack([first, last], 1))
            place = (rank * same, first * 10 // len(text.words), length, shape)
            told = (kind * self.longest + length, kind * _SHAPES**2 + shape)
            beside = (text.gaps[first], text.gaps[last + 1], known[first], known[last + 2])
            categories.append(np.stack([*place, *told, *beside, known[first + 1], known[last + 1]], 1))
            before, after = heard[np.maximum(first - NEAR, a)], heard[np.minimum(last + 1 + NEAR, b)]
            near = (heard[last + 1] - heard[first], heard[first] - before, after - heard[last + 1])
            next_to = (heard[first] - heard[np.maximum(first - 1, a)], heard[np.minimum(last + 2, b)] - heard[last + 1])
            numbers.append(np.stack([cosine * same, (heard[b] - heard[a]) * same, *near, *next_to], 1))
        if not spans:
            return np.zeros((0, 2), np.int64), np.zeros((0, len(self.sizes)), np.int64), np.zeros((0, 7))
        begin = np.cumsum((0, *self.sizes[:-1]))
        return np.concatenate(spans), np.concatenate(categories) + begin, np.concatenate(numbers)


def _most(count: dict[str, float] | Counter[str], size: int) -> list[str]:
    return sorted(count, key=lambda word: (-count[word], word))[:size]


def answers(train: Sequence[Question], test: Sequence[Question], score: Scorer) -> list[str]:
    """The likeliest span for every test question.

    Where training questions have no answer, "" is said below the log odds that make the F1 on the training questions
    greatest. A text without a word is answered by "".
    """
    features = SpanFeatures(train)
    weight = _fit(features, train)
    found = _best_spans(features, weight, test)
    if not any(question.impossible for question in train):
        return [text for text, _ in found]
    known = _best_spans(features, weight, train)
    threshold = best_threshold(
        np.array([-odds for _, odds in known]),
        np.array([score(question, text)[1] for question, (text, _) in zip(train, known, strict=True)]),
        np.array([score(question, "")[1] for question in train]),
    )
    return ["" if -odds > threshold else text for text, odds in found]


def _fit(features: SpanFeatures, train: Iterable[Question]) -> Float[np.ndarray, " feature"]:
    """Weights of all categories, then of the numbers; all 0 where no answer is among the spans, or nothing else."""
    chance = np.random.default_rng(0)
    categories, numbers, right = [], [], []
    for question in train:
        text = features.text(question.context)
        spans, category, number = features(question.question, text)
        golds = {text.span_of(start, a) for start, a in zip(question.starts, question.answers, strict=True)}
        hit = np.array([tuple(span) in golds for span in spans.tolist()], bool)
        wrong = np.flatnonzero(~hit)
        used = np.append(np.flatnonzero(hit), chance.permutation(wrong)[:NEGATIVES])
        categories.append(category[used])
        numbers.append(number[used])
        right.append(hit[used])
    category, label = np.concatenate(categories), np.concatenate(right)
    if len(np.unique(label)) < 2:
        return np.zeros(sum(features.sizes) + numbers[0].shape[1])
    rows = np.repeat(np.arange(len(category)), category.shape[1])
    table = csr_matrix((np.ones(category.size), (rows, category.ravel())), (len(category), sum(features.sizes)))
    model = LogisticRegression(C=1.0, max_iter=200).fit(hstack([table, np.concatenate(numbers)]).tocsr(), label)
    return np.asarray(model.coef_[0], np.float64)


def _best_spans(
    features: SpanFeatures, weight: Float[np.ndarray, " feature"], questions: Iterable[Question]
) -> list[tuple[str, float]]:
    """The likeliest span of each question's text and its score, which is its log odds but for a constant."""
    found = []
    for question in questions:
        text = features.text(question.context)
        spans, category, number = features(question.question, text)
        if not len(spans):
            found.append(("", float("-inf")))
            continue
        odds = weight[category].sum(1) + number @ weight[sum(features.sizes) :]
        best = int(odds.argmax())
        first, last = spans[best]
        found.append((question.context[text.edges[first, 0] : text.edges[last, 1]], float(odds[best])))
    return found
