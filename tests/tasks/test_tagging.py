"""Every word is read once, at its first sub-word, whatever the tokenizer and however long the sentence."""

from itertools import chain
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sesame.config import Tagging as Config
from sesame.data.tokenizer import Vocabulary, train
from sesame.errors import UserError
from sesame.tasks.base import Notes
from sesame.tasks.conll import Sentence
from sesame.tasks.sequences import batch_of
from sesame.tasks.tagging import Tagging, sub_words

TEXTS = ["The naïve cat's café, the unbelievable list; it isn't there. 我们喜欢语言。", "these believe in cats"] * 3
KINDS = {"wordpiece": 75, "bytebpe": 270, "chars": 60, "bytes": 0}
VOCABULARIES: dict[str, Vocabulary] = {kind: train(kind, lambda: TEXTS, size) for kind, size in KINDS.items()}
NAMES = ("ADJ", "NOUN", "VERB")

word = st.text("abelist'.,-é1X", min_size=1, max_size=9)
sentences = st.lists(st.lists(word, min_size=1, max_size=12), min_size=1, max_size=4)
kinds = st.sampled_from(list(KINDS))


def sentence(words: list[str], tags: list[str] | None = None, first: int = 1) -> Sentence:
    lines = tuple(range(first, first + len(words)))
    return Sentence(str(first), f"file:{first}", tuple(words), None if tags is None else tuple(tags), lines)


def tagged(text: str, first: int = 1) -> Sentence:
    """A sentence from word/tag pairs."""
    pairs = [pair.rsplit("/", 1) for pair in text.split()]
    return sentence([word for word, _ in pairs], [tag for _, tag in pairs], first)


# ------------------------------------------------------------------------------------------- words and sub-words
@settings(max_examples=60, deadline=None)
@given(kinds, st.lists(word, min_size=1, max_size=8))
def test_the_words_tokens_are_those_of_the_running_text(kind: str, words: list[str]) -> None:
    vocabulary = VOCABULARIES[kind]
    (found,) = sub_words([words], vocabulary, Notes())
    assert [i for word in found for i in word.ids] == vocabulary.encode_batch([" ".join(words)])[0]
    firsts = vocabulary.tokens(word.ids[word.first] for word in found)
    marks = {" ", "Ġ"}  # how a space alone is written
    assert not marks.intersection(firsts)


@pytest.mark.parametrize("kind", KINDS)
def test_words_of_scripts_without_spaces_are_joined_without_them(kind: str) -> None:
    vocabulary = VOCABULARIES[kind]
    (found,) = sub_words([["我们", "喜欢", "cats", "。"]], vocabulary, Notes())
    assert [i for word in found for i in word.ids] == vocabulary.encode_batch(["我们喜欢 cats 。"])[0]


def test_a_word_that_the_tokenizer_leaves_out_is_unknown_and_counted() -> None:
    vocabulary, notes = VOCABULARIES["wordpiece"], Notes()
    (found, _) = sub_words([["the", "\x01", "cat"], ["\x01"]], vocabulary, notes)
    assert found[1].ids == [vocabulary.unk]
    assert dict(notes.counts) == {"words that the tokenizer leaves out, read as [UNK]": 1 + 1}


@settings(max_examples=80, deadline=None)
@given(kinds, sentences, st.integers(4, 20))
def test_sequences_hold_every_word_once_in_order_and_read_its_first_sub_word(
    kind: str, texts: list[list[str]], length: int
) -> None:
    vocabulary, notes = VOCABULARIES[kind], Notes()
    task = Tagging(Config(), NAMES)
    examples = [sentence(words, [NAMES[len(word) % 3] for word in words]) for words in texts]
    made = task.encode(examples, vocabulary, length, notes)
    assert made.lengths.max() <= length and not made.kind.any()
    expected = sub_words(texts, vocabulary, Notes())

    several = longer = 0
    for i, words in enumerate(expected):
        mine = np.flatnonzero(made.owner == i)
        several += len(mine) > 1
        unread = iter(words)
        for s in mine:
            ids = made.ids[made.offsets[s] : made.offsets[s + 1]].tolist()
            assert ids[0] == vocabulary.cls and ids[-1] == vocabulary.sep
            at = 1
            for position in made.read[made.read_offsets[s] : made.read_offsets[s + 1]].tolist():
                word = next(unread)
                cut = word.ids[: length - 2]
                longer += len(cut) < len(word.ids)
                assert ids[at : at + len(cut)] == cut
                assert position == at + word.first and ids[position] == word.ids[word.first]
                at += len(cut)
            assert at == len(ids) - 1
        assert next(unread, None) is None
    assert made.target is not None
    assert made.target.tolist() == [NAMES.index(tag) for tag in chain.from_iterable(s.tags or () for s in examples)]
    counted = {"sentences longer than a sequence, read in parts": several, "words longer than a sequence, cut": longer}
    assert dict(notes.counts) == {name: count for name, count in counted.items() if count}


def test_a_sentence_is_cut_only_where_the_next_word_does_not_fit() -> None:
    task, vocabulary = Tagging(Config(), NAMES), VOCABULARIES["chars"]
    made = task.encode([sentence(["the", "list", "is", "the"])], vocabulary, 10, Notes())  # 3, 5, 3 and 4 characters
    assert made.lengths.tolist() == [10, 9] and made.owner.tolist() == [0, 0] and made.target is None
    with pytest.raises(UserError, match="sequences of 3 tokens hold no word"):
        task.encode([sentence(["the"])], vocabulary, 3, Notes())


# ------------------------------------------------------------------------------------- head, loss, predictions
@settings(max_examples=40, deadline=None)
@given(sentences, st.integers(4, 20), st.integers(0, 2**32 - 1))
def test_decoding_is_the_best_tag_of_each_word(texts: list[list[str]], length: int, seed: int) -> None:
    task = Tagging(Config(), NAMES)
    examples = [sentence(words) for words in texts]
    made = task.encode(examples, VOCABULARIES["bytes"], length, Notes())
    scores = np.random.default_rng(seed).normal(size=(len(made.read), 3)).astype(np.float32)
    expected: list[list[str]] = [[] for _ in examples]
    for s in range(len(made)):
        for r in range(made.read_offsets[s], made.read_offsets[s + 1]):
            expected[made.owner[s]].append(max(zip(scores[r].tolist(), NAMES, strict=True))[1])
    assert task.decode(examples, made, scores) == [tuple(tags) for tags in expected]


def test_the_loss_is_the_summed_cross_entropy_of_all_words() -> None:
    task = Tagging(Config(), NAMES)
    examples = [tagged("the/ADJ cat/NOUN lists/VERB"), tagged("cats/NOUN")]
    made = task.encode(examples, VOCABULARIES["bytebpe"], 30, Notes())
    batch = batch_of(made, np.array([1, 0]), pad=0)
    torch.manual_seed(0)
    scores = task.head(8, 0.0)(torch.randn(4, 8), batch)
    assert scores.shape == (4, 3)
    term = task.loss(scores, batch)
    chosen = [1, 0, 1, 2]  # NOUN; ADJ NOUN VERB
    log = scores - scores.exp().sum(1, keepdim=True).log()
    assert term.count == 4
    torch.testing.assert_close(term.sum, -sum(log[i, tag] for i, tag in enumerate(chosen)))
    assert term.hits is not None and term.hits.item() == (scores.argmax(1) == torch.tensor(chosen)).sum().item()


# ------------------------------------------------------------------------------------------ labels and scores
def test_labels_are_those_of_training_and_there_are_two_or_more() -> None:
    assert Tagging.labels_of(Config(), [tagged("cats/NOUN sleep/VERB"), tagged("the/DET")]) == ("DET", "NOUN", "VERB")
    with pytest.raises(UserError, match=r"file:1: every word .* has the tag NOUN; two"):
        Tagging.labels_of(Config(), [tagged("cats/NOUN")])
    with pytest.raises(UserError, match=r"file:1: entity F1 needs the tags B-.* there are NOUN, VERB\. Choose"):
        Tagging.labels_of(Config(metric="entity_f1"), [tagged("cats/NOUN sleep/VERB")])


def test_a_tag_never_seen_in_training_is_said_with_its_line_or_skipped_and_counted() -> None:
    task = Tagging(Config(), ("NOUN", "VERB"))
    good, bad = tagged("cats/NOUN", 1), tagged("cats/NOUN the/NOUM", 7)
    with pytest.raises(UserError, match=r"^file:8: 'the' has the tag 'NOUM', .*Did you mean NOUN\?$"):
        task.check([good, bad], Notes())
    notes = Notes(skip=True)
    assert task.check([good, bad], notes) == [good]
    assert dict(notes.counts) == {"skipped: a tag never seen in training": 1}
    with pytest.raises(UserError, match="no sentence is left whose tags were all seen in training"):
        task.check([bad], notes)


def test_what_is_measured_follows_from_the_tags() -> None:
    assert Tagging(Config(), NAMES).metric == "accuracy"
    assert Tagging(Config(), ("B-PER", "I-PER", "O")).metric == "entity_f1"
    assert Tagging(Config(metric="accuracy"), ("B-PER", "I-PER", "O")).metric == "accuracy"


def test_scores_of_tags_and_of_entities() -> None:
    examples = [tagged("a/ADJ b/NOUN"), tagged("c/VERB")]
    assert Tagging(Config(), NAMES).metrics(examples, [("ADJ", "VERB"), ("VERB",)]) == {"accuracy": 2 / 3}
    names = Tagging(Config(), ("B-LOC", "B-PER", "I-PER", "O"))
    examples = [tagged("a/B-PER b/I-PER c/O d/B-LOC"), tagged("e/B-LOC")]
    found = names.metrics(examples, [("B-PER", "O", "O", "B-LOC"), ("B-LOC",)])
    assert next(iter(found)) == "entity_f1"
    assert found == pytest.approx(
        {
            "entity_f1": 2 / 3,
            "entity_precision": 2 / 3,
            "entity_recall": 2 / 3,
            "accuracy": 4 / 5,
            "entity_f1/LOC": 1.0,
            "entity_f1/PER": 0.0,
        }
    )


def test_predictions_are_written_as_they_are_read(tmp_path: Path) -> None:
    task = Tagging(Config(), NAMES)
    examples = [sentence(["the", "cat"]), sentence(["lists"])]
    predicted = [("ADJ", "NOUN"), ("VERB",)]
    task.write(examples, predicted, tmp_path / "out.txt")
    assert (tmp_path / "out.txt").read_text() == "the\tADJ\ncat\tNOUN\n\nlists\tVERB\n\n"
    assert [s.tags for s in Tagging.read(Config(), tmp_path / "out.txt", Notes())] == predicted
