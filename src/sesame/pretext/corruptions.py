"""Ways to damage text for an encoder-decoder to mend: BART's, MASS's and T5's, in any sequence.

Each is three small functions, composed: *choose* says which tokens are hidden, *see* what the encoder reads in their
place, *recover* what the decoder writes when only the missing is asked for. All work on many examples at once, written
one after the other, and every choice is keyed by the example, so none depends on what stands beside it. No damage ever
makes a text longer.

    Lewis et al. 2020 (BART), 2.2       masking, deletion, infilling, sentence permutation, document rotation
    Song et al. 2019 (MASS), 3.1, 4.1   a fragment, which the decoder alone writes
    Raffel et al. 2020 (T5), 3.1.4, 3.3 spans behind sentinels; BERT style, MASS style, drop, deshuffling, prefix LM
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int, UInt64

from sesame import config
from sesame.data import chance
from sesame.data.layout import within
from sesame.data.tokenizer import Vocabulary
from sesame.pretext.masked_lm import ordinary_ids

AT_START, AT_END = 0.2, 0.2
"""How often MASS's fragment begins the text, and ends it (Song et al. 2019, 4.1); else it lies anywhere."""


@dataclass(frozen=True)
class Texts:
    """Several examples on end, without [CLS] and [SEP]."""

    ids: Int[np.ndarray, " token"]
    owner: Int[np.ndarray, " token"]
    """The example of each token, rising."""
    origin: Int[np.ndarray, " token"]
    """Where the token stood in the undamaged texts on end; -1 for one that came in for others."""
    sentence: Int[np.ndarray, " token"]
    """The number of the sentence that it is of: one starts where this changes."""
    key: UInt64[np.ndarray, " example"]
    epoch: Int[np.ndarray, " example"]
    seed: int
    turn: int = 0
    """How many corruptions came before: two of one kind choose differently."""

    @classmethod
    def of(
        cls,
        ids: Int[np.ndarray, " token"],
        owner: Int[np.ndarray, " token"],
        starts: Bool[np.ndarray, " token"],
        key: UInt64[np.ndarray, " example"],
        epoch: Int[np.ndarray, " example"],
        seed: int,
    ) -> "Texts":
        """Undamaged texts; `starts` says where sentences start."""
        return cls(ids, owner, np.arange(len(ids)), np.cumsum(starts), key, epoch, seed)

    @cached_property
    def sizes(self) -> Int[np.ndarray, " example"]:
        """Tokens of each example."""
        return np.bincount(self.owner, minlength=len(self.key)).astype(np.int64)

    @cached_property
    def place(self) -> Int[np.ndarray, " token"]:
        """Of each token in its example, from 0."""
        return within(self.sizes)

    def draw(self, purpose: str) -> Float[np.ndarray, " token"]:
        """A uniform number for each token."""
        key = (self.epoch[self.owner], self.key[self.owner], self.place)
        return chance.uniform(purpose, self.seed, *key, self.turn)

    def of_each(self, purpose: str) -> tuple[Any, ...]:
        """What chance is keyed by that concerns whole examples."""
        return purpose, self.seed, self.epoch, self.key, self.turn

    def at(self, index: np.ndarray) -> "Texts":
        """The tokens at `index` (numbers, or a mask), which must keep examples together and in order."""
        return replace(
            self,
            ids=self.ids[index],
            owner=self.owner[index],
            origin=self.origin[index],
            sentence=self.sentence[index],
        )


@dataclass(frozen=True)
class Marks:
    """The tokens that come in for others."""

    mask: int
    ordinary: Int[np.ndarray, " token"]
    """What a random token is drawn from."""
    sentinels: Int[np.ndarray, " sentinel"]

    @classmethod
    def of(cls, vocabulary: Vocabulary, corruptions: tuple[config.Corruption, ...]) -> "Marks":
        """Those of a vocabulary. UserError where one of `corruptions` needs a [MASK] and it has none."""
        masks = any(
            isinstance(c, config.TokenMasking | config.TextInfilling | config.FragmentMasking) for c in corruptions
        )
        return cls(vocabulary.mask if masks else -1, ordinary_ids(vocabulary), vocabulary.sentinels)


# ---------------------------------------------------------------------------------------------- counting
def share(sizes: Int[np.ndarray, " example"], rate: float) -> Int[np.ndarray, " example"]:
    """The nearest whole number to `rate` of each size, at least 1; 0 for an empty example, and for a rate of 0."""
    return np.where(sizes > 0, np.maximum(1, np.rint(rate * sizes)), 0).astype(np.int64) if rate else 0 * sizes


def lowest(
    draw: Float[np.ndarray, " token"], owner: Int[np.ndarray, " token"], count: Int[np.ndarray, " example"]
) -> Bool[np.ndarray, " token"]:
    """The tokens with the `count` lowest draws of each example."""
    chosen = np.zeros(len(draw), bool)
    order = np.lexsort((draw, owner))
    chosen[order] = within(np.bincount(owner, minlength=len(count))) < count[owner]
    return chosen


def poisson(draw: Float[np.ndarray, "*shape"], mean: float) -> Int[np.ndarray, "*shape"]:
    """Poisson numbers from uniform ones, by inversion; what lies beyond 20 standard deviations counts as there."""
    k = np.arange(1, int(mean + 20 * np.sqrt(mean)) + 20)
    log_share = np.concatenate([[0.0], np.cumsum(np.log(mean / k))]) - mean
    return np.minimum(np.searchsorted(np.cumsum(np.exp(log_share)), draw, "right"), len(k))


def composition(
    x: Texts, purpose: str, total: Int[np.ndarray, " example"], parts: Int[np.ndarray, " example"]
) -> Int[np.ndarray, " part"]:
    """Each example's `total` as a sum of `parts` numbers above 0, every such sum equally likely; all on end."""
    owner, place = np.repeat(np.arange(len(total)), total), within(total)
    draw = chance.uniform(purpose, x.seed, x.epoch[owner], x.key[owner], place, x.turn)
    draw[place == 0] = -1.0
    return np.diff(np.flatnonzero(lowest(draw, owner, parts)), append=len(owner))


# ------------------------------------------------------------------------------------------------ choose
def choose_tokens(x: Texts, rate: float) -> Bool[np.ndarray, " token"]:
    """The nearest whole number to `rate` of each example's tokens, at least one; every choice is equally likely."""
    return lowest(x.draw("corrupt token"), x.owner, share(x.sizes, rate))


def choose_spans(x: Texts, rate: float, span: float) -> Bool[np.ndarray, " token"]:
    """Spans of `span` tokens on average, as in T5's code: kept and hidden runs alternate, and a kept one is first.

    In all the nearest whole number to `rate` of the tokens, at least one and not all (a single token is kept), in the
    nearest whole number of runs; the lengths of the runs are uniformly random.
    """
    hidden = np.minimum(share(x.sizes, rate), np.maximum(x.sizes - 1, 0))
    spans = np.maximum(np.rint(hidden / span), hidden > 0).astype(np.int64)
    spans = np.minimum(spans, np.minimum(hidden, x.sizes - hidden))
    runs = np.stack(
        [
            composition(x, "kept run", np.where(hidden > 0, x.sizes - hidden, 0), spans),
            composition(x, "hidden run", hidden, spans),
        ],
        1,
    )
    where = np.zeros(len(x.ids), bool)
    where[hidden[x.owner] > 0] = np.repeat(np.tile([False, True], len(runs)), runs.ravel())
    return where


def choose_separately(x: Texts, rate: float) -> Bool[np.ndarray, " token"]:
    """Tokens by themselves, for sentinels to stand for: not all of them, and never so that tokens, sentinels and the
    last one are more than the text has room for (as where every other token is hidden, from the first to the last)."""
    where = lowest(x.draw("corrupt token"), x.owner, np.minimum(share(x.sizes, rate), np.maximum(x.sizes - 1, 0)))
    spans = np.bincount(x.owner[run_starts(x, where)], minlength=len(x.key))
    kept = x.sizes - np.bincount(x.owner[where], minlength=len(x.key))
    return where & ~((x.place == 0) & (spans > kept)[x.owner])


def choose_fragment(x: Texts, rate: float) -> Bool[np.ndarray, " token"]:
    """One run of `rate` of each example: at its start, at its end, or anywhere (Song et al. 2019, 4.1)."""
    length = share(x.sizes, rate)
    free = x.sizes - length
    where = chance.uniform(*x.of_each("fragment where"))
    begin = chance.integers(free + 1, *x.of_each("fragment start"))
    begin = np.where(where < AT_START, 0, np.where(where < AT_START + AT_END, free, begin))
    return (x.place >= begin[x.owner]) & (x.place < (begin + length)[x.owner])


def choose_rest(x: Texts) -> Bool[np.ndarray, " token"]:
    """All tokens from a random one on; the first is kept, unless it is the only one."""
    cut = np.where(x.sizes > 1, 1 + chance.integers(np.maximum(x.sizes - 1, 1), *x.of_each("prefix")), 0)
    return x.place >= cut[x.owner]


def run_starts(x: Texts, where: Bool[np.ndarray, " token"]) -> Bool[np.ndarray, " token"]:
    """Where a run of `where` starts; none goes on from one example into the next."""
    return where & ~(np.r_[False, where[:-1]] & (x.place > 0))


# --------------------------------------------------------------------------------------------------- see
def mask_out(x: Texts, where: Bool[np.ndarray, " token"], marks: Marks, mask: float, random: float) -> Texts:
    """Of the hidden tokens the share `mask` becomes [MASK], `random` an ordinary token, the rest stays."""
    draw = x.draw("replace")
    drawn = np.minimum((x.draw("random token") * len(marks.ordinary)).astype(np.int64), len(marks.ordinary) - 1)
    masked, other = where & (draw < mask), where & (draw >= mask) & (draw < mask + random)
    ids = np.where(masked, marks.mask, np.where(other, marks.ordinary[drawn], x.ids))
    return replace(x, ids=ids, origin=np.where(masked | other, -1, x.origin))


def mark_spans(x: Texts, where: Bool[np.ndarray, " token"], marks: Marks) -> Texts:
    """Each run of hidden tokens becomes one sentinel, the first of an example the first sentinel, and so on."""
    first = run_starts(x, where)
    marked = replace(
        x, ids=np.where(first, marks.sentinels[_span_number(x, first)], x.ids), origin=np.where(first, -1, x.origin)
    )
    return marked.at(~where | first)


def infill(x: Texts, marks: Marks, rate: float, span: float) -> tuple[Texts, Bool[np.ndarray, " token"]]:
    """Spans become one [MASK] each, and an empty span inserts one; also which tokens are hidden.

    Spans of Poisson(`span`) tokens are drawn until the nearest whole number to `rate` of each example's is hidden, at
    least one; the last span is what is left of that number. There are never more spans than hidden tokens (the last
    allowed one takes the rest), so a text is never longer than before. Kept tokens and spans come in a uniformly random
    arrangement, so spans never overlap.
    """
    budget = share(x.sizes, rate)
    number = np.arange(max(int(budget.max(initial=0)), 1))
    draw = chance.uniform("infilling span", x.seed, x.epoch[:, None], x.key[:, None], number[None], x.turn)
    ends = np.minimum(np.cumsum(poisson(draw, span), 1), budget[:, None])
    ends = np.where(number >= budget[:, None] - 1, budget[:, None], ends)
    length = np.diff(ends, axis=1, prepend=0)
    spans = np.where(budget > 0, (ends < budget[:, None]).sum(1) + 1, 0)

    places = x.sizes - budget + spans
    owner, place = np.repeat(np.arange(len(places)), places), within(places)
    masked = lowest(
        chance.uniform("infilling place", x.seed, x.epoch[owner], x.key[owner], place, x.turn), owner, spans
    )
    taken = np.ones(len(owner), np.int64)
    taken[masked] = length[number < spans[:, None]]
    # A [MASK] belongs to the sentence of the first token that it hides; an inserted one to that of the token before.
    inserted = (taken == 0) & (place > 0)
    seen = replace(x.at(np.cumsum(taken) - taken - inserted), owner=owner)
    ids, origin = np.where(masked, marks.mask, seen.ids), np.where(masked, -1, seen.origin)
    return replace(seen, ids=ids, origin=origin), np.repeat(masked, taken)


def permute_sentences(x: Texts) -> Texts:
    """The sentences of each example in a uniformly random order; a run before the first full stop is one too."""
    starts = np.flatnonzero((np.diff(x.sentence, prepend=-1) != 0) | (x.place == 0))
    order = np.lexsort((x.draw("sentence order")[starts], x.owner[starts]))
    rank = np.empty(len(starts), np.int64)
    rank[order] = np.arange(len(starts))
    return x.at(np.argsort(np.repeat(rank, np.diff(starts, append=len(x.ids))), kind="stable"))


def rotate(x: Texts) -> Texts:
    """Each example from a uniformly random token on, then what was before it."""
    first = chance.integers(np.maximum(x.sizes, 1), *x.of_each("rotation"))
    begin = np.cumsum(x.sizes) - x.sizes
    return x.at(begin[x.owner] + (x.place + first[x.owner]) % x.sizes[x.owner])


def shuffle(x: Texts) -> Texts:
    """The tokens of each example in a uniformly random order."""
    return x.at(np.lexsort((x.draw("token order"), x.owner)))


# ----------------------------------------------------------------------------------------------- recover
def missing(x: Texts, where: Bool[np.ndarray, " token"]) -> Texts:
    """The hidden tokens in order; `origin` is their place in the example that they are missing from."""
    return replace(x, origin=x.place).at(where)


def missing_spans(x: Texts, where: Bool[np.ndarray, " token"], marks: Marks) -> Texts:
    """Each hidden run behind its sentinel, and one more sentinel at the end of each example (Raffel et al., 3.1.4)."""
    first = run_starts(x, where)
    hidden = missing(x, where)
    spans = np.bincount(x.owner[first], minlength=len(x.key))
    owner = np.repeat(np.arange(len(spans)), spans + 1)
    ids = marks.sentinels[within(spans + 1)]
    # A sentinel stands before the first token of its run; the last one behind everything.
    before = np.full(len(owner), len(x.ids))
    last = within(spans + 1) == spans[owner]
    before[~last] = np.flatnonzero(first)
    order = np.lexsort(
        (
            np.r_[np.ones(len(hidden.ids)), np.zeros(len(owner))],
            np.r_[np.flatnonzero(where), before],
            np.r_[hidden.owner, owner],
        )
    )
    both = replace(
        hidden,
        ids=np.r_[hidden.ids, ids],
        owner=np.r_[hidden.owner, owner],
        origin=np.r_[hidden.origin, np.full(len(owner), -1)],
        sentence=np.r_[hidden.sentence, np.full(len(owner), -1)],
    )
    return both.at(order)


def _span_number(x: Texts, first: Bool[np.ndarray, " token"]) -> Int[np.ndarray, " token"]:
    """How many runs of its example start before a token."""
    total = np.cumsum(first) - first
    begin = np.r_[total, 0][np.cumsum(x.sizes) - x.sizes] if len(x.key) else total
    return total - begin[x.owner]


def most_spans(c: config.SpanCorruption, longest: int) -> int:
    """Sentinels that a text of at most `longest` tokens may need, the last one included."""
    hidden = min(max(1, int(np.rint(c.rate * longest))), longest - 1)
    if c.independent:
        return min(hidden, longest - hidden + 1) + 1
    return max(1, min(int(np.rint(hidden / c.span)), longest - hidden)) + 1


# ----------------------------------------------------------------------------------------------- by name
Corrupted = tuple[Texts, Texts | None]
"""What the encoder reads, and what is missing from it; None where nothing is."""


def _token_masking(x: Texts, c: config.TokenMasking, marks: Marks) -> Corrupted:
    where = choose_tokens(x, c.rate)
    return mask_out(x, where, marks, 1 - c.random, c.random), missing(x, where)


def _token_deletion(x: Texts, c: config.TokenDeletion, marks: Marks) -> Corrupted:
    where = choose_tokens(x, c.rate)
    return x.at(~where), missing(x, where)


def _text_infilling(x: Texts, c: config.TextInfilling, marks: Marks) -> Corrupted:
    seen, where = infill(x, marks, c.rate, c.span)
    return seen, missing(x, where)


def _span_corruption(x: Texts, c: config.SpanCorruption, marks: Marks) -> Corrupted:
    where = choose_separately(x, c.rate) if c.independent else choose_spans(x, c.rate, c.span)
    return mark_spans(x, where, marks), missing_spans(x, where, marks)


def _fragment_masking(x: Texts, c: config.FragmentMasking, marks: Marks) -> Corrupted:
    where = choose_fragment(x, c.rate)
    return mask_out(x, where, marks, c.mask, c.random), missing(x, where)


def _prefix_split(x: Texts, c: config.PrefixSplit, marks: Marks) -> Corrupted:
    where = choose_rest(x)
    return x.at(~where), missing(x, where)


CORRUPTIONS: dict[type, Callable[[Texts, Any, Marks], Corrupted]] = {
    config.TokenMasking: _token_masking,
    config.TokenDeletion: _token_deletion,
    config.TextInfilling: _text_infilling,
    config.SentencePermutation: lambda x, c, marks: (permute_sentences(x), None),
    config.DocumentRotation: lambda x, c, marks: (rotate(x), None),
    config.TokenShuffling: lambda x, c, marks: (shuffle(x), None),
    config.SpanCorruption: _span_corruption,
    config.FragmentMasking: _fragment_masking,
    config.PrefixSplit: _prefix_split,
}
HIDE_NOTHING = (config.SentencePermutation, config.DocumentRotation, config.TokenShuffling)
"""Those after which every token still stands somewhere."""


def corrupt(x: Texts, corruptions: tuple[config.Corruption, ...], marks: Marks) -> tuple[Texts, Texts | None, Texts]:
    """One corruption after the other: what the encoder reads; what the last one hides; and what the last one was given,
    which that is missing from."""
    given, left = x, None
    for turn, c in enumerate(corruptions):
        given = replace(x, turn=turn)
        x, left = CORRUPTIONS[type(c)](given, c, marks)
    return x, left, given
