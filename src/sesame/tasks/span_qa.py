"""Extractive question answering: the answer is a span of a text (Devlin et al. 2019, sections 4.2 and 4.3).

`[CLS] question [SEP] window [SEP]`: a text that does not fit beside its question is read in windows that overlap. The
head scores every token of the window as a start and as an end; [CLS] stands for "the answer is not here".

A model that reads from left to right scores a token by the question and the text up to it; its [CLS] has seen nothing,
so that "the answer is not here" has one score for all questions, which the spans of each have to beat.
"""

import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import accumulate, pairwise
from pathlib import Path
from typing import ClassVar

import msgspec
import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from sesame.config import SpanQA as Config
from sesame.data.tokenizer import Vocabulary
from sesame.errors import UserError
from sesame.pretext.base import Term
from sesame.tasks import files, span_lexical
from sesame.tasks.base import Head, Notes, Task
from sesame.tasks.qa_metrics import Score, cmrc_score, squad_score
from sesame.tasks.sequences import Sequences, TaskBatch
from sesame.tasks.span_decoding import best_threshold, find_spans, max_context, null_score, probabilities
from sesame.tasks.squad import Question, read_squad

log = logging.getLogger(__name__)

NO_ANSWER = "no answer"
"""The one label: questions of the training data may have no answer (SQuAD 2.0), so that "" may be one."""


@dataclass(frozen=True, kw_only=True)
class Windows(Sequences):
    """Sequences that know which characters of their text each read position holds. The first is [CLS]: none."""

    begin: Int[np.ndarray, " read"]
    end: Int[np.ndarray, " read"]
    """The token stands in the characters begin to end of its example's context."""
    may_start: Bool[np.ndarray, " read"]
    """The token is no white space, and no other window shows it with more context."""


@dataclass(frozen=True)
class Answer:
    """What is said to a question."""

    text: str
    """A piece of the context, or "" for no answer."""
    span: str = ""
    """The best piece of the context, also where `text` is "" since no answer is likelier."""
    null_margin: float = 0.0
    """The score of "no answer" less that of `span`; 0 where "no answer" is never said."""
    choices: tuple[tuple[str, float], ...] = ()
    """The likeliest texts with their probabilities among each other; the n-best list."""


class SpanHead(Head):
    """The start vector S and the end vector E: two dot products with the state of a token."""

    def __init__(self, width: int):
        super().__init__()
        self.out = nn.Linear(width, 2)
        nn.init.normal_(self.out.weight, std=0.02)
        nn.init.zeros_(self.out.bias)

    def forward(self, h: Float[Tensor, "read width"], batch: TaskBatch) -> Float[Tensor, "read 2"]:
        scores: Tensor = self.out(h)
        return scores


class SpanQA(Task[Question, Answer]):
    kind: ClassVar[str] = "span-qa"
    config: Config

    @property
    def metric(self) -> str:
        return "f1"

    @classmethod
    def read(cls, config: Config, path: Path, notes: Notes, labelled: bool = True) -> list[Question]:
        return read_squad(path, notes, labelled)

    @classmethod
    def labels_of(cls, config: Config, train: Sequence[Question]) -> tuple[str, ...]:
        """(NO_ANSWER,) where some questions have no answer, else none."""
        if all(question.impossible for question in train):
            raise UserError(
                f"{config.train}: none of the {len(train)} training questions has an answer. "
                "Give questions with answers too."
            )
        return (NO_ANSWER,) if any(question.impossible for question in train) else ()

    def check(self, examples: Sequence[Question], notes: Notes) -> list[Question]:
        if self.labels:
            return list(examples)
        for question in examples:
            if question.impossible:
                notes.fault(
                    question.where,
                    "no answer, which training had none of",
                    "the text holds no answer to it, but every training question has one. "
                    "Leave such questions out, or train on some.",
                )
        answered = [question for question in examples if not question.impossible]
        if not answered:
            raise UserError("no question is left that has an answer, as all of training have. Give some that have one.")
        return answered

    def content(self, example: Question) -> str:
        return example.context

    # -------------------------------------------------------------------------------------- to sequences
    def encode(self, examples: Sequence[Question], vocabulary: Vocabulary, length: int, notes: Notes) -> Windows:
        """Windows of at most `length` tokens. Targets are one-hot, [read, 2]: where the first answer starts and ends,
        or [CLS] for both where the window does not hold all of it.

        A question too long to leave room for text is at fault (`notes`); left out, it has no window.
        """
        texts = list(dict.fromkeys(question.context for question in examples))
        tokens = dict(zip(texts, vocabulary.encode_with_offsets(texts), strict=True))
        asked = vocabulary.encode_batch([question.question for question in examples])
        labelled = all(question.answers or question.impossible for question in examples)
        parts: list[_Window] = []
        for owner, (question, ids) in enumerate(zip(examples, asked, strict=True)):
            if len(ids) > self.config.longest_question:
                notes.counts[f"questions cut after {self.config.longest_question} tokens"] += 1
                ids = ids[: self.config.longest_question]
            room, (context, offsets) = length - 3 - len(ids), tokens[question.context]
            if room < 2 or not len(context):
                notes.fault(question.where, *_unreadable(room, length, len(ids)))
                continue
            begin, end = windows(len(context), room, min(self.config.stride, room // 2))
            answer = _answer_tokens(question, offsets)
            notes.counts["windows"] += len(begin)
            if len(begin) > 1:
                notes.counts["texts read in several windows"] += 1
            if answer is not None and answer[1] - answer[0] >= self.config.longest_answer:
                notes.counts[f"answers longer than {self.config.longest_answer} tokens, never given"] += 1
            spoken = np.array([not question.context[a:b].isspace() for a, b in offsets.tolist()])
            lead = np.array([vocabulary.cls, *ids, vocabulary.sep])
            for first, stop, widest in zip(begin, end, max_context(begin, end), strict=True):
                here = slice(first, stop)
                parts.append(
                    _Window(
                        owner,
                        np.concatenate([lead, context[here], [vocabulary.sep]]),
                        len(lead),
                        offsets[here],
                        widest & spoken[here],
                        _target(answer, int(first), int(stop)),
                    )
                )
        if not parts:
            raise UserError(
                f"none of the {len(examples)} questions can be read with {length} tokens. Give shorter ones, "
                "or a model that reads more."
            )
        return _joined(parts, labelled)

    # ------------------------------------------------------------------------------------------ learning
    def head(self, width: int, dropout: float) -> SpanHead:
        """Linear, without dropout, as in the paper's code."""
        return SpanHead(width)

    def loss(self, scores: Float[Tensor, "read 2"], batch: TaskBatch) -> Term:
        """Cross-entropy of the start and of the end among the read positions of each sequence, averaged."""
        assert batch.target is not None, "a loss needs answers"
        scores = scores.float()
        size = torch.bincount(batch.sequence, minlength=batch.count).tolist()
        table = pad_sequence(list(scores.split(size)), batch_first=True, padding_value=float("-inf"))
        return Term((table.logsumexp(1).sum() - scores[batch.target].sum()) / 2, batch.count)

    # ---------------------------------------------------------------------------------------- answering
    def decode(
        self, examples: Sequence[Question], sequences: Windows, scores: Float[np.ndarray, "read 2"]
    ) -> list[Answer]:
        """The best span of each example's windows, or "". Every example has a window (`network.readable`)."""
        owned = np.searchsorted(sequences.owner, np.arange(len(examples) + 1))
        return [
            self._answer(question, sequences, scores, sequences.read_offsets[first : last + 1])
            for question, (first, last) in zip(examples, pairwise(owned.tolist()), strict=True)
        ]

    def _answer(
        self,
        question: Question,
        sequences: Windows,
        scores: Float[np.ndarray, "read 2"],
        edges: Int[np.ndarray, " edge"],
    ) -> Answer:
        here = slice(int(edges[0]), int(edges[-1]))
        scores, edges = scores[here].astype(np.float64), edges - edges[0]
        begin, end = sequences.begin[here], sequences.end[here]
        spans = find_spans(scores, edges, sequences.may_start[here], self.config.best, self.config.longest_answer)
        texts: dict[str, float] = {}
        for start, stop, score in zip(spans.start, spans.end, spans.score, strict=True):
            texts.setdefault(question.context[begin[start] : end[stop]].strip(), float(score))
            if len(texts) == self.config.best:
                break
        if not texts:
            return Answer("")
        span, score = next(iter(texts.items()))
        margin = 0.0
        if self.labels:
            texts[""] = null_score(scores, edges)
            margin = texts[""] - score
        share = probabilities(np.array(list(texts.values()))).tolist()
        choices = sorted(zip(texts, share, strict=True), key=lambda choice: -choice[1])
        unanswered = bool(self.labels) and margin > (self.config.null_threshold or 0.0)
        return Answer("" if unanswered else span, span, margin, tuple(choices))

    def tuned(self, dev: Sequence[Question], predictions: Sequence[Answer]) -> "tuple[SpanQA, list[Answer]]":
        """With the threshold of "no answer" that gives the best F1 on `dev`; as it is where one is set, and where "" is
        never said."""
        if not self.labels or self.config.null_threshold is not None:
            return self, list(predictions)
        margin = np.array([answer.null_margin for answer in predictions])
        answered = np.array([self.score(q, answer.span)[1] for q, answer in zip(dev, predictions, strict=True)])
        unanswered = np.array([self.score(question, "")[1] for question in dev])
        threshold = best_threshold(margin, answered, unanswered)
        said = [replace(a, text="" if a.null_margin > threshold else a.span) for a in predictions]
        return SpanQA(msgspec.structs.replace(self.config, null_threshold=threshold), self.labels), said

    # ------------------------------------------------------------------------------------------ scoring
    def score(self, question: Question, prediction: str) -> Score:
        score = squad_score if self.config.metric == "squad" else cmrc_score
        return score(prediction, question.answers)

    def metrics(self, examples: Sequence[Question], predictions: Sequence[Answer]) -> dict[str, float]:
        """`f1` and `exact`; where some questions have no answer, also of those that have one and of those that have
        none."""
        score = np.array([self.score(q, answer.text) for q, answer in zip(examples, predictions, strict=True)])
        impossible = np.array([question.impossible for question in examples])
        found = {"f1": score[:, 1].mean(), "exact": score[:, 0].mean()}
        if impossible.any():
            found["no_answer_exact"] = score[impossible, 0].mean()
            if not impossible.all():
                found |= {
                    "has_answer_f1": score[~impossible, 1].mean(),
                    "has_answer_exact": score[~impossible, 0].mean(),
                }
        return {name: float(value) for name, value in found.items()}

    def write(self, examples: Sequence[Question], predictions: Sequence[Answer], path: Path) -> None:
        """SQuAD's prediction file: a JSON object of texts by question id."""
        said = {question.key: answer.text for question, answer in zip(examples, predictions, strict=True)}
        files.write(path, (json.dumps(said, indent=1, ensure_ascii=False) + "\n").encode())

    # -------------------------------------------------------------------------------- without a backbone
    def majority(self, train: Sequence[Question], test: Sequence[Question]) -> list[Answer]:
        """The constant rule that is best on the training questions: "", or the first n words of the text."""
        words = span_lexical.best_constant(train, self.score)
        log.info("majority: %s", f"the first {words} words of the text" if words else "never an answer")
        return [Answer(span_lexical.first_words(question.context, words)) for question in test]

    def lexical(self, train: Sequence[Question], test: Sequence[Question]) -> list[Answer]:
        """Logistic regression over spans of the sentences that resemble the question most (`span_lexical`)."""
        return [Answer(text) for text in span_lexical.answers(train, test, self.score)]


# ------------------------------------------------------------------------------------------------ windows
def windows(tokens: int, room: int, stride: int) -> tuple[Int[np.ndarray, " window"], Int[np.ndarray, " window"]]:
    """From, to: windows of at most `room` tokens, each `stride` after the one before, until the last token is read."""
    begin = np.arange(1 + -(-max(tokens - room, 0) // stride)) * stride
    return begin, np.minimum(begin + room, tokens)


@dataclass(frozen=True)
class _Window:
    owner: int
    ids: Int[np.ndarray, " token"]
    lead: int
    """Tokens up to the first [SEP]."""
    offsets: Int[np.ndarray, "text 2"]
    may_start: Bool[np.ndarray, " text"]
    target: tuple[int, int]
    """Where the answer starts and ends among the read positions."""


def _joined(parts: Sequence[_Window], labelled: bool) -> Windows:
    """The windows on end. [CLS] is read as characters 0 to 0, and starts no answer."""
    reads = [1 + len(part.offsets) for part in parts]
    first = np.array([0, *accumulate(reads)])
    offsets = np.concatenate([np.insert(part.offsets, 0, 0, axis=0) for part in parts])
    target = np.zeros((first[-1], 2), bool)
    for edge, part in zip(first[:-1], parts, strict=True):
        target[edge + np.array(part.target), [0, 1]] = True
    return Windows(
        ids=np.concatenate([part.ids for part in parts]),
        kind=np.concatenate([np.arange(len(part.ids)) >= part.lead for part in parts]).astype(np.int64),
        offsets=np.array([0, *accumulate(len(part.ids) for part in parts)]),
        owner=np.array([part.owner for part in parts]),
        read=np.concatenate([np.append(0, np.arange(part.lead, len(part.ids) - 1)) for part in parts]),
        read_offsets=first,
        target=target if labelled else None,
        target_of="read",
        begin=offsets[:, 0],
        end=offsets[:, 1],
        may_start=np.concatenate([np.append(False, part.may_start) for part in parts]),
    )


def _answer_tokens(question: Question, offsets: Int[np.ndarray, "token 2"]) -> tuple[int, int] | None:
    """The first and the last token that share a character with the first answer; None where there is none."""
    if not question.answers:
        return None
    start = question.starts[0]
    shared = np.flatnonzero((offsets[:, 1] > start) & (offsets[:, 0] < start + len(question.answers[0])))
    return (int(shared[0]), int(shared[-1])) if len(shared) else None


def _target(answer: tuple[int, int] | None, first: int, stop: int) -> tuple[int, int]:
    """The read positions of the answer's start and end in the window of the tokens `first` to `stop`, or [CLS]."""
    if answer is None or answer[0] < first or answer[1] >= stop:
        return 0, 0
    return answer[0] - first + 1, answer[1] - first + 1


def _unreadable(room: int, length: int, question: int) -> tuple[str, str]:
    if room < 2:
        return (
            "question longer than the window",
            f"the question takes {question} tokens, which leaves no room for text in a window of {length}. "
            f"Shorten it, set longest_question to {max(length // 2, 1)} or less, or read more tokens at once.",
        )
    return "text without a token", "the tokenizer finds no token in the text that the question is about."
