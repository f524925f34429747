"""What a text model predicts for given words: many words in one packed forward pass, each as if it were alone.

mask prediction  a word's sub-words are hidden, all of them and nothing else (Chiang, Huang & Lee 2020)
reconstruction   nothing is hidden; what the output layer says of every place
next word        a causal LM: every sub-word from what is left of it, the word's own first sub-words included
likelihood       of a sentence: a causal LM's sum of log-probabilities, or the pseudo-log-likelihood of a BERT (Salazar
                 et al. 2020): every token hidden in turn, and with it the rest of its word (Kauf & Ivanova 2023)

A word is right where every sub-word is. Copies of sentences are packed into rows without padding; the last layer and
the projection onto the vocabulary are computed at the places that are asked for and nowhere else.
"""

import heapq
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from sesame.data.batch import At
from sesame.data.text import TextSet, examples_of, rows_of
from sesame.data.tokenizer import Vocabulary
from sesame.engine.build import Model
from sesame.errors import UserError
from sesame.models.transformer import Transformer
from sesame.pretext.bert import Bert
from sesame.pretext.causal_lm import CausalLM
from sesame.pretext.cross_entropy import CHUNK
from sesame.probes.base import Ask
from sesame.tasks.reading import name, reach, text_model

POSITIONS = 1 << 13
"""Positions of one forward pass: enough to keep the cores busy, and few enough for a large model's memory."""
AHEAD = 32
"""Forward passes whose texts are chosen together, so that each has texts of about one length."""
ROW = 128
"""Positions of a row, where no text is longer: attention within a row grows with its square. Not so on a CPU, which
takes rows apart: there all texts stand on end in one row, and nothing is empty."""
GUESSES = 5
LIGHT_ROWS, FULL_ROWS = 64, 512
"""Held-out rows of pretraining that are read."""

Ids = Int[np.ndarray, " _"]


@dataclass(frozen=True)
class Reader:
    """A text model, and how it is asked for tokens."""

    backbone: Transformer
    vocabulary: Vocabulary
    pretext: Bert | CausalLM
    room: int
    """Tokens of a text that it reads at once."""

    @classmethod
    def of(cls, model: Model) -> "Reader":
        """UserError for a model that was not trained to predict tokens."""
        backbone, vocabulary = text_model(model)
        pretext = model.objective.pretext
        if not isinstance(pretext, Bert | CausalLM) or (isinstance(pretext, Bert) and not pretext.config.masked_lm):
            raise UserError(
                f"{name(model)} was not trained to predict tokens, so what it predicts cannot be measured. "
                "Choose a model trained by masked or causal language modelling."
            )
        return cls(backbone, vocabulary, pretext, reach(model) - 2)

    @property
    def causal(self) -> bool:
        return isinstance(self.pretext, CausalLM)

    @property
    def device(self) -> torch.device:
        return self.backbone.embed.token.weight.device

    def logits(self, h: Float[Tensor, "read width"]) -> Float[Tensor, "read vocab"]:
        """Scores of every token. Never in bf16, in which several tokens often share the highest score."""
        weight = self.backbone.vocabulary
        with torch.autocast(h.device.type, enabled=False):
            scores = self.pretext.logits(self.backbone, h.to(weight.dtype))
        return scores[:, : self.vocabulary.size]  # an embedding may have rows that are no token

    def window(self, start: int, stop: int, tokens: int) -> slice | None:
        """What is read of a text of `tokens` to predict those from `start` to `stop`; None where they are too many.

        As much on both sides, as far as there is; a causal LM reads to the left only.
        """
        if stop - start > self.room:
            return None
        first = stop - self.room if self.causal else min((start + stop - self.room) // 2, tokens - self.room)
        return slice(max(0, first), min(tokens, max(0, first) + self.room))


@dataclass(frozen=True)
class Word:
    """A word as a model meets it: the tokens from `start` to `stop` of a text."""

    ids: Ids
    """Of the text, or of a window of it, without [CLS] and [SEP]."""
    start: int
    stop: int


@dataclass(frozen=True)
class Predictions:
    """What was said of each word."""

    rank: Int[np.ndarray, " word"]
    """Where its true sub-word stands among all tokens, from 1; the worst of its sub-words. 1: the word is right."""
    guesses: dict[int, tuple[tuple[str, float], ...]]
    """The best words of as many sub-words with their probabilities, for those that were to be shown. Of a causal LM,
    which is told the first sub-words before it says the next, the best first sub-words."""

    @property
    def right(self) -> np.ndarray:
        return self.rank == 1


def predict(reader: Reader, words: Sequence[Word], hidden: bool = True, shown: Collection[int] = ()) -> Predictions:
    """Predict every word: hidden, or (`hidden=False`, BERT only) reconstructed. A causal LM sees what is before it.

    `shown` are the numbers of those words whose best guesses are wanted. Words of one text that hide nothing from each
    other share its forward pass where they have the same `ids` object.
    """
    rank = np.zeros(len(words), np.int64)
    places: dict[int, list[tuple[list[tuple[int, ...]], list[float]]]] = {number: [] for number in shown}
    asked = np.array(sorted(shown), np.int64)
    queries = _one_each(reader, words) if hidden and not reader.causal else _together(words)
    for owner, target, logits in answers(reader, queries):
        np.maximum.at(rank, owner, ranks(logits, target).numpy(force=True))
        here = np.flatnonzero(np.isin(owner, asked))
        if len(here):
            best = logits[torch.from_numpy(here).to(logits.device)].softmax(-1).topk(min(GUESSES, logits.shape[1]))
            for number, p, ids in zip(owner[here].tolist(), best.values.tolist(), best.indices.tolist(), strict=True):
                places[number].append(([(i,) for i in ids], p))
    guesses = {}
    for number, of_word in places.items():
        ranked = most_probable(of_word[:1] if reader.causal else of_word)
        guesses[number] = tuple((reader.vocabulary.decode(ids), p) for ids, p in ranked)
    return Predictions(rank, guesses)


def log_likelihoods(
    reader: Reader, texts: Sequence[Ids], word_starts: Sequence[Int[np.ndarray, " _"]]
) -> Float[np.ndarray, " text"]:
    """The (pseudo-)log-likelihood of each text, in nats; the end of the text is not predicted.

    `word_starts` are the places at which the words of each text start, ascending, the first at 0.
    """
    total = np.zeros(len(texts))
    for owner, target, logits in answers(reader, _for_likelihood(reader, texts, word_starts)):
        np.add.at(total, owner, log_probability(logits, target).double().numpy(force=True))
    return total


# ------------------------------------------------------------------------------------------------ asking
@dataclass(frozen=True)
class Query:
    """A text as it is shown to the model, and what it is asked about it."""

    seen: Ids
    at: Int[np.ndarray, " read"]
    """Places of the tokens that are asked for."""
    target: Int[np.ndarray, " read"]
    owner: Int[np.ndarray, " read"]
    """Number of the word, or text, that each is part of."""
    before: int | None = None
    """The token before `seen`, where a text goes on; it stands in place of [CLS]."""


def _one_each(reader: Reader, words: Sequence[Word]) -> Iterator[Query]:
    """A copy of its text for every word, with the word hidden."""
    for number, word in enumerate(words):
        at = np.arange(word.start, word.stop)
        seen = word.ids.copy()
        seen[at] = reader.vocabulary.mask
        yield Query(seen, at, word.ids[at], np.full(len(at), number))


def _together(words: Sequence[Word]) -> Iterator[Query]:
    """A text with all its words."""
    texts: dict[int, list[int]] = {}
    for number, word in enumerate(words):
        texts.setdefault(id(word.ids), []).append(number)
    for numbers in texts.values():
        ids = words[numbers[0]].ids
        at = np.concatenate([np.arange(words[n].start, words[n].stop) for n in numbers])
        yield Query(ids, at, ids[at], np.repeat(numbers, [words[n].stop - words[n].start for n in numbers]))


def _for_likelihood(
    reader: Reader, texts: Sequence[Ids], word_starts: Sequence[Int[np.ndarray, " _"]]
) -> Iterator[Query]:
    for number, (ids, starts) in enumerate(zip(texts, word_starts, strict=True)):
        every = np.arange(len(ids))
        if reader.causal:
            yield Query(ids, every, ids, np.full(len(ids), number))
            continue
        yield from hidden_in_turn(reader, ids, starts, 0, len(ids), number)


def hidden_in_turn(
    reader: Reader, ids: Ids, starts: Int[np.ndarray, " _"], first: int, last: int, owner: int
) -> Iterator[Query]:
    """The tokens `first` to `last` of a text, each hidden with the rest of its word; `starts` are those of words."""
    ends = np.append(starts, len(ids))[np.searchsorted(starts, np.arange(first, last), "right")]
    for token, end in zip(range(first, last), ends.tolist(), strict=True):
        seen = ids.copy()
        seen[token:end] = reader.vocabulary.mask
        yield Query(seen, np.array([token]), ids[token : token + 1], np.array([owner]))


def answers(
    reader: Reader, queries: Iterator[Query]
) -> Iterator[tuple[Int[np.ndarray, " read"], Int[Tensor, " read"], Float[Tensor, "read vocab"]]]:
    """Owner, target and the scores of every token, for all that is asked: as many at a time as memory holds, and long
    texts first; those of one query in order.

    A masked LM says a token where it stands, a causal one at the place before it; [CLS] stands before the first.
    """
    for some in _passes(queries):
        sizes = [len(query.seen) + 2 for query in some]
        length = sum(sizes) if reader.device.type == "cpu" else max(ROW, *sizes)
        batch, number = examples_of([query.seen for query in some], reader.vocabulary, length)
        row, begin = np.nonzero((batch.position == 0) & (batch.example >= 0))  # examples are numbered as they stand
        for query, of in zip(some, number, strict=True):
            if query.before is not None:
                batch.ids[row[of], begin[of]] = query.before
        text = np.repeat(number, [len(query.at) for query in some])
        place = begin[text] + np.concatenate([query.at for query in some]) + (not reader.causal)
        read = np.zeros(batch.ids.shape, bool)
        read[row[text], place] = True
        order = (np.cumsum(read.ravel()) - 1).reshape(read.shape)[row[text], place]
        states = reader.backbone(rows_of(batch).to(reader.device), At.of(read).to(reader.device))
        h = states.last[torch.from_numpy(order).to(reader.device)]
        owner = np.concatenate([query.owner for query in some])
        target = torch.from_numpy(np.concatenate([query.target for query in some])).to(reader.device)
        yield from _scored(reader, h, target, owner)


def _passes(queries: Iterator[Query]) -> Iterator[list[Query]]:
    """Queries that go through the model together."""
    while ahead := list(_of_at_most(queries, AHEAD * POSITIONS)):
        left = iter(sorted(ahead, key=lambda query: -len(query.seen)))
        while some := list(_of_at_most(left, POSITIONS)):
            yield some


def _of_at_most(queries: Iterator[Query], positions: int) -> Iterator[Query]:
    """The next queries, of so many positions together, or the next one."""
    held = 0
    while held < positions and (query := next(queries, None)) is not None:
        held += len(query.seen) + 2
        yield query


def _scored(
    reader: Reader, h: Float[Tensor, "read width"], target: Int[Tensor, " read"], owner: Int[np.ndarray, " read"]
) -> Iterator[tuple[Int[np.ndarray, " read"], Int[Tensor, " read"], Float[Tensor, "read vocab"]]]:
    """The scores at some states, in pieces that are small beside a model."""
    rows = max(1, CHUNK // reader.vocabulary.size)
    for start in range(0, len(h), rows):
        here = slice(start, start + rows)
        yield owner[here], target[here], reader.logits(h[here])


# ---------------------------------------------------------------------------------------------- held out
def held_out_answers(model: Model, ask: Ask) -> Iterator[tuple[Int[Tensor, " read"], Float[Tensor, "read vocab"]]]:
    """Target and the scores of every token, for what pretraining asks about held-out rows: always the same.

    UserError where the run's data are gone or hold nothing out.
    """
    reader = Reader.of(model)
    if not isinstance(ask.data, TextSet):
        raise UserError("The run's data are not here, and its held-out text is what this probe measures. Mend --data.")
    stream, split = reader.pretext.stream(ask.data, 0), reader.pretext.split
    rows = FULL_ROWS if ask.full else LIGHT_ROWS
    splits = ask.once(("held-out splits", rows), lambda: [split(batch) for batch in stream.held_out(rows)])
    if not splits:
        raise UserError(
            f"{ask.data.store.path} holds no text out to measure on. Prepare it again with a larger --held-out."
        )
    for each in splits:
        each = each.to(reader.device)
        h, target = reader.backbone(each.seen, each.where).last, each.target
        if reader.causal:
            h, wanted = h.flatten(0, 1)[target["at"]], target["next"]
        else:
            h, wanted = h[target["masked_lm_at"]], target["masked_lm"]
        for _, some, logits in _scored(reader, h, wanted, np.arange(len(h))):
            yield some, logits


# ---------------------------------------------------------------------------------------------- judging
def ranks(logits: Float[Tensor, "read vocab"], target: Int[Tensor, " read"]) -> Int[Tensor, " read"]:
    """Where the target stands among all tokens, from 1; of equal scores the token with the smaller number is first.

    Those behind it are counted: where scores are no numbers there are none, and it is the last.
    """
    of_target = logits.gather(1, target[:, None])
    behind = torch.arange(logits.shape[1], device=logits.device) > target[:, None]
    return logits.shape[1] - ((logits < of_target) | ((logits == of_target) & behind)).sum(1)


def log_probability(logits: Float[Tensor, "read vocab"], target: Int[Tensor, " read"]) -> Float[Tensor, " read"]:
    """log softmax(logits)[target]."""
    return logits.gather(1, target[:, None])[:, 0] - logits.logsumexp(1)


def most_probable(
    places: Sequence[tuple[list[tuple[int, ...]], list[float]]],
) -> list[tuple[tuple[int, ...], float]]:
    """The best sequences with one token from each place, which are independent of each other, and their probabilities.

    Whoever continues a prefix that is not among the best few is itself not among them, so no other prefix is kept.
    """
    best: list[tuple[tuple[int, ...], float]] = [((), 1.0)]
    for tokens, probabilities in places:
        longer = ((prefix + token, q * p) for prefix, q in best for token, p in zip(tokens, probabilities, strict=True))
        best = heapq.nlargest(GUESSES, longer, key=lambda found: found[1])
    return best
