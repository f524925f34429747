"""Fill the holes of a text, each with as many tokens as it takes, by an encoder-decoder that was trained to do so."""

from dataclasses import dataclass

import numpy as np

from sesame import config
from sesame.engine.build import Model
from sesame.errors import UserError
from sesame.pretext.denoising import Denoising
from sesame.tasks.greedy import greedy, start
from sesame.tasks.reading import name, reach, writing_model

LONGEST = 32
"""Tokens of a span that are written at most."""


@dataclass(frozen=True)
class Spans:
    """What was written."""

    text: str
    """The text without holes, as the tokenizer writes it."""
    spans: tuple[str, ...]
    """What stands in each hole; empty for a model that writes the whole text, which does not say."""


def fill_spans(model: Model, text: str) -> Spans:
    """The likeliest words, token by token, for each [MASK] of `text`; any number of tokens, none included.

    A model of T5's objective writes the spans. One of BART's writes the text; it is given what stands before the first
    [MASK]. Raises UserError where there is no [MASK], for a text longer than the model reads, and for a model that was
    trained on other damage.
    """
    backbone, vocabulary = writing_model(model)
    pretext = model.objective.pretext
    c = pretext.config if isinstance(pretext, Denoising) else None
    behind_sentinels = c is not None and c.target == "missing" and isinstance(c.corruptions[-1], config.SpanCorruption)
    whole = c is not None and c.target == "original" and any(
        isinstance(k, config.TextInfilling | config.TokenMasking) for k in c.corruptions)  # fmt: skip
    if not behind_sentinels and not whole:
        raise UserError(
            f"{name(model)} was not trained to fill a [MASK]: that takes text infilling, masking or span corruption. "
            "Choose a run of bart-tiny or t5-tiny."
        )
    mask = vocabulary.special.get("mask", "[MASK]")
    pieces = text.strip().replace("[MASK]", mask).split(mask)
    if len(pieces) == 1:
        raise UserError(f"there is no [MASK] in the text {text[:60]!r}. Write [MASK] where words are to be filled in.")
    if behind_sentinels and len(pieces) > len(vocabulary.sentinels):
        raise UserError(
            f"the text has {len(pieces) - 1} [MASK]s; the model knows {len(vocabulary.sentinels) - 1} at once."
        )
    holes = vocabulary.sentinels if behind_sentinels else np.full(len(pieces), vocabulary.mask)
    # The space before a hole is hidden with it; the one after a hole belongs to the word that it stands before.
    kept = vocabulary.encode_batch([piece.rstrip() for piece in pieces])
    ids = [*vocabulary.begin, *kept[0]]
    for number, piece in enumerate(kept[1:]):
        ids += [int(holes[number]), *piece]
    ids.append(vocabulary.sep)
    if len(ids) > reach(model):
        raise UserError(
            f"the text has {len(ids) - 2} tokens and the model reads {reach(model) - 2}. Fill in parts of it."
        )
    source = np.array(ids, np.int64)
    if whole:
        begin = [*start(vocabulary), *kept[0]]
        room = min(len(ids) + LONGEST, reach(model)) - len(begin)
        written = greedy(backbone, vocabulary, [source], room, begin)[0]
        return Spans(vocabulary.decode([*kept[0], *written], skip_special=True), ())
    written = greedy(backbone, vocabulary, [source], min(LONGEST * len(kept), reach(model) - 1), start(vocabulary)[:1])[
        0
    ]
    spans = spans_of(written, holes.tolist(), len(kept) - 1)
    together = list(kept[0])
    for span, piece in zip(spans, kept[1:], strict=True):
        together += [*span, *piece]
    return Spans(vocabulary.decode(together), tuple(vocabulary.decode(span) for span in spans))


def spans_of(written: list[int], sentinels: list[int], count: int) -> list[list[int]]:
    """What stands behind each of the first `count` sentinels; nothing behind one that was not written."""
    spans: list[list[int]] = [[] for _ in range(count)]
    now: list[int] = []
    for token in written:
        if token in sentinels:
            number = sentinels.index(token)
            now = spans[number] if number < count else []
        else:
            now.append(token)
    return spans
