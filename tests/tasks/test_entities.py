"""Entities and their scores are seqeval's, for well-formed tags and for any others."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sesame.tasks.entities import Entity, are_entity_tags, entities, entity_scores

TAGS = ["O", *(f"{letter}-{type}" for letter in "BIES" for type in ("PER", "LOC", "GEO-LOC"))]
SENTENCES = st.lists(
    st.lists(st.tuples(st.sampled_from(TAGS), st.sampled_from(TAGS)), max_size=8), min_size=1, max_size=4
)


@pytest.mark.parametrize(
    ("tags", "expected"),
    [
        ("B-PER I-PER O B-LOC", [("PER", 0, 2), ("LOC", 3, 4)]),
        ("B-PER E-PER S-LOC O", [("PER", 0, 2), ("LOC", 2, 3)]),
        ("B-PER M-PER M-PER E-PER S-PER", [("PER", 0, 4), ("PER", 4, 5)]),
        ("O I-PER I-PER I-LOC B-LOC", [("PER", 1, 3), ("LOC", 3, 4), ("LOC", 4, 5)]),
        ("B I O S", [("_", 0, 2), ("_", 3, 4)]),
        ("O O", []),
        ("", []),
    ],
)
def test_spans_of_bio_bioes_bmes_and_ill_formed_tags(tags: str, expected: list[tuple[str, int, int]]) -> None:
    assert entities(tags.split()) == [Entity(*span) for span in expected]


@settings(max_examples=40, deadline=None)
@given(SENTENCES)
def test_scores_equal_seqevals(sentences: list[list[tuple[str, str]]]) -> None:
    theirs = pytest.importorskip("seqeval.metrics.sequence_labeling").precision_recall_fscore_support
    true, predicted = ([[pair[side] for pair in sentence] for sentence in sentences] for side in (0, 1))
    ours = {type: (s.precision, s.recall, s.f1) for type, s in entity_scores(true, predicted).items()}
    assert ours.pop("") == pytest.approx(theirs(true, predicted, average="micro", zero_division=0)[:3])
    by_type = np.transpose(theirs(true, predicted, average=None, zero_division=0)[:3])  # sorted by type
    assert np.array(list(ours.values())).reshape(-1, 3) == pytest.approx(by_type.reshape(-1, 3))


@settings(max_examples=100, deadline=None)
@given(st.lists(st.sampled_from(TAGS), max_size=10))
def test_spans_equal_seqevals(tags: list[str]) -> None:
    sequence_labeling = pytest.importorskip("seqeval.metrics.sequence_labeling")
    assert entities(tags) == [(type, start, last + 1) for type, start, last in sequence_labeling.get_entities(tags)]


def test_which_tags_are_entity_tags() -> None:
    assert are_entity_tags(["O", "B-PER", "I-PER", "S-LOC", "E-LOC", "M-LOC"])
    assert are_entity_tags(["I-PER", "O"]) and are_entity_tags(["B", "I", "O"])
    assert not are_entity_tags(["NOUN", "VERB", "ADJ"])
    assert not are_entity_tags(["B-PER", "O", "BAD"]) and not are_entity_tags(["O"])
