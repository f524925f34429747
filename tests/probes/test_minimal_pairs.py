"""Minimal pairs: the templates are what they claim, files are read, and the score is counted by hand."""

import gzip
import json
from collections import Counter

import numpy as np
import pytest
import readers
import torch

from sesame.errors import UserError
from sesame.probes import Ask, Item, Value, minimal_pairs
from sesame.probes.minimal_pair_templates import BE, PEOPLE, PHENOMENA, THINGS, Pair, pairs
from sesame.probes.prediction import Reader
from sesame.probes.training_text import token_counts

PAIRS = [
    {"sentence_good": "she liked them.", "sentence_bad": "she liked they.", "linguistics_term": "case", "UID": "a"},
    {"sentence_good": "they are walking from paris.", "sentence_bad": "they is walking from paris.",
     "linguistics_term": "agreement", "UID": "b"},
    {"sentence_good": "every child kept nothing.", "sentence_bad": "every children kept nothing.",
     "linguistics_term": "agreement", "UID": "c"},
    {"sentence_good": "he never lost the Ωmega.", "sentence_bad": "he never lost the Ωmegas.",
     "linguistics_term": "case", "UID": "a"},
]  # fmt: skip


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    torch.set_num_threads(1)
    return readers.prepared(tmp_path_factory.mktemp("data"))


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "some.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in PAIRS))
    return path


def measured(model, **told) -> tuple[dict[tuple[str, str], Value], list[Item]]:
    with torch.no_grad():
        found = list(minimal_pairs.measure(model, Ask(**told)))
    return {(v.metric, v.group): v for v in found if isinstance(v, Value)}, [i for i in found if isinstance(i, Item)]


# --------------------------------------------------------------------------------------------- templates
def test_each_phenomenon_has_as_many_different_pairs_as_are_asked_for():
    made = pairs(minimal_pairs.MADE)
    assert Counter(pair.group for pair in made) == dict.fromkeys(PHENOMENA, minimal_pairs.MADE)
    assert len(set(made)) == len(made) and all(pair.good != pair.bad for pair in made)
    few = pairs(7)
    assert [p for p in few if p.group == "verb form"] == [p for p in made if p.group == "verb form"][:7]
    good, bad = {p.good for p in made}, {p.bad for p in made}
    assert not good & bad


def test_singular_and_plural_are_right_about_equally_often():
    every = pairs(200)
    for group in (
        "subject-verb agreement",
        "agreement past a noun",
        "agreement past a clause",
        "determiner-noun agreement",
    ):
        plurals = {many for _, many in [*PEOPLE, *THINGS]}
        place = -1 if group.startswith("determiner") else 1
        made = [p.good.rstrip(".").split()[place] in plurals for p in every if p.group == group]
        assert 0.4 < np.mean(made) < 0.6


def test_past_a_noun_the_verb_agrees_with_the_first():
    number = {form: i for noun in THINGS for i, form in enumerate(noun)} | {
        form: i for be in BE for i, form in enumerate(be)
    }
    for pair in (p for p in pairs(50) if p.group == "agreement past a noun"):
        (_, noun, _, _, other, good, _), bad = pair.good.rstrip(".").split(), pair.bad.split()[5]
        assert number[noun] == number[good] != number[bad] == number[other]


@pytest.mark.parametrize(
    ("good", "bad", "expected"),
    [
        ("The boys walk today.", "The boys walks today.", ("walk", "walks", "The boys ⟦walk⟧ today.")),
        ("She saw herself.", "She saw himself.", ("herself", "himself", "She saw ⟦herself⟧.")),
        ("Nobody came.", "Somebody came.", ("Nobody", "Somebody", "⟦Nobody⟧ came.")),
        ("He wants to go.", "He wants go.", ("to", "", "He wants ⟦to⟧ go.")),
        ("我喜欢书", "我喜欢喜书", ("", "喜", "我喜欢⟦⟧书")),
    ],
)
def test_what_two_sentences_differ_in(good, bad, expected):
    assert minimal_pairs._difference(Pair(good, bad, "")) == expected


# --------------------------------------------------------------------------------------------- measuring
@pytest.mark.parametrize("make", [readers.bert, readers.gpt])
def test_a_pair_is_right_where_the_good_sentence_is_more_likely(data, file, make):
    model = make(data)
    reader = Reader.of(model)
    values, items = measured(model, source=str(file), data=data)

    def likelihood(text: str) -> float:
        ids = np.array(reader.vocabulary.encode_batch([text])[0])
        names = reader.vocabulary.tokens(ids)
        total = 0.0
        for token in range(len(ids)):
            seen = ids.copy()
            if not reader.causal:
                end = next((i for i in range(token + 1, len(ids)) if not names[i].startswith("##")), len(ids))
                seen[token:end] = reader.vocabulary.mask
            total += float(readers.alone(reader, seen)[token].log_softmax(0)[ids[token]])
        return total

    gap = {
        row["sentence_good"]: likelihood(row["sentence_good"]) - likelihood(row["sentence_bad"]) for row in PAIRS[:3]
    }
    assert len(items) == 3
    for item in items:
        text = item.text.replace("⟦", "").replace("⟧", "")
        assert item.right == (gap[text] > 0) and item.group == ("case" if "them" in text else "agreement")
        of_good = dict(item.guesses)[item.word]
        assert of_good == pytest.approx(1 / (1 + np.exp(-gap[text])), abs=1e-3)
    right = {group: np.mean([i.right for i in items if group in (i.group, "")]) for group in ("case", "agreement", "")}
    assert {group: values["accuracy", group].value for group in right} == pytest.approx(right)
    assert {group: values["accuracy", group].n for group in right} == {"case": 1, "agreement": 2, "": 3}


def test_the_unigram_level_is_what_frequencies_say(data, tmp_path):
    rows = [
        *PAIRS[:3],
        {"sentence_good": "the old house.", "sentence_bad": "the house old.", "linguistics_term": "order"},
    ]
    path = tmp_path / "pairs.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    values, _ = measured(readers.bert(data), source=str(path), data=data)
    p = np.log((token_counts(data.store) + 1) / (token_counts(data.store) + 1).sum())
    expected = []
    for row in rows:
        good, bad = data.vocabulary.encode_batch([row["sentence_good"], row["sentence_bad"]])
        expected.append(0.5 if sorted(good) == sorted(bad) else float(p[good].sum() > p[bad].sum()))
    assert expected[3] == values["accuracy_unigram", "order"].value == 0.5
    assert values["accuracy_unigram", ""].value == pytest.approx(np.mean(expected))
    assert not any("unigram" in metric for metric, _ in measured(readers.bert(data), source=str(path))[0])


def test_without_a_file_the_built_in_pairs_are_asked_evenly(tmp_path, monkeypatch):
    monkeypatch.setattr(minimal_pairs, "LIGHT", 25)
    monkeypatch.setattr(minimal_pairs, "pairs", lambda count: pairs(3))
    data = readers.prepared(tmp_path, texts=[p.good + " " + p.bad for p in pairs(3)], vocab=0)
    values, items = measured(readers.bert(data), data=data)
    assert {group for _, group in values} == {*PHENOMENA, ""}
    assert Counter(i.group for i in items) == dict.fromkeys(PHENOMENA, 2)
    assert all(item.word for item in items)  # also those that are not shown: they can be counted


def test_built_in_pairs_are_for_english_text(data, tmp_path):
    texts = [f"{a} {b}" for a in readers.CHINESE for b in readers.CHINESE] * 3
    chinese = readers.prepared(tmp_path, texts=texts, vocab=0)
    with pytest.raises(UserError, match=r'pairs are English, and "the" makes 0.0%.*minimal-pairs=FILE'):
        measured(readers.bert(chinese), data=chinese)
    minimal_pairs._check_english(data)


# ------------------------------------------------------------------------------------------------- files
def test_a_folder_of_files_is_read_and_grouped_by_file_where_nothing_else_is_said(tmp_path):
    (tmp_path / "first.jsonl").write_text('{"sentence_good": "a b", "sentence_bad": "b a"}\n')
    table = "UID\tfield\tsentence_good\tsentence_bad\nu1\tx\tc d\td c\nu2\tx\te f\tf e\n"
    (tmp_path / "second.tsv.gz").write_bytes(gzip.compress(table.encode()))
    (tmp_path / "README.md").write_text("no table")
    assert minimal_pairs._read(tmp_path) == [
        Pair("a b", "b a", "first"),
        Pair("c d", "d c", "u1"),
        Pair("e f", "f e", "u2"),
    ]


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.jsonl", f"{json.dumps(PAIRS[0])}\n" '{"sentence_good": "a"}\n', r"a.jsonl:2: .*'sentence_bad'"),
        ("a.jsonl", '{"good": "a", "sentence_bad": "b"}\n', r"a.jsonl:1: there is no field 'sentence_good', but"),
        ("a.tsv", "sentence_good\tbad\na\tb\n", r"a.tsv:1: there is no field 'sentence_bad'.*Did you mean"),
        ("a.jsonl", "{\n", r"a.jsonl:1: .*not JSON"),
        ("a.txt", "a\tb\n", r"a.txt:1: there is no field"),
        ("a.csv", "sentence_good,sentence_bad\nΩ.,Ωs.\n", r"none of the 1 pairs can be asked \(1 pairs with a word"),
        ("gone.jsonl", None, "no such file"),
    ],
)  # fmt: skip
def test_a_bad_file_gets_one_line(data, tmp_path, name, text, message):
    if text is not None:
        (tmp_path / name).write_text(text)
    with pytest.raises(UserError, match=message):
        measured(readers.bert(data), source=str(tmp_path / name), data=data)


def test_an_empty_folder_gets_one_line(tmp_path):
    with pytest.raises(UserError, match=r"no \.jsonl, \.tsv or \.csv file"):
        minimal_pairs._read(tmp_path)
