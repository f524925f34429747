"""Masked language modelling: hide some tokens, recover them (Devlin et al. 2019, 3.1).

Three functions, composed: `choose` says where, `see` makes x′, and the target is what stood there.
"""

import numpy as np
from jaxtyping import Bool, Int

from sesame import config
from sesame.data import chance
from sesame.data.batch import TextBatch
from sesame.data.tokenizer import Vocabulary

SPAN_STOP, SPAN_LONGEST = 0.2, 10
"""SpanBERT's span lengths in words: Geometric(0.2) among 1..10, with mean 3.8 (Joshi et al. 2020, 3.1)."""
NGRAM_LONGEST = 3
"""ALBERT's n-grams: p(n) ∝ 1/n for n ≤ 3 (Lan et al. 2020, 4.1)."""


def choose(batch: TextBatch, c: config.Bert) -> Bool[np.ndarray, "row time"]:
    """Where to hide: in each example the nearest whole number to `rate` of its tokens, at least one.

    Units (tokens, words, runs of words) are taken in a keyed random order; one that would exceed the number is passed
    over, as in BERT's whole-word code. An example whose every unit is larger than its number hides its smallest.
    """
    inside = ~batch.special
    examples = len(batch.key)
    owner = batch.example[inside]  # positions of one example stand together and in order
    tokens = np.bincount(owner, minlength=examples)
    budget = np.where(tokens > 0, np.maximum(1, np.rint(c.rate * tokens)), 0).astype(np.int64) if c.rate else 0 * tokens
    draw = chance.uniform("mask", *batch.keyed(inside))
    hidden = np.zeros(len(owner), bool)
    if c.unit == "token":
        order = np.lexsort((draw, owner))
        rank = np.arange(len(owner)) - (np.cumsum(tokens) - tokens)[owner[order]]
        hidden[order] = rank < budget[owner[order]]
    else:
        # A word starts where the store says so, and where an example or its second segment does.
        fresh = np.r_[True, (np.diff(owner) != 0) | (np.diff(batch.position[inside]) != 1)]
        first = np.flatnonzero(batch.word[inside] | fresh)
        size = np.diff(np.r_[first, len(owner)])
        run = _run_lengths(c.unit, chance.uniform("span", *batch.keyed(inside))[first])
        ends = np.searchsorted(owner[first], np.arange(examples), "right")
        segment = 2 * owner[first] + batch.kind[inside][first]
        run = np.minimum(run, np.searchsorted(segment, segment, "right") - np.arange(len(first)))  # runs end with it
        order = np.lexsort((draw[first], owner[first]))
        begin = 0
        for example in range(examples):
            words = order[begin : ends[example]]
            begin = int(ends[example])
            if len(words):
                _take_runs(words, run, first, size, int(budget[example]), hidden)
    where = np.zeros(batch.ids.shape, bool)
    where[inside] = hidden
    return where


def _run_lengths(unit: str, draw: np.ndarray) -> Int[np.ndarray, " word"]:
    """How many words are hidden together from each word on."""
    if unit == "span":
        within = 1 - (1 - SPAN_STOP) ** SPAN_LONGEST
        return 1 + np.floor(np.log1p(-draw * within) / np.log1p(-SPAN_STOP)).astype(np.int64)
    if unit == "ngram":
        weight = 1 / np.arange(1, NGRAM_LONGEST + 1)
        return 1 + np.searchsorted(np.cumsum(weight / weight.sum()), draw, "right")
    return np.ones(len(draw), np.int64)


def _take_runs(
    words: np.ndarray, run: np.ndarray, first: np.ndarray, size: np.ndarray, budget: int, hidden: np.ndarray
) -> None:
    """Hide runs of the words of one example, in the order given, until `budget` tokens are hidden."""
    left = budget
    for word in words.tolist():
        stop = word + int(run[word])
        while stop > word:  # a run that is too long is shortened, a word never
            begin, finish = int(first[word]), int(first[stop - 1] + size[stop - 1])
            if finish - begin <= left and not hidden[begin:finish].any():
                hidden[begin:finish] = True
                left -= finish - begin
                break
            stop -= 1
        if not left:
            return
    if left == budget:
        smallest = int(words[np.argmin(size[words])])
        hidden[first[smallest] : first[smallest] + size[smallest]] = True


def see(
    batch: TextBatch,
    where: Bool[np.ndarray, "row time"],
    c: config.Bert,
    mask: int,
    ordinary: Int[np.ndarray, " token"],
) -> Int[np.ndarray, "row time"]:
    """x′: of the hidden tokens the share `c.mask` becomes [MASK], `c.random` an `ordinary` token, the rest stays."""
    keyed = batch.keyed(where)
    draw = chance.uniform("replace", *keyed)
    other = ordinary[chance.integers(len(ordinary), "random token", *keyed)]
    old = batch.ids[where]
    ids = batch.ids.copy()
    ids[where] = np.where(draw < c.mask, mask, np.where(draw < c.mask + c.random, other, old))
    return ids


def ordinary_ids(vocabulary: Vocabulary) -> Int[np.ndarray, " token"]:
    """Every id but the special ones: drawing from the whole vocabulary, as BERT's code does, puts [SEP] into text."""
    return np.setdiff1d(np.arange(vocabulary.size), vocabulary.special_ids)
