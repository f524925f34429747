"""Linear probes: what they are asked, against counting by hand and scikit-learn on states read one by one."""

import gzip
import logging
from collections import Counter
from pathlib import Path

import numpy as np
import probed
import pytest
import readers
import torch
from sklearn.linear_model import LogisticRegression

from sesame.engine.build import Model
from sesame.errors import UserError
from sesame.probes import Ask, Item, Value, linear
from sesame.probes.linear import ASKED, BINS, Sentence, gold, measure, ridge
from sesame.probes.states import word_states
from sesame.probes.words import key_of
from sesame.tasks.softmax_regression import standardised

TAGS = {"the": "DET", "an": "DET", "a": "DET", "house": "NOUN", "apple": "NOUN", "man": "NOUN", "woman": "NOUN",
        "and": "CCONJ", "again": "ADV", "she": "PRON", "he": "PRON", "they": "PRON", ".": "PUNCT"}  # fmt: skip
"""Everything else is a verb, and depends on the first word as its object; a word of the list on the one after it."""


def words_of(text: str) -> list[str]:
    return text.replace(".", " .").split()


def conllu(sentences: list[str], dependencies: bool = True) -> str:
    lines = []
    for text in sentences:
        words = words_of(text)
        for i, word in enumerate(words, 1):
            head, relation = (i + 1, "det:pre") if word in TAGS and i < len(words) else (1 % i, "obj")
            told = f"{head}\t{relation if head else 'root'}" if dependencies else "_\t_"
            lines.append(f"{i}\t{word}\t_\t{TAGS.get(word, 'VERB')}\t_\t_\t{told}\t_\t_")
        lines.append("")
    return "\n".join(lines) + "\n"


TEXTS = list(dict.fromkeys(readers.sentence(7, i) for i in range(120)))


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    torch.set_num_threads(1)
    return readers.prepared(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="module")
def file(tmp_path_factory) -> str:
    path = tmp_path_factory.mktemp("gold") / "gold.conllu"
    path.write_text(conllu(TEXTS))
    return str(path)


def measured(model: Model, **told) -> tuple[dict[tuple[str, str, int], Value], list[Item]]:
    with torch.no_grad():
        found = list(measure(model, Ask(**told)))
    values = [v for v in found if isinstance(v, Value)]
    assert len({(v.metric, v.group, v.layer) for v in values}) == len(values)
    return {(v.metric, v.group, v.layer): v for v in values}, [i for i in found if isinstance(i, Item)]


def is_asked(text: str) -> bool:
    from sesame.data import chance

    return bool(chance.uniform("linear asked", np.array([key_of(tuple(words_of(text)))], np.uint64))[0] < ASKED)


def by_scikit_learn(x: torch.Tensor, labels: list[str], asked: list[bool]) -> float:
    """The share of the asked that is told right; `x` in the order of the labels."""
    away, label = np.array(asked), np.array(labels)
    order = np.concatenate([np.flatnonzero(~away), np.flatnonzero(away)])
    known = int((~away).sum())
    features = standardised(x[order].double(), known).numpy()
    model = LogisticRegression(C=1 / (ridge(known, x.shape[1]) * known), fit_intercept=False, tol=1e-8, max_iter=5000)
    guess = model.fit(features[:known], label[order][:known]).predict(features[known:])
    return float((guess == label[order][known:]).mean())


@pytest.mark.parametrize("make", [readers.bert, readers.gpt])
def test_every_layer_is_told_as_by_a_probe_of_its_own_on_sentences_read_alone(data, file, make, monkeypatch):
    monkeypatch.setattr(linear, "TOLERANCE", 1e-6)
    model = make(data)
    values, items = measured(model, source=file)
    alone = [word_states(model, [words_of(text)]) for text in TEXTS]  # a forward pass each
    flat = torch.cat(alone, 1)
    words = [word for text in TEXTS for word in words_of(text)]
    sizes = [len(words_of(text)) for text in TEXTS]
    asked = np.repeat([is_asked(text) for text in TEXTS], sizes).tolist()
    tags = [TAGS.get(word, "VERB") for word in words]
    begin = np.repeat(np.cumsum([0, *sizes[:-1]]), sizes)
    place = np.arange(len(words)) - begin
    n = sum(asked)
    for layer in range(3):
        value = values["pos_accuracy", "", layer]
        assert value.n == n and value.low <= value.value <= value.high
        assert value.value == pytest.approx(by_scikit_learn(flat[layer], tags, asked), abs=2.01 / n)
        classes = [values["pos_accuracy", tag, layer] for tag in sorted(set(tags))]
        assert sum(v.value * v.n for v in classes) == pytest.approx(value.value * n)
    last = np.repeat(sizes, sizes) - 1
    head = [begin[i] + (place[i] + 1 if word in TAGS and place[i] < last[i] else 0) for i, word in enumerate(words)]
    there = [i for i, word in enumerate(words) if place[i] or word in TAGS]
    relations = ["det" if words[i] in TAGS and place[i] < last[i] else "obj" for i in there]
    both = torch.cat([flat[2][there], flat[2][[head[i] for i in there]]], 1)
    share = by_scikit_learn(both, relations, [asked[i] for i in there])
    assert values["relation_accuracy", "", 2].value == pytest.approx(share, abs=0.01)
    assert values["relation_accuracy", "", 2].n == sum(asked[i] for i in there)
    lengths = np.array(sizes)
    away = np.array([is_asked(text) for text in TEXTS])
    edges = sorted({sorted(lengths[~away])[int(np.ceil((sum(~away) - 1) * (k / BINS)))] for k in range(1, BINS)})
    bins = [str(sum(size > edge for edge in edges)) for size in sizes]
    few = {b for b in bins if Counter(np.array(bins)[~away])[b] < 5 or b not in np.array(bins)[away]}
    kept = [i for i, b in enumerate(bins) if b not in few]
    means = torch.stack([states[1].mean(0) for states in alone])
    share = by_scikit_learn(means[kept], [bins[i] for i in kept], away[kept].tolist())
    assert values["length_accuracy", "", 1].value == pytest.approx(share, abs=0.05)
    # the words themselves, as the last layer tells them
    by_tag = Counter((item.group, item.right) for item in items)
    assert len(items) == n and {item.metric for item in items} == {"pos_accuracy"}
    for tag in set(tags):
        assert by_tag[tag, True] == round(values["pos_accuracy", tag, 2].value * values["pos_accuracy", tag, 2].n)
    keys = {key_of(tuple(words_of(text)), i): word for text in TEXTS for i, word in enumerate(words_of(text))}
    assert all(keys[item.key] == item.word for item in items)


def test_levels_are_counted(data, file):
    values, _ = measured(readers.bert(data), source=file)
    known, asked = Counter(), []
    for text in TEXTS:
        for word in words_of(text):
            tag = TAGS.get(word, "VERB")
            asked += [(word, tag)] if is_asked(text) else []
            known[tag] += not is_asked(text)
    common = max(known, key=known.get)
    assert values["pos_accuracy_majority", "", -1].value == np.mean([tag == common for _, tag in asked])
    assert values["pos_accuracy_word_majority", "", -1].value > 0.95  # here a word has one tag, if it came before
    assert ("length_accuracy_word_majority", "", -1) not in values


def test_the_word_that_a_sentence_has_is_one_of_mid_frequency_and_the_only_such_one():
    texts = [f"the ship {i}" for i in range(20)] + [f"the boat {i}" for i in range(14)]
    texts += [f"the ship and boat {i}" for i in range(3)] + [f"the end {i}" for i in range(4)]
    texts += [f"the filler number {i}" for i in range(700)] + [f"the filler number {i} again here" for i in range(200)]
    sentences = [Sentence(tuple(text.split())) for text in texts]
    content, length = linear.sentence_tasks(sentences, [])
    assert content.names == ("boat", "ship") and content.of_sentence
    told = {thing: content.names[label] for thing, label in zip(content.thing.tolist(), content.label, strict=True)}
    assert told == {i: "ship" for i in range(20)} | {i: "boat" for i in range(20, 34)}
    assert length.name == "length"


def test_a_control_tag_belongs_to_the_word_and_is_drawn_as_often_as_tags_are():
    words = tuple(f"w{i % 500}" for i in range(2000))
    label = (np.arange(2000) % 10 == 0).astype(int)
    task = linear.Task("pos", label, ("A", "B"), 1600, np.arange(2000), word=words)
    control = linear._control(task)
    assert all(len({control.label[i] for i in range(w, 2000, 500)}) == 1 for w in range(500))
    assert control.label.mean() == pytest.approx(0.1, abs=0.05) and control.name == "pos_control"


def test_the_full_form_reads_more_and_says_what_a_random_tagging_would(data, file, monkeypatch):
    monkeypatch.setattr(linear, "LIGHT", 60)
    light, _ = measured(readers.bert(data), source=file)
    full, _ = measured(readers.bert(data), source=file, full=True)
    assert light["pos_accuracy", "", 0].n < full["pos_accuracy", "", 0].n
    assert ("pos_selectivity", "", 0) not in light
    for layer in range(3):
        control = full["pos_control_accuracy", "", layer].value
        assert full["pos_selectivity", "", layer].value == full["pos_accuracy", "", layer].value - control
    monkeypatch.setattr(linear, "WORDS", 200)
    few, _ = measured(readers.bert(data), source=file, full=True)
    assert few["pos_accuracy", "", 0].n < 100 < full["pos_accuracy", "", 0].n


def test_the_same_sentences_are_asked_whatever_else_is_in_the_file_and_at_every_step(data, file, tmp_path):
    model = readers.bert(data)
    first = measured(model, source=file)
    assert measured(model, source=file) == first
    path = tmp_path / "other.conllu"
    path.write_text(conllu([*TEXTS[:0:-2], *TEXTS[:30]]))
    _, other = measured(model, source=str(path))
    keys = {item.key for item in first[1]}
    assert other and all(item.key in keys for item in other)
    apart = {key_of(tuple(words_of(text)), i) for text in TEXTS if not is_asked(text) for i in range(30)}
    assert not keys & apart


def test_layers_may_be_solved_in_parts(data, file, monkeypatch):
    model = readers.bert(data)
    together = measured(model, source=file)
    monkeypatch.setattr(linear, "FEATURES", 1)
    assert measured(model, source=file) == together


def test_without_gold_sentences_of_held_out_text_are_measured(tmp_path, caplog):
    data = readers.prepared(tmp_path, texts=readers.documents(300))
    with caplog.at_level(logging.WARNING):
        values, items = measured(readers.bert(data), data=data)
    assert {metric for metric, _, _ in values} >= {"length_accuracy", "length_accuracy_majority"}
    assert not items and not any(metric.startswith(("pos", "relation")) for metric, _, _ in values)
    assert "no file was given: linear=FILE.conllu" in caplog.text


def test_a_file_without_dependencies_and_compressed(data, tmp_path, caplog):
    path = tmp_path / "gold.conllu.gz"
    path.write_bytes(gzip.compress(conllu(TEXTS, dependencies=False).encode()))
    with caplog.at_level(logging.WARNING):
        values, _ = measured(readers.bert(data), source=str(path))
    assert ("pos_accuracy", "", 2) in values and ("relation_accuracy", "", 2) not in values
    assert "the file has no dependencies" in caplog.text


def test_a_class_of_few_words_is_left_out_and_named(data, tmp_path, caplog):
    path = tmp_path / "few.conllu"
    path.write_text(conllu(TEXTS).replace("\tPUNCT\t", "\tSYM\t", 2))
    with caplog.at_level(logging.WARNING):
        values, _ = measured(readers.bert(data), source=str(path))
    assert "the part of speech SYM has " in caplog.text and "too few; it is left out" in caplog.text
    assert not any(group == "SYM" for _, group, _ in values)


def test_sub_types_of_relations_are_one_and_heads_are_read(file):
    first = gold(Path(file))[0]
    assert set(first.relations) <= {"det", "obj", "root"} and len(first.heads) == len(first.words)
    assert first.heads.count(0) <= 1


ROW = "1\tthe\t_\tDET\t_\t_\t{}\t_\t_\n\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1\tthe\tthe\tDET\t_\n\n", r"bad.conllu:1: 5 columns between tabs"),
        (ROW.format("2\tdet"), r"bad.conllu:1: 'the' depends on '2' as 'det'; expected"),
        (ROW.format("x\tdet"), r"bad.conllu:1: 'the' depends on 'x'"),
        (ROW.format("0\t_"), r"bad.conllu:1: 'the' depends on '0' as '_'"),
        (
            ROW.format("0\troot").replace("\n\n", "\n2\ta\t_\tDET\t_\t_\t_\t_\t_\t_\n\n"),
            "only 1 of 2 words have a head",
        ),
        (ROW.format("0\troot"), r"bad.conllu: nothing can be measured: .*part of speech DET has"),
        ("", "the file has no sentence"),
    ],
)
def test_a_bad_file_gets_one_line(data, tmp_path, text, message):
    path = tmp_path / "bad.conllu"
    path.write_text(text)
    with pytest.raises(UserError, match=message):
        measured(readers.bert(data), source=str(path), data=data)


def test_columns_without_dependencies_are_refused(data, tmp_path):
    path = tmp_path / "plain.tsv"
    path.write_text("the\tDET\nhouse\tNOUN\n\n")
    with pytest.raises(UserError, match="fitted to CoNLL-U"):
        measured(readers.bert(data), source=str(path), data=data)


def test_without_text_and_for_models_of_images_there_is_an_error(data):
    with pytest.raises(UserError, match="linear=FILE"):
        measured(readers.bert(data))
    with pytest.raises(UserError, match="no Transformer over text"):
        measured(probed.images()[0])
