"""Classes and numbers for texts and pairs: sequences as `transformers` makes them, BERT's head, losses, predictions."""

from itertools import chain

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from small_model import PIECES, WORDS, make

from sesame import config
from sesame.data.tokenizer import BERT_SPECIAL, Vocabulary, wordpiece
from sesame.errors import UserError
from sesame.tasks.base import Notes
from sesame.tasks.classification import Choice, Classification, PooledHead, Regression, Value, fitting
from sesame.tasks.sequences import batch_of
from sesame.tasks.tables import TextExample

VOCABULARY = Vocabulary(wordpiece({piece: i for i, piece in enumerate(PIECES)}, lowercase=True), BERT_SPECIAL)
SINGLE, PAIR = config.Classification(), config.Classification(text="a", pair="b")

words = st.lists(st.sampled_from(WORDS.split()), min_size=1, max_size=12).map(" ".join)


def example(text="the list", pair=None, label=None, line=2):
    return TextExample(str(line), f"t.tsv:{line}", text, pair, label)


def encode(task, examples, length=16):
    notes = Notes()
    return task.encode(examples, VOCABULARY, length, notes), notes


# ------------------------------------------------------------------------------------------ sequences
@pytest.fixture(scope="module")
def bert(tmp_path_factory):
    transformers = pytest.importorskip("transformers")
    folder = tmp_path_factory.mktemp("vocabulary")
    VOCABULARY.save(folder)
    return transformers.BertTokenizerFast.from_pretrained(folder)


@settings(max_examples=40, deadline=None)
@given(rows=st.lists(st.tuples(words, words), min_size=1, max_size=4), length=st.integers(5, 27), paired=st.booleans())
def test_sequences_are_those_of_transformers_cut_longest_first(bert, rows, length, paired):
    task = Classification(PAIR if paired else SINGLE, ("no", "yes"))
    found, notes = encode(task, [example(a, b if paired else None) for a, b in rows], length)
    a, b = ([row[side] for row in rows] for side in (0, 1))
    texts = (a, b) if paired else (a,)
    expected = bert(*texts, truncation="longest_first", max_length=length)
    assert found.ids.tolist() == list(chain.from_iterable(expected.input_ids))
    assert found.kind.tolist() == list(chain.from_iterable(expected.token_type_ids))
    assert found.lengths.tolist() == [len(ids) for ids in expected.input_ids]
    cut = sum(len(ids) > length for ids in bert(*texts).input_ids)
    assert notes.counts == ({f"cut to {length} tokens": cut} if cut else {})


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 30), st.integers(0, 30), st.integers(2, 40))
def test_a_pair_is_cut_as_bert_cuts_it_but_for_who_is_given_an_odd_token(a, b, room):
    """`_truncate_seq_pair` of BERT's run_classifier.py: the longer one loses its last token, in a tie the second."""
    kept = fitting(a, b, room)
    while a + b > room:
        a, b = (a - 1, b) if a > b else (a, b - 1)
    assert sum(kept) == a + b
    assert max(abs(kept[0] - a), abs(kept[1] - b)) <= room % 2


@pytest.mark.parametrize("paired", [False, True])
def test_the_first_position_or_all_of_them_are_read(paired):
    examples = [example("the list", "of" if paired else None), example("a", "value sorted" if paired else None)]
    columns = {"text": "a", "pair": "b"} if paired else {}
    first, _ = encode(Classification(config.Classification(pooling="first", **columns)), examples)
    assert (first.read.tolist(), first.read_offsets.tolist()) == ([0, 0], [0, 1, 2])
    every, _ = encode(Classification(config.Classification(pooling="mean", **columns)), examples)
    assert every.read_offsets.tolist() == every.offsets.tolist()
    assert every.read.tolist() == [i for size in every.lengths for i in range(size)]
    assert every.owner.tolist() == [0, 1]


def test_targets_are_the_numbers_of_the_labels_where_every_one_is_known():
    task = Classification(SINGLE, ("maybe", "no", "yes"))
    found, _ = encode(task, [example(label="yes"), example(label="maybe")])
    assert found.target.tolist() == [2, 0]
    for label in (None, "never seen"):
        assert encode(task, [example(label="yes"), example(label=label)])[0].target is None


@pytest.mark.parametrize(("paired", "least"), [(False, 3), (True, 5)])
def test_a_length_without_room_for_text_is_refused(paired, least):
    task = Classification(PAIR if paired else SINGLE)
    assert encode(task, [example("the", "list" if paired else None)], least)[0].lengths.tolist() == [least]
    with pytest.raises(UserError, match=f"{least - 1} tokens are too few for .* Give a length of {least} or more"):
        encode(task, [example("the", "list" if paired else None)], least - 1)


# ----------------------------------------------------------------------------------------------- head
@pytest.mark.parametrize("pooling", ["mean", "first", "last"])
def test_the_head_gives_what_each_sequence_gives_alone(pooling):
    """Sequence by sequence with plain loops: pool, dense, tanh, linear."""
    backbone = make().objective.backbone.eval()
    task = Classification(config.Classification(pooling=pooling), ("a", "b", "c"))
    sequences, _ = encode(task, [example(" ".join(WORDS.split()[:n])) for n in (9, 1, 4, 2, 9, 5)])
    head = task.head(backbone.width, 0.1).eval()
    chosen = np.array([4, 1, 0, 5, 3])
    batch = batch_of(sequences, chosen, VOCABULARY.pad)
    with torch.no_grad():
        found = head(backbone(batch.rows, batch.at).last[batch.order], batch)
        for scores, number in zip(found, chosen, strict=True):
            alone = batch_of(sequences, np.array([number]), VOCABULARY.pad)
            states = backbone(alone.rows).last[alone.rows.valid]
            pooled = sum(states) / len(states) if pooling == "mean" else states[0 if pooling == "first" else -1]
            expected = head.out.weight @ torch.tanh(head.dense.weight @ pooled + head.dense.bias) + head.out.bias
            torch.testing.assert_close(scores, expected, atol=1e-5, rtol=1e-5)
    assert found.shape == (5, 3)


def test_a_fresh_head_starts_as_bert_does():
    torch.manual_seed(0)
    head = PooledHead(256, 4, "mean", 0.3)
    assert head.dropout.p == 0.3
    for linear in (head.dense, head.out):
        assert linear.bias.abs().max() == 0
        assert linear.weight.std().item() == pytest.approx(0.02, rel=0.1)
    assert head.out.weight.shape == (4, 256)


# ----------------------------------------------------------------------------------- loss, predictions
def test_the_loss_is_the_sum_of_cross_entropies_and_hits_are_counted():
    task = Classification(SINGLE, ("a", "b", "c"))
    sequences, _ = encode(task, [example(label=label) for label in "abcab"])
    batch = batch_of(sequences, np.array([3, 0, 1, 2]), VOCABULARY.pad)
    scores = torch.randn(4, 3, generator=torch.Generator().manual_seed(0))
    term = task.loss(scores, batch)
    target = torch.tensor([0, 0, 1, 2])
    torch.testing.assert_close(term.sum / term.count, F.cross_entropy(scores, target))
    assert (term.count, int(term.hits)) == (4, int((scores.argmax(1) == target).sum()))


@settings(max_examples=30, deadline=None)
@given(st.lists(st.lists(st.floats(-500, 500, width=32), min_size=3, max_size=3), min_size=1, max_size=5))
def test_predictions_are_the_best_label_and_its_softmax(rows):
    task = Classification(SINGLE, ("a", "b", "c"))
    examples = [example()] * len(rows)
    sequences, _ = encode(task, examples)
    found = task.decode(examples, sequences, np.array(rows, np.float32))
    expected = torch.tensor(rows, dtype=torch.float64).softmax(-1).max(-1).values.tolist()
    assert [choice.probability for choice in found] == pytest.approx(expected)
    assert all(row["abc".index(choice.label)] == max(row) for row, choice in zip(rows, found, strict=True))


def test_classes_are_scored_by_all_three_metrics():
    task = Classification(config.Classification(metric="matthews"), ("a", "b"))
    examples = [example(label=label) for label in "aabb"]
    found = task.metrics(examples, [Choice(label, 1.0) for label in "aaab"])
    assert found == pytest.approx({"accuracy": 0.75, "macro_f1": (0.8 + 2 / 3) / 2, "matthews": 1 / 3**0.5})
    assert task.metric == "matthews"


# --------------------------------------------------------------------------------------------- numbers
def numbers(*values):
    return [example(f"item {i}", label=str(value), line=i + 2) for i, value in enumerate(values)]


def test_numbers_are_learned_standardised_and_given_back_in_their_units():
    train = numbers(10, 20, 20, 30.5)
    labels = Regression.labels_of(config.Regression(), train)
    task = Regression(config.Regression(), labels)
    sequences, _ = encode(task, train)
    assert sequences.target.dtype == np.float32
    assert (sequences.target.mean(), sequences.target.std()) == pytest.approx((0, 1), abs=1e-6)
    again = Regression(config.Regression(), tuple(str(label) for label in labels))  # as a file keeps them
    assert again.scale == task.scale == (np.mean([10, 20, 20, 30.5]), np.std([10, 20, 20, 30.5]))
    found = again.decode(train, sequences, sequences.target[:, None])
    assert [v.value for v in found] == pytest.approx([10, 20, 20, 30.5], abs=1e-5)
    assert again.metrics(train, found) == pytest.approx({"pearson": 1, "spearman": 1})


def test_the_loss_of_numbers_is_the_sum_of_squares_in_deviations():
    train = numbers(1, 2, 6)
    task = Regression(config.Regression(), Regression.labels_of(config.Regression(), train))
    sequences, _ = encode(task, train)
    batch = batch_of(sequences, np.arange(3), VOCABULARY.pad)
    assert float(task.loss(torch.zeros(3, 1), batch).sum) == pytest.approx(3)  # the mean costs 1 an example
    scores = torch.randn(3, 1, generator=torch.Generator().manual_seed(0))
    expected = F.mse_loss(scores[:, 0], batch.target, reduction="sum")
    torch.testing.assert_close(task.loss(scores, batch).sum, expected)
    assert task.loss(scores, batch).count == 3
    assert task.head(32, 0.1).out.out_features == 1
    assert encode(task, [example()])[0].target is None


# -------------------------------------------------------------------------------- files and bad input
def written(tmp_path, content):
    path = tmp_path / "t.tsv"
    path.write_text(content, encoding="utf-8")
    return path


def test_labels_are_those_of_training_sorted_and_one_alone_is_refused(tmp_path):
    path = written(tmp_path, "text\tlabel\nx\tno\ny\tyes\nz\tno\n")
    train = Classification.read(SINGLE, path, Notes())
    assert Classification.labels_of(SINGLE, train) == ("no", "yes")
    with pytest.raises(UserError, match=r"t.tsv: all 2 training examples have the label 'no', so there is nothing"):
        Classification.labels_of(SINGLE, [train[0], train[2]])
    with pytest.raises(UserError, match=r"t.tsv: all 2 training examples have the label '2', so there is nothing"):
        Regression.labels_of(config.Regression(), numbers(2, 2))


def test_a_label_never_seen_in_training_is_named_with_the_nearest_or_skipped():
    task = Classification(SINGLE, ("entailment", "neutral"))
    dev = [example(label="neutral", line=2), example(label="entailmant", line=3)]
    with pytest.raises(UserError) as caught:
        task.check(dev, Notes())
    assert str(caught.value) == ("t.tsv:3: no training example has the label 'entailmant'. Did you mean entailment?")
    notes = Notes(skip=True)
    assert task.check(dev, notes) == dev[:1]
    assert notes.counts == {"skipped: label never seen in training": 1}
    with pytest.raises(UserError, match="no example is left"):
        task.check(dev[1:], Notes(skip=True))


@pytest.mark.parametrize("label", ["high", "nan", "inf", "1,5"])
def test_a_label_that_is_no_number_is_named_or_skipped(tmp_path, label):
    path = written(tmp_path, f"text\tlabel\nx\t1\ny\t{label}\n")
    with pytest.raises(UserError, match=rf"t.tsv:3: the label '{label}' is no finite number"):
        Regression.read(config.Regression(), path, Notes())
    assert [e.label for e in Regression.read(config.Regression(), path, Notes(), labelled=False)] == ["1", None]
    notes = Notes(skip=True)
    assert [e.label for e in Regression.read(config.Regression(), path, notes)] == ["1"]
    assert notes.counts == {"skipped: label is no number": 1}
    path = written(tmp_path, f"text\tlabel\ny\t{label}\n")
    with pytest.raises(UserError, match="the column 'label' has no number in any row"):
        Regression.read(config.Regression(), path, Notes(skip=True))


@pytest.mark.parametrize("name", ["out.tsv", "out.csv", "out.jsonl.gz"])
def test_written_predictions_are_examples_again_in_the_same_columns(tmp_path, name):
    examples = [example("the list", "of items", "no", 2), example("a value", "sorted", "yes", 3)]
    Classification(PAIR, ("no", "yes")).write(examples, [Choice("no", 0.75), Choice("no", 0.5)], tmp_path / name)
    again = Classification.read(config.Classification(text="a", pair="b", key="key"), tmp_path / name, Notes())
    assert [(e.key, e.text, e.pair, e.label) for e in again] == [(e.key, e.text, e.pair, e.label) for e in examples]
    predicted = config.Classification(text="a", pair="b", label="prediction")
    assert [e.label for e in Classification.read(predicted, tmp_path / name, Notes())] == ["no", "no"]
    Regression(config.Regression(), ("0.0", "1.0")).write([example()], [Value(2.5)], tmp_path / name)
    again = Regression.read(config.Regression(label="prediction"), tmp_path / name, Notes())
    assert [e.label for e in again] == ["2.5"]


# --------------------------------------------------------------------------------- without a backbone
def test_majority_and_tfidf_of_classes():
    train = [example(f"{word} {label}", label=label) for label in ("no", "yes", "yes") for word in WORDS.split()]
    test = [example("list no"), example("value yes")]
    task = Classification(SINGLE, ("no", "yes"))
    assert task.majority(train, test) == [Choice("yes", 2 / 3)] * 2
    assert [choice.label for choice in task.lexical(train, test)] == ["no", "yes"]


def test_majority_and_tfidf_of_numbers():
    train = [example(f"{word} {size}", label=str(k)) for k, size in enumerate(("low", "mid", "top")) for word in "abc"]
    test = [example("d top"), example("d low")]
    task = Regression(config.Regression(), Regression.labels_of(config.Regression(), train))
    assert task.majority(train, test) == [Value(1.0)] * 2
    top, low = task.lexical(train, test)
    assert low.value < 0.5 < 1.5 < top.value


# ------------------------------------------------------------------------------------------- causal backbones
def test_a_model_that_reads_from_left_to_right_is_read_at_its_last_position():
    task = Classification(config.Classification(text="a"), ("no", "yes"))
    assert task.suited(True).config.pooling == "last"
    assert task.suited(False).config.pooling == "mean"
    first = Classification(config.Classification(text="a", pooling="first"), ("no", "yes"))
    assert first.suited(True) is first
    last, _ = encode(task.suited(True), [example("the list"), example("a")])
    assert (last.read + last.offsets[:-1]).tolist() == (last.offsets[1:] - 1).tolist()
    assert last.ids[last.offsets[1:] - 1].tolist() == [VOCABULARY.sep] * 2
