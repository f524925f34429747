"""Text to token ids, where words start and where sentences start, as fast as the text repeats itself.

BERT's and GPT-2's pre-tokenizers cut text at places that can be told without looking at the rest, so encoding a text is
encoding its pieces one by one. Text repeats its pieces: each is encoded once by the tokenizers library (on all cores),
remembered, and looked up from then on, which costs less than encoding. Tokenizers that cannot be cut so go through the
library as they are. Both ways give the library's own ids.
"""

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np
from jaxtyping import Bool, Int, UInt8
from tokenizers import Encoding

from sesame.data import sentences
from sesame.data.tokenizer import Vocabulary

WORD, SENTENCE = 1, 2
"""Bits of a token's flag: a word starts here, a sentence starts here."""

_IDEOGRAPHS = (
    "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0002a6df"
    "\U0002a700-\U0002b81f\U0002b920-\U0002ceaf\U0002f800-\U0002fa1f"
)
"""What the tokenizers library takes for a Chinese character, gaps included."""
_CJK = "\u3000-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7af\uf900-\ufaff\uff00-\uffef\U00020000-\U0002fa1f"
_PUNCTUATION = "、。〃〈-】〔-〟！＂＃％-＊，－．／：；？"
_ASCII = r"!-/:-@\[-`{-~"  # all that is no letter or digit
_SPACE = "\t\n\r \u00a0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000"
_BERT_PIECES = re.compile(
    rf"[{_SPACE}]?(?:[{_IDEOGRAPHS}{_PUNCTUATION}{_ASCII}]|[^{_SPACE}{_IDEOGRAPHS}{_PUNCTUATION}{_ASCII}]+)|[{_SPACE}]+"
)
"""White space belongs to what follows; ideographs and punctuation stand alone.
BERT removes control characters, so those that Python takes for white space separate nothing."""
_GPT2_SPACE = rf"{_SPACE}\x0b\x0c\x85"
_GPT2_PIECES = re.compile(
    rf" ?[^{_GPT2_SPACE}{_PUNCTUATION}]*[{_PUNCTUATION}]+(?=[\u4e00-\u9fff])"
    rf"| ?[^{_GPT2_SPACE}]+|[{_GPT2_SPACE}]+(?![^{_GPT2_SPACE}])|[{_GPT2_SPACE}]+"
)
"""GPT-2's pattern takes all white space but a last space, and never joins punctuation to a letter after it."""
_CHARACTER_PIECES = re.compile(rf"[{_CJK}]| ?[^\s{_CJK}]+|\s")
_MOST_PIECES = 1 << 17
"""Pieces remembered at a time; beyond, memory starts afresh, so it stays flat whatever the corpus."""


@dataclass(frozen=True)
class Encoded:
    """A batch of documents, one after the other."""

    ids: Int[np.ndarray, " token"]
    flags: UInt8[np.ndarray, " token"]
    lengths: Int[np.ndarray, " document"]
    """Tokens in each document."""


class Encoder:
    """Encodes batches of documents; remembers pieces from one batch to the next."""

    def __init__(self, vocabulary: Vocabulary):
        self.vocabulary = vocabulary
        self.pattern, self.piece_is_word = _pieces(vocabulary)
        self.normalised = _normalised(vocabulary) if self.pattern is _BERT_PIECES else None
        self._forget()

    def __call__(self, texts: Sequence[str]) -> Encoded:
        """Ids and flags of `texts`; special tokens named in a text are text."""
        begins = [np.array(sentences.starts(text), np.int64) for text in texts]
        return self._whole(texts, begins) if self.pattern is None else self._by_piece(texts, begins)

    # ---------------------------------------------------------------------------------- piece by piece
    def _by_piece(self, texts: Sequence[str], begins: list[np.ndarray]) -> Encoded:
        assert self.pattern is not None
        if len(self.table) > _MOST_PIECES:
            self._forget()
        parts = [self.pattern.findall(text) for text in texts]
        counts = np.array([len(part) for part in parts], np.int64)
        piece = np.fromiter(map(self.table.__getitem__, chain.from_iterable(parts)), np.int64, int(counts.sum()))
        self._learn()

        length = self.length[piece]
        token_at = _before(length)  # first token of each piece; one more than pieces
        source = np.repeat(self.start[piece] - token_at[:-1], length) + np.arange(token_at[-1])
        piece_at = _before(counts)
        document_at = token_at[piece_at]
        ids, flags = self.ids[source], self.words[source].astype(np.uint8)

        # A sentence that starts inside a piece ("。《") starts with the next one: tokens are never split.
        character_at = _before(self.characters[piece])
        text_at = _before(np.array([len(text) for text in texts], np.int64))
        where = np.concatenate([b + at for b, at in zip(begins, text_at, strict=False)] or [np.zeros(0, np.int64)])
        first = token_at[np.searchsorted(character_at[:-1], where)]
        flags[first[first < len(ids)]] |= SENTENCE
        flags[document_at[:-1][np.diff(document_at) > 0]] |= SENTENCE
        return Encoded(ids, flags, np.diff(document_at))

    def _forget(self) -> None:
        self.table = _Table()
        self.start = self.length = self.characters = np.zeros(0, np.int64)
        self.ids = np.zeros(0, np.int32)
        self.words = np.zeros(0, bool)

    def _learn(self) -> None:
        """Encode the pieces met for the first time."""
        new, self.table.new = self.table.new, []
        words = [self.normalised(piece) for piece in new] if self.normalised else [""] * len(new)
        plain = self.vocabulary.plain
        alone = [[token.id for token in plain.model.tokenize(word)] for word in words if word]
        found = plain.encode_batch(
            [p for p, word in zip(new, words, strict=True) if not word], add_special_tokens=False
        )

        is_alone = np.array([bool(word) for word in words], bool)
        length_alone = np.array([len(ids) for ids in alone], np.int64)
        length_found = np.array([len(encoding) for encoding in found], np.int64)
        length, start = np.empty((2, len(new)), np.int64)
        length[is_alone], length[~is_alone] = length_alone, length_found
        start[is_alone] = _before(length_alone)[:-1]
        start[~is_alone] = length_alone.sum() + _before(length_found)[:-1]
        self.start = np.concatenate([self.start, len(self.ids) + start])
        self.length = np.concatenate([self.length, length])
        self.characters = np.concatenate([self.characters, np.array([len(p) for p in new], np.int64)])
        ids = np.fromiter(chain(chain.from_iterable(alone), chain.from_iterable(e.ids for e in found)), np.int32)
        self.ids = np.concatenate([self.ids, ids])
        starts = _first(length_found) if self.piece_is_word else _word_starts(found, length_found)
        self.words = np.concatenate([self.words, _first(length_alone), starts])

    # -------------------------------------------------------------------------------------- as a whole
    def _whole(self, texts: Sequence[str], begins: list[np.ndarray]) -> Encoded:
        found = self.vocabulary.plain.encode_batch(list(texts), add_special_tokens=False)
        lengths = np.array([len(e) for e in found], np.int64)
        ids = np.fromiter(chain.from_iterable(e.ids for e in found), np.int32, int(lengths.sum()))
        flags = np.zeros(len(ids), np.uint8)
        flags |= _word_starts(found, lengths)
        for at, encoding, begin in zip(_before(lengths), found, begins, strict=False):
            if len(encoding):
                here = flags[at : at + len(encoding)]
                first = np.searchsorted([a for a, _ in encoding.offsets], begin)
                here[first[first < len(here)]] |= SENTENCE
                here[0] |= SENTENCE
        return Encoded(ids, flags, lengths)


class _Table(dict[str, int]):
    """Numbers pieces in order of appearance and keeps the new ones for later."""

    def __init__(self) -> None:
        super().__init__()
        self.new: list[str] = []

    def __missing__(self, piece: str) -> int:
        number = self[piece] = len(self)
        self.new.append(piece)
        return number


def _word_starts(found: Sequence[Encoding], lengths: Int[np.ndarray, " text"]) -> Bool[np.ndarray, " token"]:
    """True where the tokenizer's own word (pre-token) changes, and where a text begins."""
    words = np.array([-1 if w is None else w for w in chain.from_iterable(e.word_ids for e in found)], np.int64)
    starts = np.diff(words, prepend=-2) != 0
    return starts | _first(lengths)


def _first(lengths: Int[np.ndarray, " text"]) -> Bool[np.ndarray, " token"]:
    """True at the first token of each text."""
    first = np.zeros(int(lengths.sum()), bool)
    first[_before(lengths)[:-1][lengths > 0]] = True
    return first


def _before(counts: Int[np.ndarray, " n"]) -> Int[np.ndarray, " n1"]:
    """How much comes before each of the things that `counts` counts, and the total at the end."""
    return np.concatenate([np.zeros(1, np.int64), np.cumsum(counts)])


def _pieces(vocabulary: Vocabulary) -> tuple[re.Pattern[str] | None, bool]:
    """The pattern that cuts text where `vocabulary` can be cut, or None; and whether a piece is a word of it.

    Every condition is one under which encoding is known to be piece by piece: anything else is encoded as a whole.
    """
    told = json.loads(vocabulary.tokenizer.to_str())
    if any(not token["special"] for token in told["added_tokens"]):
        return None, False  # they may hold white space
    normalizer, cutter = told["normalizer"], told["pre_tokenizer"]
    if cutter == {"type": "BertPreTokenizer"} and (normalizer or {}).get("type") == "BertNormalizer":
        if normalizer["handle_chinese_chars"] and normalizer["clean_text"]:
            return _BERT_PIECES, False
    elif normalizer is None and (cutter or {}).get("type") == "ByteLevel" and not cutter["add_prefix_space"]:
        if told["model"].get("merges") == [] and told["model"]["type"] == "BPE":
            return _CHARACTER_PIECES, True  # every byte by itself
        if cutter["use_regex"]:
            return _GPT2_PIECES, False
    elif normalizer is None and cutter == _EVERY_CHARACTER and told["model"]["type"] == "WordLevel":
        return _CHARACTER_PIECES, True
    return None, False


def _normalised(vocabulary: Vocabulary) -> Callable[[str], str]:
    """What BERT's normaliser makes of a piece that is one word of ASCII letters and digits; "" for any other piece.

    Such a word goes to the model straight away, which takes a third of the time of the whole tokenizer.
    """
    lowercase = json.loads(vocabulary.tokenizer.to_str())["normalizer"]["lowercase"]

    def normalised(piece: str) -> str:
        word = piece.lstrip(" \n")
        if not (word.isascii() and word.isalnum()):
            return ""
        return word.lower() if lowercase else word

    return normalised


_EVERY_CHARACTER = {"type": "Split", "pattern": {"Regex": r"[\s\S]"}, "behavior": "Isolated", "invert": False}
