"""Entities as spans of tagged words, and how many of them were found.

Tags are BIO, BIOES or BMES with a type: B-PER, I-PER, O. The spans of ill-formed sequences are those of `seqeval` in
its default mode, which is conlleval's (Tjong Kim Sang & Buchholz 2000): an I- that continues nothing begins an entity.
"""

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

_TAG = re.compile(r"[BIESM](-.*)?")


class Entity(NamedTuple):
    type: str
    start: int
    """Its first word."""
    stop: int
    """The word after its last."""


@dataclass(frozen=True)
class EntityScores:
    """Shares in 0..1; 0 where there is nothing to divide by. An entity is right when its type and both ends are."""

    precision: float
    recall: float
    f1: float


def are_entity_tags(tags: Iterable[str]) -> bool:
    """Whether `tags` are O and others that begin with B-, I-, E-, S- or M- (or are these letters: one type)."""
    others = set(tags) - {"O"}
    return bool(others) and all(map(_TAG.fullmatch, others))


def entities(tags: Sequence[str]) -> list[Entity]:
    """The entities of one sentence, in order."""
    found = []
    start, last = 0, ("O", "")
    for i, tag in enumerate((*tags, "O")):
        here = _parts(tag)
        if not _continues(last, here):
            if last[0] != "O":
                found.append(Entity(last[1], start, i))
            start = i
        last = here
    return found


def _parts(tag: str) -> tuple[str, str]:
    """Letter and type; BMES's middle M is an I."""
    return tag[0].replace("M", "I"), tag[1:].removeprefix("-") or "_"


def _continues(last: tuple[str, str], here: tuple[str, str]) -> bool:
    """Whether a word belongs to the entity of the word before it."""
    return last[0] in "BI" and here[0] in "IE" and last[1] == here[1]


def entity_scores(true: Sequence[Sequence[str]], predicted: Sequence[Sequence[str]]) -> dict[str, EntityScores]:
    """Scores over all entities of all sentences under "", and for each type (sorted) under its name."""
    right, in_true, in_predicted = (Counter[str]() for _ in range(3))
    for gold, guessed in zip(true, predicted, strict=True):
        there, said = set(entities(gold)), set(entities(guessed))
        for counter, spans in ((right, there & said), (in_true, there), (in_predicted, said)):
            counter.update(span.type for span in spans)
            counter[""] += len(spans)
    types = sorted({"", *in_true, *in_predicted})
    return {type: _scores(right[type], in_true[type], in_predicted[type]) for type in types}


def _scores(right: int, true: int, predicted: int) -> EntityScores:
    return EntityScores(
        precision=right / predicted if predicted else 0.0,
        recall=right / true if true else 0.0,
        f1=2 * right / (true + predicted) if true + predicted else 0.0,
    )
