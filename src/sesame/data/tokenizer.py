"""Vocabularies: trained on your text or given, as one object that knows its special tokens and its hash.

The work is done by the `tokenizers` library. What is saved opens in `transformers.AutoTokenizer` with the same ids.
"""

import hashlib
import json
import os
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
from jaxtyping import Int
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

from sesame.errors import UserError, nearest

Kind = Literal["wordpiece", "bytebpe", "chars", "bytes", "words"]

BERT_SPECIAL = {"pad": "[PAD]", "unk": "[UNK]", "cls": "[CLS]", "sep": "[SEP]", "mask": "[MASK]"}
ROBERTA_SPECIAL = {"cls": "<s>", "pad": "<pad>", "sep": "</s>", "unk": "<unk>", "mask": "<mask>"}
_KNOWN = {  # what published vocabularies call them, in order of preference
    "pad": ("[PAD]", "<pad>", "<|padding|>", "<|pad|>"),
    "unk": ("[UNK]", "<unk>"),
    "cls": ("[CLS]", "<s>", "<|startoftext|>", "<|endoftext|>"),
    "sep": ("[SEP]", "</s>", "<|endoftext|>"),
    "mask": ("[MASK]", "<mask>"),
    "bos": (),
    "eos": (),
}
_COVERAGE = 0.9999
"""Share of a corpus's characters that a WordPiece alphabet spells; the rest would fill it with what is seen once."""
_STAND_IN = {"bos": "cls", "eos": "sep", "cls": "bos", "sep": "eos", "pad": "sep"}
"""Whose token does the work where a vocabulary has none of its own (GPT-2 has one token for everything)."""


class Vocabulary:
    """A tokenizer with the ids of its special tokens: `pad`, `unk`, `cls`, `sep`, `mask`, `bos`, `eos`.

    Asking for a special token that the vocabulary lacks raises UserError.
    """

    def __init__(self, tokenizer: Tokenizer, special: dict[str, str] | None = None):
        """`special` maps a role ("mask") to its token; roles left out are recognised by their published names."""
        tokenizer.no_truncation()
        tokenizer.no_padding()
        self.tokenizer = tokenizer
        named = {role: token for role, token in (special or {}).items() if tokenizer.token_to_id(token) is not None}
        for role, known in _KNOWN.items():
            found = next((token for token in known if tokenizer.token_to_id(token) is not None), None)
            if role not in named and found is not None:
                named[role] = found
        self.special = named
        self.ids = {role: id for role, token in named.items() if (id := tokenizer.token_to_id(token)) is not None}

    # ------------------------------------------------------------------------------------- ids
    @cached_property
    def size(self) -> int:
        """Ids run from 0 to size - 1; gaps in a given vocabulary count."""
        return max(self.tokenizer.get_vocab(with_added_tokens=True).values(), default=-1) + 1

    def _id(self, role: str) -> int:
        for name in (role, _STAND_IN.get(role, role)):
            if name in self.ids:
                return self.ids[name]
        raise UserError(
            f"This vocabulary has no {role} token (it has {', '.join(self.special.values()) or 'no special token'}). "
            f"Give one that has, or train one with `sesame data prepare`."
        )

    pad = property(lambda self: self._id("pad"))
    unk = property(lambda self: self._id("unk"))
    cls = property(lambda self: self._id("cls"))
    sep = property(lambda self: self._id("sep"))
    mask = property(lambda self: self._id("mask"))
    bos = property(lambda self: self._id("bos"))
    eos = property(lambda self: self._id("eos"))

    @cached_property
    def begin(self) -> tuple[int, ...]:
        """What a text begins with: its start token, and nothing in a vocabulary that has none (T5's)."""
        return (self.cls,) if {"cls", "bos"} & self.ids.keys() else ()

    @property
    def decoder_begin(self) -> int:
        """What a decoder reads before its first token: the end token, as in BART; the padding where texts have no start
        token, as in T5."""
        return int(self.sep if self.begin else self.pad)

    @cached_property
    def special_ids(self) -> Int[np.ndarray, " special"]:
        """Ids that are no text, ascending: the roles above and whatever else the tokenizer marks as special."""
        marked = {i for i, token in self.tokenizer.get_added_tokens_decoder().items() if token.special}
        return np.array(sorted(marked | {self._id(role) for role in self.special}), np.int64)

    @cached_property
    def sentinels(self) -> Int[np.ndarray, " sentinel"]:
        """Ids of <extra_id_0>, <extra_id_1> …, which stand for spans of text in T5 (Raffel et al. 2020, 3.1.4)."""
        found: list[int] = []
        while (number := self.tokenizer.token_to_id(f"<extra_id_{len(found)}>")) is not None:
            found.append(number)
        return np.array(found, np.int64)

    def with_sentinels(self, count: int) -> "Vocabulary":
        """The same vocabulary with at least so many sentinels; those that it lacks come after all its other tokens."""
        have = len(self.sentinels)
        if have >= count:
            return self
        tokenizer = Tokenizer.from_str(self.tokenizer.to_str())
        names = [f"<extra_id_{i}>" for i in range(have, count)]
        tokenizer.add_special_tokens([AddedToken(name, special=True, normalized=False) for name in names])
        made = Vocabulary(tokenizer, self.special)
        if made.size != self.size + len(names):
            raise UserError("This vocabulary numbers its tokens with gaps, so no sentinels can be added to it.")
        return made

    @cached_property
    def hash(self) -> str:
        """32 hex digits that change when any id of any text could."""
        told = json.dumps([json.loads(self.tokenizer.to_str()), self.special], sort_keys=True, ensure_ascii=False)
        return hashlib.blake2b(told.encode(), digest_size=16).hexdigest()

    @property
    def kind(self) -> str:
        """The model's name in the tokenizers library: WordPiece, BPE, Unigram, WordLevel."""
        return type(self.tokenizer.model).__name__

    # ------------------------------------------------------------------------------------- text
    @cached_property
    def plain(self) -> Tokenizer:
        """The same tokenizer for text that is only text: "[MASK]" in it is five characters of somebody's prose."""
        tokenizer = Tokenizer.from_str(self.tokenizer.to_str())
        tokenizer.encode_special_tokens = True
        return tokenizer

    def encode_batch(self, texts: Sequence[str], special: bool = False) -> list[list[int]]:
        """Ids of each text, nothing added. With `special`, names of special tokens in the text mean those tokens."""
        tokenizer = self.tokenizer if special else self.plain
        return [e.ids for e in tokenizer.encode_batch_fast(list(texts), add_special_tokens=False)]

    def encode_with_offsets(
        self, texts: Sequence[str]
    ) -> list[tuple[Int[np.ndarray, " token"], Int[np.ndarray, "token 2"]]]:
        """Ids of each text, nothing added, and where in it each token stands: its first character, and the one after
        its last. The pieces of a character that takes several tokens all stand where the character does."""
        found = self.plain.encode_batch(list(texts), add_special_tokens=False)
        return [(np.array(e.ids, np.int64), np.array(e.offsets, np.int64).reshape(-1, 2)) for e in found]

    def decode(self, ids: Iterable[int] | np.ndarray, skip_special: bool = False) -> str:
        """Text that reads like what the ids came from."""
        return self.tokenizer.decode([int(i) for i in ids], skip_special_tokens=skip_special)

    def tokens(self, ids: Iterable[int] | np.ndarray) -> list[str]:
        """The name of each id, `<none>` for a gap."""
        return [self.tokenizer.id_to_token(int(i)) or "<none>" for i in ids]

    # ------------------------------------------------------------------------------------- files
    def save(self, folder: str | Path) -> None:
        """Write tokenizer.json, tokenizer_config.json and, for WordPiece, vocab.txt; AutoTokenizer opens the folder."""
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        self.tokenizer.save(str(folder / "tokenizer.json"))
        pairs = "token_type_ids" if self.kind == "WordPiece" else None
        config: dict[str, Any] = {
            "tokenizer_class": "PreTrainedTokenizerFast",
            "model_max_length": 10**30,  # the model has a limit, the vocabulary has none
            "clean_up_tokenization_spaces": False,
            "model_input_names": [n for n in ("input_ids", pairs, "attention_mask") if n],
            **{f"{role}_token": token for role, token in self.special.items()},
        }
        normalizer = json.loads(self.tokenizer.to_str())["normalizer"] or {}
        if "lowercase" in normalizer:
            config["do_lower_case"] = normalizer["lowercase"]
        (folder / "tokenizer_config.json").write_text(json.dumps(config, indent=2, ensure_ascii=False) + "\n")
        if self.kind == "WordPiece":
            lines = "".join(f"{token}\n" for token in self.tokens(range(self.size)))
            (folder / "vocab.txt").write_text(lines, encoding="utf-8")

    @classmethod
    def open(cls, where: str | Path) -> "Vocabulary":
        """From a tokenizer.json, a vocab.txt (BERT's), a folder that holds one, or the name of a model on the hub."""
        path = Path(where)
        if path.is_dir():
            return _open_folder(path)
        if path.is_file():
            return _open_vocab_txt(path) if path.suffix == ".txt" else _open_json(path)
        if path.suffix in (".json", ".txt") or str(where).startswith((".", "/", "~")):
            raise UserError(f"{where}: no such tokenizer file or folder.")
        return _open_folder(_download(str(where)))


# ------------------------------------------------------------------------------------------ opening
def _open_folder(folder: Path) -> Vocabulary:
    if (folder / "tokenizer.json").is_file():
        return _open_json(folder / "tokenizer.json")
    if (folder / "vocab.txt").is_file():
        return _open_vocab_txt(folder / "vocab.txt")
    if (folder / "tokenizer").is_dir():  # a token store or a run
        return _open_folder(folder / "tokenizer")
    raise UserError(f"{folder}: holds neither tokenizer.json nor vocab.txt. Give the folder of a saved tokenizer.")


def _open_json(path: Path) -> Vocabulary:
    try:
        tokenizer = Tokenizer.from_file(str(path))
    except Exception as error:  # the library raises bare Exception
        raise UserError(f"{path}: not a tokenizer of the tokenizers library ({error}).") from error
    config = _config(path.parent)
    special = {}
    for role in _KNOWN:
        token = config.get(f"{role}_token")
        special[role] = token.get("content") if isinstance(token, dict) else token
    return Vocabulary(tokenizer, {role: token for role, token in special.items() if isinstance(token, str)})


def _open_vocab_txt(path: Path) -> Vocabulary:
    try:
        tokens = path.read_text(encoding="utf-8").splitlines()
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: not UTF-8 at byte {error.start}. A vocab.txt holds one token a line.") from error
    missing = [token for token in BERT_SPECIAL.values() if token not in tokens]
    if missing:
        raise UserError(f"{path}: a BERT vocabulary has a line {missing[0]}, this one has none.")
    lowercase = _config(path.parent).get("do_lower_case", "A" not in tokens)
    return Vocabulary(wordpiece({token: i for i, token in enumerate(tokens)}, lowercase=bool(lowercase)), BERT_SPECIAL)


def _config(folder: Path) -> dict[str, Any]:
    path = folder / "tokenizer_config.json"
    if not path.is_file():
        return {}
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise UserError(f"{path}: not JSON ({error}).") from error
    return config if isinstance(config, dict) else {}


def _download(name: str) -> Path:
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError, HfHubHTTPError, HFValidationError

    found = None
    try:
        for file in ("tokenizer_config.json", "tokenizer.json", "vocab.txt"):
            try:
                found = Path(hf_hub_download(name, file)).parent
            except EntryNotFoundError:
                continue
    except (HfHubHTTPError, HFValidationError, OSError) as error:
        raise UserError(
            f"{name}: no such file or folder here, and the hub did not give it ({str(error).splitlines()[0]}). "
            f"Give a tokenizer.json, a vocab.txt or a folder that holds one."
        ) from error
    if found is None:
        raise UserError(f"{name}: on the hub, but without tokenizer.json or vocab.txt.")
    return found


# ------------------------------------------------------------------------------------------ training
USUAL = 8192
"""Entries of a vocabulary where no number is asked for and the corpus fills as many."""


MIN_COUNT = 5
"""Times that a word must occur to be in a vocabulary of words (word2vec's default)."""


def train(
    kind: Kind,
    texts: Callable[[], Iterable[str]],
    size: int = 0,
    lowercase: bool = True,
    min_count: int = MIN_COUNT,
) -> Vocabulary:
    """Train a vocabulary of `size` entries, special tokens included, on what `texts()` yields (it is read twice).

    The same texts give the same vocabulary, byte for byte. A corpus that cannot fill `size` raises UserError; with 0
    there are 8,192 entries, or what the corpus fills. `bytes` has a size of its own, and `chars` at most `size`.
    `words` has the words that occur `min_count` times, the most frequent ones first: all, or at most `size`.
    """
    asked, size = size, size or USUAL
    if kind not in get_args(Kind):
        raise UserError(f"{kind}: no such kind of tokenizer.{nearest(kind, get_args(Kind))}")
    if kind == "bytes":
        return Vocabulary(byte_level(_numbered([*ROBERTA_SPECIAL.values(), *_byte_letters()]), []), ROBERTA_SPECIAL)
    if kind == "chars":
        return Vocabulary(characters(_common_characters(texts(), size)), BERT_SPECIAL)
    if kind == "words":
        return Vocabulary(word_level(_common_words(texts(), asked, lowercase, min_count), lowercase), BERT_SPECIAL)
    trained = _train_wordpiece(texts, size, lowercase) if kind == "wordpiece" else _train_bytebpe(texts, size)
    if trained.size < asked:
        raise UserError(
            f"The corpus fills a vocabulary of {trained.size:,} pieces, {asked:,} were asked for. "
            f"Ask for --vocab {trained.size} at most, or give more text."
        )
    return trained


def _train_wordpiece(texts: Callable[[], Iterable[str]], size: int, lowercase: bool) -> Vocabulary:
    """WordPiece as the tokenizers library trains it, made deterministic.

    Its trainer numbers the continued characters (##a) in the order of a hash map and breaks ties by number, so it is
    given them, sorted, as if they were special tokens, and the vocabulary is put into a tokenizer where they are not.
    """
    blank = wordpiece(_numbered(BERT_SPECIAL.values()), lowercase)
    letters: Counter[str] = Counter()
    for text in texts():
        letters.update(blank.normalizer.normalize_str(text))
    alphabet = _alphabet(letters, size // 2)
    pieces = [*BERT_SPECIAL.values(), *alphabet, *(f"##{c}" for c in alphabet if not _stands_alone(c))]
    if len(pieces) > size:
        raise UserError(
            f"A vocabulary of {size:,} cannot hold the corpus's {len(alphabet):,} common characters. "
            f"Ask for --vocab {2 * len(pieces)} or more."
        )
    trainer = trainers.WordPieceTrainer(
        vocab_size=size,
        special_tokens=pieces,
        initial_alphabet=alphabet,
        limit_alphabet=len(alphabet),
        min_frequency=2,
        show_progress=False,
    )
    blank.train_from_iterator(texts(), trainer)
    ids = blank.get_vocab(with_added_tokens=False)
    return Vocabulary(wordpiece(_numbered(sorted(ids, key=ids.__getitem__)), lowercase), BERT_SPECIAL)


def _alphabet(letters: Counter[str], most: int) -> list[str]:
    """The most frequent characters, sorted: at most `most`, and none from the rarest 0.01% of the text."""
    ranked = sorted((c for c in letters if not c.isspace()), key=lambda c: (-letters[c], c))
    counts = np.cumsum([letters[c] for c in ranked])
    covered = int(np.searchsorted(counts, _COVERAGE * counts[-1])) + 1 if ranked else 0
    return sorted(ranked[: min(covered, most)])


def _train_bytebpe(texts: Callable[[], Iterable[str]], size: int) -> Vocabulary:
    """Byte-level BPE; its trainer is deterministic, because the alphabet of 256 bytes is given."""
    blank = byte_level(_numbered(ROBERTA_SPECIAL.values()), [])
    trainer = trainers.BpeTrainer(
        vocab_size=size,
        special_tokens=list(ROBERTA_SPECIAL.values()),
        initial_alphabet=_byte_letters(),
        min_frequency=2,
        show_progress=False,
    )
    blank.train_from_iterator(texts(), trainer)
    model = json.loads(blank.to_str())["model"]
    merges = [tuple(pair) for pair in model["merges"]]
    return Vocabulary(byte_level(model["vocab"], merges), ROBERTA_SPECIAL)


def _common_characters(texts: Iterable[str], size: int) -> dict[str, int]:
    """The special tokens and the most frequent characters, at most `size` together."""
    letters: Counter[str] = Counter()
    for text in texts:
        letters.update(text)
    ranked = sorted(letters, key=lambda c: (-letters[c], c))[: max(size - len(BERT_SPECIAL), 0)]
    return _numbered([*BERT_SPECIAL.values(), *ranked])


def _common_words(texts: Iterable[str], size: int, lowercase: bool, min_count: int) -> dict[str, int]:
    """The special tokens and the most frequent words, at most `size` together (0: all that occur `min_count` times)."""
    cutter = word_level(_numbered(BERT_SPECIAL.values()), lowercase)
    words: Counter[str] = Counter()
    for text in texts:
        words.update(w for w, _ in cutter.pre_tokenizer.pre_tokenize_str(cutter.normalizer.normalize_str(text)))
    ranked = sorted((w for w, n in words.items() if n >= min_count), key=lambda w: (-words[w], w))
    if not ranked:
        raise UserError(
            f"No word of the corpus occurs {min_count} times. Ask for a smaller --min-count, or give more text."
        )
    return _numbered([*BERT_SPECIAL.values(), *ranked[: size - len(BERT_SPECIAL) if size else None]])


# ------------------------------------------------------------------------------------- constructions
def wordpiece(vocab: dict[str, int], lowercase: bool) -> Tokenizer:
    """BERT's tokenizer (Devlin et al. 2019): control characters cleaned, a Chinese character is a word; with
    `lowercase`, accents are stripped too."""
    tokenizer = Tokenizer(models.WordPiece(vocab, unk_token="[UNK]", max_input_chars_per_word=100))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=lowercase)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    return _with_special(tokenizer, BERT_SPECIAL)


def byte_level(vocab: dict[str, int], merges: list[tuple[str, str]]) -> Tokenizer:
    """RoBERTa's tokenizer: GPT-2's pre-tokens as bytes, merged. Without merges, every byte is a token.

    A merged token has the space before it, and so has the mask that stands for one, as RoBERTa's does.
    """
    tokenizer = Tokenizer(models.BPE(vocab, merges))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    return _with_special(tokenizer, ROBERTA_SPECIAL, spaced_mask=bool(merges))


def word_level(vocab: dict[str, int], lowercase: bool) -> Tokenizer:
    """Whole words, cut and normalised as BERT's are: a punctuation mark and a Chinese character are words."""
    tokenizer = Tokenizer(models.WordLevel(vocab, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=lowercase)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    return _with_special(tokenizer, BERT_SPECIAL)


def characters(vocab: dict[str, int]) -> Tokenizer:
    """Every character, spaces included, is a token."""
    tokenizer = Tokenizer(models.WordLevel(vocab, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(r"[\s\S]"), "isolated")
    tokenizer.decoder = decoders.Fuse()
    return _with_special(tokenizer, BERT_SPECIAL)


def _with_special(tokenizer: Tokenizer, special: dict[str, str], spaced_mask: bool = False) -> Tokenizer:
    """Its special tokens, and [CLS] A [SEP] (B [SEP]) for `transformers`. A spaced mask has spaces before it."""
    tokenizer.add_special_tokens(
        [AddedToken(token, special=True, normalized=False, lstrip=spaced_mask and role == "mask")
         for role, token in special.items()]
    )  # fmt: skip
    cls, sep = special["cls"], special["sep"]
    pair = f"{cls} $A {sep} $B:1 {sep}:1"
    ids = [(token, tokenizer.token_to_id(token)) for token in (cls, sep)]
    tokenizer.post_processor = processors.TemplateProcessing(single=f"{cls} $A {sep}", pair=pair, special_tokens=ids)
    return tokenizer


def _numbered(tokens: Iterable[str]) -> dict[str, int]:
    return {token: i for i, token in enumerate(tokens)}


def _byte_letters() -> list[str]:
    return sorted(pre_tokenizers.ByteLevel.alphabet())


def _stands_alone(character: str) -> bool:
    """Whether BERT's pre-tokenizer makes it a word of its own, so that it never continues one."""
    return [piece for piece, _ in _SPLITTER.pre_tokenize_str(_SPACER.normalize_str(f"a{character}"))] == [
        "a",
        character,
    ]


_SPACER = normalizers.BertNormalizer(lowercase=False, clean_text=False)
_SPLITTER = pre_tokenizers.BertPreTokenizer()
os.environ.setdefault("TOKENIZERS_PARALLELISM", "true")  # said aloud, or a later fork makes the library warn
