"""Vocabularies: what is trained is deterministic and opens in transformers; what is given keeps its special tokens."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, models, normalizers

from sesame.data import pydocs
from sesame.data.encode import SENTENCE, WORD, Encoder
from sesame.data.tokenizer import Vocabulary, train
from sesame.errors import UserError

TEXTS = [text[:4000] for _, text in list(pydocs.documents())[:60]] + ["我们喜欢语言，他们也喜欢。我们的语言。" * 20]
HARD = [
    "Hello [MASK] wörld!",
    "naïve café İstanbul",
    "我们，hello。",
    "a\u200db\x1cc\x0cd",
    "  spaces \n\n and\ttabs ",
    "😀 1/2 ½ ² '’s",
]
TRICKY = " \n\t\u3000ab.A'1我，。《あ々é\u0301\x1c\x85\u200b\u2028"
KINDS = {"wordpiece": 1500, "bytebpe": 800, "chars": 200, "bytes": 0, "words": 900}


@pytest.fixture(scope="module")
def trained() -> dict[str, Vocabulary]:
    return {kind: train(kind, lambda: TEXTS, size) for kind, size in KINDS.items()}


@pytest.mark.parametrize("kind", KINDS)
def test_training_twice_gives_the_same_vocabulary(kind: str, trained: dict[str, Vocabulary]) -> None:
    again = train(kind, lambda: TEXTS, KINDS[kind])
    assert again.hash == trained[kind].hash
    assert again.tokenizer.to_str() == trained[kind].tokenizer.to_str()


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_saved_opens_in_transformers_with_the_same_ids(
    kind: str, trained: dict[str, Vocabulary], tmp_path: Path
) -> None:
    from transformers import AutoTokenizer

    vocabulary = trained[kind]
    vocabulary.save(tmp_path)
    theirs = AutoTokenizer.from_pretrained(tmp_path)
    assert len(theirs) == vocabulary.size
    assert (theirs.cls_token_id, theirs.sep_token_id, theirs.pad_token_id) == (
        vocabulary.cls,
        vocabulary.sep,
        vocabulary.pad,
    )
    assert theirs.mask_token_id == vocabulary.mask
    for text, ids in zip(HARD, vocabulary.encode_batch(HARD, special=True), strict=True):
        assert theirs(text)["input_ids"] == [vocabulary.cls, *ids, vocabulary.sep]
    pair = theirs("one", "two")
    a, b = vocabulary.encode_batch(["one", "two"])
    assert pair["input_ids"] == [vocabulary.cls, *a, vocabulary.sep, *b, vocabulary.sep]
    if kind == "wordpiece":
        assert pair["token_type_ids"] == [0] * (len(a) + 2) + [1] * (len(b) + 1)
    again = Vocabulary.open(tmp_path)
    assert again.hash == vocabulary.hash and again.special == vocabulary.special


def test_wordpiece_is_berts(trained: dict[str, Vocabulary], tmp_path: Path) -> None:
    vocabulary = trained["wordpiece"]
    assert vocabulary.size == 1500
    assert vocabulary.special_ids.tolist() == [0, 1, 2, 3, 4]
    names = vocabulary.tokens(vocabulary.encode_batch(["Thé list。我们喜欢"])[0])
    assert names[:2] == ["the", "list"] and names[-4:] == ["我", "们", "喜", "欢"]
    vocabulary.save(tmp_path)
    (tmp_path / "tokenizer.json").unlink()
    assert Vocabulary.open(tmp_path / "vocab.txt").encode_batch(HARD) == vocabulary.encode_batch(HARD)


def test_a_vocabulary_of_words_has_the_frequent_ones_first(tmp_path: Path) -> None:
    texts = ["the cat saw the dog.", "The dog saw.", "a cat"] * 3 + ["the rare one"]
    vocabulary = train("words", lambda: texts, min_count=3)
    assert vocabulary.tokens(range(5, vocabulary.size)) == ["the", ".", "cat", "dog", "saw", "a"]
    assert train("words", lambda: texts, 8, min_count=3).tokens([5, 6, 7]) == ["the", ".", "cat"]
    assert vocabulary.tokens(vocabulary.encode_batch(["The RARE dog."])[0]) == ["the", "[UNK]", "dog", "."]
    cased = train("words", lambda: texts, lowercase=False, min_count=3)
    assert {"The", "the"} <= set(cased.tokens(range(cased.size)))
    with pytest.raises(UserError, match="No word of the corpus occurs 5 times"):
        train("words", lambda: ["one", "two"])


@pytest.mark.parametrize("kind", ["bytebpe", "bytes"])
def test_byte_level_text_comes_back(kind: str, trained: dict[str, Vocabulary]) -> None:
    assert [trained[kind].decode(ids) for ids in trained[kind].encode_batch(HARD)] == HARD


def test_a_mask_stands_where_a_token_with_its_space_stood(trained: dict[str, Vocabulary], tmp_path: Path) -> None:
    """In training a mask replaces " list", space and all; what is asked afterwards must look the same."""
    from transformers import AutoTokenizer

    vocabulary = trained["bytebpe"]
    around, asked = vocabulary.encode_batch(["Return the", "Return the <mask> of"], special=True)
    assert asked[: len(around) + 1] == [*around, vocabulary.mask]
    assert vocabulary.encode_batch(["<mask>Return"], special=True)[0][0] == vocabulary.mask
    vocabulary.save(tmp_path)
    assert AutoTokenizer.from_pretrained(tmp_path)("Return the <mask> of")["input_ids"][1:-1] == asked
    in_bytes = trained["bytes"].tokens(trained["bytes"].encode_batch(["a <mask>"], special=True)[0])
    assert in_bytes == ["a", "Ġ", "<mask>"]  # each byte is a token, the space too


@pytest.mark.parametrize("kind", KINDS)
def test_offsets_say_where_each_token_stands_in_the_text_as_it_was(kind: str, trained: dict[str, Vocabulary]) -> None:
    vocabulary = trained[kind]
    for text, (ids, offsets) in zip(HARD, vocabulary.encode_with_offsets(HARD), strict=True):
        assert ids.tolist() == vocabulary.encode_batch([text])[0]
        assert (np.diff(offsets, axis=0) >= 0).all()
        covered = {i for begin, end in offsets for i in range(begin, end)}
        assert covered >= {i for i, c in enumerate(text) if c.isalnum()}
        for token, (begin, end) in zip(vocabulary.tokens(ids), offsets, strict=True):
            if token.isascii() and token.isalpha() and text[begin:end].isascii():  # no mark for a byte
                assert text[begin:end].lower() == token.lower()
    assert all(len(ids) == len(offsets) == 0 for ids, offsets in vocabulary.encode_with_offsets([""]))


def test_special_tokens_named_in_a_text_are_text_unless_asked(trained: dict[str, Vocabulary]) -> None:
    vocabulary = trained["wordpiece"]
    assert vocabulary.mask not in vocabulary.encode_batch(["a [MASK] b"])[0]
    assert vocabulary.encode_batch(["a [MASK] b"], special=True)[0][1] == vocabulary.mask


def test_a_vocabulary_that_the_corpus_cannot_fill_is_said_with_what_it_fills() -> None:
    with pytest.raises(UserError, match=r"fills a vocabulary of (\d+) pieces, 5,000 were asked") as said:
        train("wordpiece", lambda: ["a small corpus, a small corpus indeed"], 5000)
    size = int(str(said.value).split("vocabulary of ")[1].split()[0])
    assert train("wordpiece", lambda: ["a small corpus, a small corpus indeed"], size).size == size
    assert train("wordpiece", lambda: ["a small corpus, a small corpus indeed"]).size == size  # none was asked for
    with pytest.raises(UserError, match="cannot hold"):
        train("wordpiece", lambda: TEXTS, 30)


def test_a_tokenizer_cut_for_padding_and_truncation_gives_whole_texts(trained: dict[str, Vocabulary]) -> None:
    tokenizer = Tokenizer.from_str(trained["wordpiece"].tokenizer.to_str())
    tokenizer.enable_truncation(4)
    tokenizer.enable_padding(length=128)
    assert Vocabulary(tokenizer).encode_batch(HARD) == trained["wordpiece"].encode_batch(HARD)


def test_what_is_no_tokenizer_is_said(tmp_path: Path) -> None:
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(UserError, match="not a tokenizer"):
        Vocabulary.open(tmp_path)
    (tmp_path / "vocab.txt").write_text("a\nb\n")
    with pytest.raises(UserError, match=r"\[PAD\]"):
        Vocabulary.open(tmp_path / "vocab.txt")
    with pytest.raises(UserError, match="no such"):
        Vocabulary.open(tmp_path / "none.json")
    without = Vocabulary(Tokenizer(models.WordLevel({"a": 0}, unk_token="a")))
    with pytest.raises(UserError, match="no mask token"):
        _ = without.mask


# ------------------------------------------------------------------------------------------- Encoder
def generic(vocabulary: Vocabulary) -> Vocabulary:
    """The same words from a tokenizer that cannot be cut into pieces."""
    tokenizer = Tokenizer.from_str(vocabulary.tokenizer.to_str())
    tokenizer.normalizer = normalizers.Sequence([tokenizer.normalizer])
    return Vocabulary(tokenizer)


@pytest.mark.parametrize("kind", KINDS)
def test_pieces_give_the_librarys_own_ids(kind: str, trained: dict[str, Vocabulary]) -> None:
    vocabulary = trained[kind]
    encoder = Encoder(vocabulary)
    assert encoder.pattern is not None

    @settings(max_examples=60, deadline=None)
    @given(st.lists(st.text(max_size=30) | st.text(TRICKY, max_size=30)))
    def check(texts: list[str]) -> None:
        found = encoder(texts)
        expected = vocabulary.encode_batch(texts)
        assert found.ids.tolist() == [i for ids in expected for i in ids]
        assert found.lengths.tolist() == [len(ids) for ids in expected]

    check()
    found = encoder(TEXTS)
    assert found.ids.tolist() == [i for ids in vocabulary.encode_batch(TEXTS) for i in ids]


def test_a_tokenizer_that_cannot_be_cut_gives_the_same(trained: dict[str, Vocabulary]) -> None:
    whole = Encoder(generic(trained["wordpiece"]))
    assert whole.pattern is None
    ours, theirs = Encoder(trained["wordpiece"])(TEXTS), whole(TEXTS)
    assert np.array_equal(ours.ids, theirs.ids) and np.array_equal(ours.lengths, theirs.lengths)
    assert np.array_equal(ours.flags & WORD, theirs.flags & WORD)
    assert ((ours.flags ^ theirs.flags) & SENTENCE).mean() < 0.001


def test_flags_mark_words_and_sentences(trained: dict[str, Vocabulary]) -> None:
    encoder = Encoder(trained["wordpiece"])
    text = "Returns unbelievably long strings. 我们喜欢。他们也。"
    for batch in ([text], ["Before. It.", text]):
        found = encoder(batch)
        ids, flags = found.ids[-found.lengths[-1] :], found.flags[-found.lengths[-1] :]
        names = trained["wordpiece"].tokens(ids)
        assert [bool(f & WORD) for f in flags] == [not name.startswith("##") for name in names]
        assert any(name.startswith("##") for name in names)
        assert [names[i] for i in np.flatnonzero(flags & SENTENCE)] == [names[0], "我", "他"]
    assert Encoder(trained["wordpiece"])(["", " \n"]).lengths.tolist() == [0, 0]


def test_a_byte_level_word_takes_its_space(trained: dict[str, Vocabulary]) -> None:
    for kind in ("bytebpe", "bytes", "chars"):
        found = Encoder(trained[kind])(["of unbelievable"])
        words = np.split(found.ids, np.flatnonzero(found.flags & WORD)[1:])
        assert [trained[kind].decode(w) for w in words] == ["of", " unbelievable"]


def test_forgetting_pieces_changes_nothing(trained: dict[str, Vocabulary], monkeypatch: pytest.MonkeyPatch) -> None:
    once = Encoder(trained["wordpiece"])(TEXTS)
    monkeypatch.setattr("sesame.data.encode._MOST_PIECES", 100)
    encoder = Encoder(trained["wordpiece"])
    parts = [encoder([text]) for text in TEXTS]
    assert np.array_equal(np.concatenate([p.ids for p in parts]), once.ids)
    assert np.array_equal(np.concatenate([p.flags for p in parts]), once.flags)
