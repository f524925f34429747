"""The taggers without a network: what they must know, and what only one of them can."""

from collections import Counter

from sesame.tasks import tagging_lexical
from sesame.tasks.conll import Sentence


def tagged(*texts: str) -> list[Sentence]:
    pairs = [[pair.rsplit("/", 1) for pair in text.split()] for text in texts]
    return [
        Sentence(str(i), f"file:{i}", tuple(w for w, _ in text), tuple(t for _, t in text), (i,) * len(text))
        for i, text in enumerate(pairs, 1)
    ]


def right(test: list[Sentence], predictions: list[tuple[str, ...]]) -> float:
    hits = [a == b for s, tags in zip(test, predictions, strict=True) for a, b in zip(s.tags or (), tags, strict=True)]
    return sum(hits) / len(hits)


def test_majority_is_each_words_most_frequent_tag_and_for_new_words_that_of_all() -> None:
    train = tagged("can/AUX can/AUX can/NOUN", "tin/NOUN tin/VERB the/DET the/DET", "run/VERB")
    counts = Counter(tag for sentence in train for tag in sentence.tags or ())
    assert counts["NOUN"] == counts["AUX"] == counts["VERB"] == counts["DET"] == 2
    assert tagging_lexical.majority(train, tagged("can/X tin/X new/X", "the/X")) == [("AUX", "NOUN", "AUX"), ("DET",)]


VERBS, NOUNS = ("walk", "jump", "play", "paint", "cook"), ("house", "tree", "river", "stone", "cloud")
TRAIN = tagged(
    *(f"the/DET {noun}/NOUN {verb}ed/VERB" for noun in NOUNS for verb in VERBS[:3]),
    *(f"we/PRON will/AUX {verb}/VERB" for verb in VERBS[:3]),
    *(f"the/DET {verb}/NOUN stopped/VERB" for verb in VERBS[:3]),
)


def test_the_lexical_tagger_reads_endings_and_neighbours_where_majority_cannot() -> None:
    test = tagged("the/DET valley/NOUN painted/VERB", "we/PRON will/AUX cook/VERB", "the/DET play/NOUN ended/VERB")
    baseline, lexical = (f(TRAIN, test) for f in (tagging_lexical.majority, tagging_lexical.lexical))
    assert right(test, lexical) == 1.0 > right(test, baseline)


def test_the_lexical_tagger_is_the_same_every_time_and_bears_a_single_tag() -> None:
    test = tagged("a/X stone/X", "we/X")
    assert tagging_lexical.lexical(TRAIN, test) == tagging_lexical.lexical(TRAIN, test)
    assert tagging_lexical.lexical(tagged("a/N b/N"), test) == [("N", "N"), ("N",)]


def test_shapes_draw_runs_together() -> None:
    assert [tagging_lexical._shape(w) for w in ("Kant's", "1,000", "USA", "e-mail2", "语言")] == [
        "Xx'x",
        "0,0",
        "X",
        "x-x0",
        "x",
    ]
