"""Word classes: shares against counting by hand, the same words at every step, and what a bad file says."""

import gzip
import logging
from collections import Counter, defaultdict

import numpy as np
import pytest
import readers
import torch

from sesame.errors import UserError
from sesame.probes import Ask, Item, Value, word_classes
from sesame.probes.prediction import Reader
from sesame.probes.training_text import word_counts
from sesame.probes.word_classes import CLASSES, FEWEST, at_same_frequencies, gold, running
from sesame.probes.words import Asked
from sesame.tasks import conll

LISTED = {
    "DET": "the a an every these some",
    "ADJ": "old young small",
    "NOUN": "man woman child children house apple garden doors water ship book",
    "PROPN": "paris london",
    "AUX": "was can would is are",
    "CCONJ": "and but",
    "SCONJ": "if",
    "ADP": "into to from in at by with",
    "ADV": "very often again never also",
    "PRON": "she he they him them it my his her someone nothing",
    "PUNCT": ".",
}
TAGS = {word: tag for tag, words in LISTED.items() for word in words.split()}
"""Everything else is a verb."""


GROUPS = [*CLASSES.values(), ""]


def conllu(sentences: list[str]) -> str:
    lines = []
    for number, text in enumerate(sentences):
        words = text.replace(".", " .").split()
        lines += [f"# sent_id = {number}", f"# text = {text}"]
        for i, word in enumerate(words, 1):
            misc = "SpaceAfter=No" if words[i : i + 1] == ["."] else "_"
            lines.append(f"{i}\t{word}\t{word}\t{TAGS.get(word, 'VERB')}\t_\t_\t0\troot\t_\t{misc}")
        lines.append("")
    return "\n".join(lines) + "\n"


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    torch.set_num_threads(1)
    return readers.prepared(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    path = tmp_path_factory.mktemp("gold") / "gold.conllu"
    path.write_text(conllu([readers.sentence(1000, i) for i in range(80)]))
    return str(path)


@pytest.fixture(autouse=True)
def small(monkeypatch):
    monkeypatch.setattr(word_classes, "LIGHT", 50)
    monkeypatch.setattr(word_classes, "FULL", 100)


def measured(model, **told) -> tuple[dict[tuple[str, str], Value], list[Item]]:
    with torch.no_grad():
        found = list(word_classes.measure(model, Ask(**told)))
    values = [v for v in found if isinstance(v, Value)]
    assert len({(v.metric, v.group) for v in values}) == len(values)
    return {(v.metric, v.group): v for v in values}, [i for i in found if isinstance(i, Item)]


def right_by_hand(reader: Reader, item: Item, text: str, start: int, hidden: bool) -> bool:
    ids, offsets = reader.vocabulary.encode_with_offsets([text])[0]
    of = [n for n, (a, b) in enumerate(offsets) if a >= start and b <= start + len(item.word)]
    seen = ids.copy()
    if hidden and not reader.causal:
        seen[of] = reader.vocabulary.mask
    return bool((readers.alone(reader, seen)[of].argmax(1).numpy() == ids[of]).all())


@pytest.mark.parametrize("make", [readers.bert, readers.gpt])
def test_the_share_of_a_class_is_the_mean_over_its_words_each_asked_by_itself(data, file, make):
    model = make(data)
    reader = Reader.of(model)
    values, items = measured(model, source=file, data=data)
    every = {one.key: one for one in gold(word_classes.Path(file), Counter())}
    metrics = ("next_word",) if reader.causal else ("mask_prediction", "reconstruction")
    assert {i.metric for i in items} == {*metrics, f"{metrics[0]}_matched"}
    assert {i.group for i in items} == set(CLASSES.values())
    for item in items:
        one = every[item.key]
        assert (one.word, one.group) == (item.word, item.group)
        if item.key % 3 == 0:  # a forward pass each takes its time
            hidden = item.metric != "reconstruction"
            assert item.right == right_by_hand(reader, item, one.text, one.start, hidden), item
    for (metric, group), value in values.items():
        if not metric.endswith(("unigram", "majority")):
            of = [i.right for i in items if i.metric == metric and group in (i.group, "")]
            assert (value.value, value.n) == (pytest.approx(np.mean(of)), len(of))
            assert value.low <= value.value <= value.high
    sizes = Counter(i.group for i in items if i.metric == metrics[0])
    assert sum(sizes.values()) <= 50 and max(sizes.values()) - min(sizes.values()) <= 2


def test_the_same_words_are_asked_whatever_the_weights_and_those_of_the_light_form_in_the_full_one(data, file):
    kept = {}
    _, one = measured(readers.bert(data), source=file, data=data, kept=kept)
    _, two = measured(readers.bert(data, seed=5), source=file, data=data, kept=kept)
    _, fresh = measured(readers.bert(data, seed=5), source=file, data=data)
    _, full = measured(readers.bert(data), source=file, data=data, full=True)
    asked = [[(i.metric, i.key, i.word, bool(i.text)) for i in items] for items in (one, two, fresh)]
    assert asked[0] == asked[1] == asked[2]
    assert [i.right for i in two] == [i.right for i in fresh] != [i.right for i in one]
    light, more = ({i.key for i in items if i.metric == "mask_prediction"} for items in (one, full))
    assert light < more


def test_a_few_words_of_each_class_are_shown_with_what_the_model_puts_there(data, file):
    _, items = measured(readers.bert(data), source=file, data=data, full=True)
    for metric in ("mask_prediction", "reconstruction"):
        of = [i for i in items if i.metric == metric]
        shown = Counter(i.group for i in of if i.text)
        assert set(shown.values()) <= {8} | {n for n in Counter(i.group for i in of).values() if n < 8}
        for item in of:
            assert bool(item.text) == bool(item.guesses)
            if item.text:
                assert f"⟦{item.word}⟧" in item.text and len(item.guesses) == 5
                probabilities = [p for _, p in item.guesses]
                assert probabilities == sorted(probabilities, reverse=True)
                assert item.right == (item.guesses[0][0] == item.word.lower())


def test_levels_without_a_sentence_are_the_shares_of_the_most_frequent_words(data, file):
    values, items = measured(readers.bert(data), source=file, data=data)
    every = gold(word_classes.Path(file), Counter())
    in_all, in_class = Counter(one.word for one in every), Counter((one.group, one.word) for one in every)
    tokens = {word: tuple(data.vocabulary.encode_batch([word])[0]) for word in in_all}
    trained = dict(zip(tokens, word_counts(data.store, list(tokens.values())).tolist(), strict=True))
    said = {
        group: [i.word for i in items if i.metric == "mask_prediction" and group in (i.group, "")] for group in GROUPS
    }
    first = max(trained, key=trained.get)
    assert Counter(trained.values())[trained[first]] == 1 and first == "the"
    for group in GROUPS:
        assert values["mask_prediction_unigram", group].value == np.mean([word == first for word in said[group]])
    for group in CLASSES.values():
        weight = {w: trained[w] * n / in_all[w] for (g, w), n in in_class.items() if g == group}
        often = {w for w in weight if weight[w] == max(weight.values())}
        expected = {np.mean([word == w for word in said[group]]) for w in often}
        assert values["mask_prediction_majority", group].value in expected
        assert values["reconstruction_majority", group].value in expected
    assert ("mask_prediction_majority", "") not in values


def test_matched_words_are_as_frequent_in_every_class(data, file):
    _, items = measured(readers.bert(data), source=file, data=data, full=True)
    every = {one.key: one for one in gold(word_classes.Path(file), Counter())}
    octaves = defaultdict(Counter)
    for item in items:
        if item.metric == "mask_prediction_matched":
            tokens = [tuple(data.vocabulary.encode_batch([every[item.key].word])[0])]
            (n,) = word_counts(data.store, tokens).tolist()
            octaves[item.group][int(np.floor(np.log2(n))) if n else -1] += 1
    assert len(octaves) >= 2
    (same,) = {tuple(sorted(of.items())) for of in octaves.values()}
    assert sum(size for _, size in same) >= FEWEST


def test_matching_takes_as_many_of_each_class_as_the_class_with_the_fewest_has():
    asked = [Asked(f"{group} {n}", 0, 1, group) for group in "ab" for n in range(30)]
    counts = [4] * 10 + [9] * 15 + [0] * 5 + [5] * 6 + [8] * 4 + [1] * 20
    chosen = at_same_frequencies(asked, counts, 1000)
    assert Counter((asked[n].group, counts[n].bit_length()) for n in chosen) == {
        (group, bits): size for group in "ab" for bits, size in ((3, 6), (4, 4))
    }
    some = at_same_frequencies(asked, counts, 14)
    assert set(some) < set(chosen) and Counter(asked[n].group for n in some) == {"a": 6, "b": 6}
    assert at_same_frequencies(asked, [1] * 30 + [2] * 30, 1000) == []
    asked += [Asked(f"c {n}", 0, 1, "c") for n in range(30)]
    without = at_same_frequencies(asked, [1] * 60 + [2] * 30, 1000)
    assert Counter(asked[n].group for n in without) == {"a": 30, "b": 30}


# -------------------------------------------------------------------------------------------------- gold
def sentence_of(*rows: tuple[str, str, str]) -> conll.Sentence:
    lines = tuple("\t".join((n, form, "_", "X", "_", "_", "0", "_", "_", misc)) for n, form, misc in rows)
    words = tuple(form for n, form, _ in rows if n.isdigit())
    return conll.Sentence("1", "f:1", words, ("X",) * len(words), tuple(range(len(words))), ("# text", *lines))


def test_a_sentence_is_written_as_it_was_and_every_word_is_found_in_it():
    sentence = sentence_of(
        ("1", "I", "_"), ("2-3", "don't", "_"), ("2", "do", "_"), ("3", "n't", "_"), ("4", "go", "SpaceAfter=No"),
        ("5", ",", "_"), ("5.1", "go", "_"), ("6-7", "du", "SpaceAfter=No"), ("6", "de", "_"), ("7", "le", "_"),
        ("8", ".", "X=Y|SpaceAfter=No"),
    )  # fmt: skip
    text, spans = running(sentence)
    assert text == "I don't go, du."
    assert [text[slice(*span)] if span else None for span in spans] == ["I", "do", "n't", "go", ",", None, None, "."]


def test_a_gold_file_may_be_compressed_and_in_chinese(data, tmp_path):
    words = [
        ("我们", "PRON"),
        ("在", "ADP"),
        ("北京", "PROPN"),
        ("看见", "VERB"),
        ("一", "NUM"),
        ("本", "NOUN"),
        ("书", "NOUN"),
    ]
    rows = [f"{i}\t{w}\t_\t{tag}\t_\t_\t0\t_\t_\tSpaceAfter=No" for i, (w, tag) in enumerate(words, 1)]
    path = tmp_path / "zh.conllu.gz"
    same = ["\n".join([*rows, f"8\t{end}\t_\tPUNCT\t_\t_\t0\t_\t_\tSpaceAfter=No\n"]) for end in "。，.,本书"]
    path.write_bytes(gzip.compress("\n".join(same).encode()))
    values, items = measured(readers.bert(data), source=str(path), data=data)
    assert {group for _, group in values} == {"", "pronoun", "preposition", "proper noun", "verb", "noun"}
    assert {i.word for i in items} == {"我们", "在", "北京", "看见", "本", "书"}
    assert all(f"⟦{i.word}⟧" in i.text for i in items if i.text) and any(i.text for i in items)


def test_without_the_training_text_there_is_no_baseline_and_it_is_said(data, file, caplog):
    with caplog.at_level(logging.WARNING):
        values, _ = measured(readers.bert(data), source=file)
    assert {metric for metric, _ in values} == {"mask_prediction", "reconstruction"}
    assert "no baselines" in caplog.text


def test_a_class_of_few_words_is_left_out_and_named(data, tmp_path, caplog):
    path = tmp_path / "few.conllu"
    path.write_text(conllu([f"{word} kept the house again." for word in ("she", "he", "they", "my", "his", "paris")]))
    with caplog.at_level(logging.INFO):
        values, _ = measured(readers.bert(data), source=str(path), data=data)
    assert {group for _, group in values} == {"", "pronoun", "verb", "determiner", "noun", "adverb"}
    assert "the class proper noun has 1 words" in caplog.text
    assert "6 words that are PUNCT" in caplog.text


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1\tthe\tthe\tDET\t_\n\n", r"bad.conllu:1: 5 columns between tabs"),
        ("1\tthe\t_\tDT\t_\t_\t0\t_\t_\t_\n\n", r"bad.conllu: 'DT' is no universal part of speech \(DET, "),
        ("1\tthe\t_\tDET\t_\t_\t0\t_\t_\t_\n\n", r"bad.conllu: no class has 5 words"),
        ("", "the file has no sentence"),
    ],
)
def test_a_bad_file_gets_one_line(data, tmp_path, text, message):
    path = tmp_path / "bad.conllu"
    path.write_text(text)
    with pytest.raises(UserError, match=message):
        measured(readers.bert(data), source=str(path), data=data)


def test_columns_without_spaces_are_refused(data, tmp_path):
    path = tmp_path / "plain.tsv"
    path.write_text("the\tDET\nhouse\tNOUN\n\n")
    with pytest.raises(UserError, match="read from CoNLL-U"):
        measured(readers.bert(data), source=str(path), data=data)
