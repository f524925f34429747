"""From scores of starts and ends to answers (Devlin et al. 2019, sections 4.2 and 4.3; decoding as in run_squad).

A text may have been read in several windows. Their positions are given on end, each window's first being [CLS], whose
scores speak for "no answer" (SQuAD 2.0).
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int


@dataclass(frozen=True)
class Spans:
    """Candidate answers, the best first."""

    start: Int[np.ndarray, " span"]
    """First position, counted over all windows."""
    end: Int[np.ndarray, " span"]
    """Last position, in the same window."""
    score: Float[np.ndarray, " span"]
    """Score of the start plus score of the end."""


def find_spans(
    scores: Float[np.ndarray, "position 2"],
    edges: Int[np.ndarray, " edge"],
    may_start: Bool[np.ndarray, " position"],
    best: int,
    longest: int,
) -> Spans:
    """All spans of the `best` starts and the `best` ends of each window, of at most `longest` positions.

    Window w is edges[w] to edges[w + 1]. Spans start only where `may_start` holds (a token that several windows hold
    starts answers in one of them: `max_context`), and none holds a [CLS]. Equal scores are in order of position. Where
    the best starts all come after the best ends, in every window, all starts and ends are taken: as long as there is a
    position that may start, there is a span.
    """
    start, end = _pairs(scores, edges, may_start, best, longest)
    if not len(start):
        start, end = _pairs(scores, edges, may_start, len(scores), longest)
    score = scores[start, 0] + scores[end, 1]
    order = np.lexsort((end, start, -score))
    return Spans(start[order], end[order], score[order])


def _pairs(
    scores: Float[np.ndarray, "position 2"],
    edges: Int[np.ndarray, " edge"],
    may_start: Bool[np.ndarray, " position"],
    best: int,
    longest: int,
) -> tuple[Int[np.ndarray, " span"], Int[np.ndarray, " span"]]:
    """Starts and ends of the spans, window by window."""
    first, last = [], []
    for begin, stop in zip(edges[:-1] + 1, edges[1:], strict=True):
        position = np.arange(begin, stop)
        starts = _greatest(scores[:, 0], position[may_start[begin:stop]], best)
        ends = _greatest(scores[:, 1], position, best)
        length = ends[None, :] - starts[:, None] + 1
        i, j = np.nonzero((length >= 1) & (length <= longest))
        first.append(starts[i])
        last.append(ends[j])
    return np.concatenate(first), np.concatenate(last)


def _greatest(
    score: Float[np.ndarray, " position"], among: Int[np.ndarray, " some"], best: int
) -> Int[np.ndarray, " few"]:
    """The `best` of the positions `among` with the greatest scores; of equal ones, the first."""
    return among[np.argsort(-score[among], kind="stable")[:best]]


def null_score(scores: Float[np.ndarray, "position 2"], edges: Int[np.ndarray, " edge"]) -> float:
    """The score of "no answer": the smallest, over windows, of start plus end at [CLS], for one window that surely
    holds the answer is enough."""
    return float(scores[edges[:-1]].sum(1).min())


def max_context(begin: Int[np.ndarray, " window"], end: Int[np.ndarray, " window"]) -> list[Bool[np.ndarray, " token"]]:
    """Of the tokens of each window, those that no other window shows with more context.

    Window w shows the tokens begin[w] to end[w] of a text. The context of a token is the smaller of how many tokens
    stand to its left and to its right in the window, and a hundredth of the window's length, which decides where that
    is equal; then the earlier window does. Each token of the text is True in exactly one window.
    """
    most = np.full(int(end.max()), -1.0)
    window_of = np.zeros(len(most), np.int64)
    for w, (first, stop) in enumerate(zip(begin, end, strict=True)):
        token = np.arange(first, stop)
        context = np.minimum(token - first, stop - 1 - token) + 0.01 * (stop - first)
        better = context > most[first:stop]
        most[first:stop][better] = context[better]
        window_of[first:stop][better] = w
    return [window_of[first:stop] == w for w, (first, stop) in enumerate(zip(begin, end, strict=True))]


def probabilities(score: Float[np.ndarray, " choice"]) -> Float[np.ndarray, " choice"]:
    """Softmax over the choices."""
    raised = np.exp(score - score.max())
    return raised / raised.sum()


def best_threshold(
    margin: Float[np.ndarray, " question"],
    answered: Float[np.ndarray, " question"],
    unanswered: Float[np.ndarray, " question"],
) -> float:
    """The threshold of "no answer" that makes the mean score greatest.

    `margin` is the null score less that of the best span: above the threshold there is no answer. `answered` and
    `unanswered` are what each question scores then with its best span and with "". Of equal thresholds the smallest.
    """
    order = np.argsort(margin, kind="stable")
    margin = margin[order]
    gain = np.concatenate([[0.0], np.cumsum((answered - unanswered)[order])])  # of answering the first 0, 1, 2, …
    apart = np.append(np.append(True, margin[1:] > margin[:-1]), True)  # questions with one margin are one
    first = int(np.argmax(np.where(apart, gain, -np.inf)))
    return float(margin[first - 1]) if first else float(margin[0]) - 1.0
