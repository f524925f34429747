"""Sources to a token store: a sample of the text trains the tokenizer, then every document is encoded.

Memory holds a few batches of documents, the pieces that each core's encoder remembers and, while a tokenizer is
trained, the sample.
"""

import hashlib
import heapq
import json
import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, Literal, cast, get_args

import numpy as np

from sesame.data import chance
from sesame.data.encode import SENTENCE
from sesame.data.parallel import document_key, parts
from sesame.data.sources import Document, Skips, SourceOptions, documents, fingerprint
from sesame.data.store import VERSION, SourceInfo, StoreInfo, StoreWriter, read_info
from sesame.data.tokenizer import MIN_COUNT, Kind, Vocabulary, train
from sesame.errors import UserError

log = logging.getLogger(__name__)

Progress = Callable[[str, int, int], None]
"""Called with what is being done ("sampling", "training", "encoding"), and documents and characters so far."""


def prepare(
    sources: Sequence[str | Path],
    out: str | Path,
    *,
    tokenizer: str | Path = "wordpiece",
    vocab: int = 0,
    lowercase: bool = True,
    min_count: int = MIN_COUNT,
    document: Literal["blank-line", "file"] = "blank-line",
    text_field: str = "text",
    held_out: float = 0.01,
    sample_mb: float = 32.0,
    sample_exponent: float = 1.0,
    skip_bad: bool = False,
    progress: Progress | None = None,
) -> StoreInfo:
    """Turn text into a token store in the folder `out`, and say what is in it.

    Args:
        sources: files, folders, globs, `hf:NAME[/CONFIG]`, `pydocs`; each is one source (a language, say).
        tokenizer: a kind to train (wordpiece, bytebpe, chars, bytes, words), or a tokenizer.json, a vocab.txt, a folder
            that holds one, a model's name on the hub.
        vocab: entries of a trained vocabulary, special tokens included; 0 for 8,192, or what the corpus fills; of words
            0 for all.
        lowercase: lower case and no accents, as BERT's uncased models; for WordPiece and words.
        min_count: for words: how often a word must occur in the sample to be in the vocabulary.
        document: in plain text, a blank line starts a new document, or a file is one.
        text_field: field or column that holds the text.
        held_out: share of documents that training never sees, chosen by a hash of their text.
        sample_mb: millions of characters that a tokenizer is trained on; beyond, documents are sampled by hash.
        sample_exponent: sources have a share of that sample proportional to size**exponent (multilingual BERT: 0.7).
        skip_bad: leave out what cannot be read, count and report it, instead of stopping.
        progress: told how far it is.

    The same call again returns what is there. UserError for bad input, for an `out` that holds anything else, and for a
    vocabulary that the corpus cannot fill; nothing is left behind then.
    """
    names, out = [str(source) for source in sources], Path(out)
    if not names:
        raise UserError("No source was given. Give files, folders, globs, hf:NAME or pydocs.")
    if not 0 <= held_out < 1:
        raise UserError(f"held_out is {held_out:g}; a share from 0 up to, but not including, 1 was expected.")
    told = [tokenizer, vocab, lowercase, document, text_field, held_out, sample_mb, sample_exponent, skip_bad]
    if str(tokenizer) == "words":
        told.append(min_count)
    made_from = _digest([VERSION, [str(t) for t in told], fingerprint([*names, *_tokenizer_file(tokenizer)])])
    if (there := _already(out, made_from)) is not None:
        return there

    tell = progress or (lambda what, documents, characters: None)
    options = SourceOptions(document=document, text_field=text_field, skip_bad=skip_bad)
    if str(tokenizer) in get_args(Kind):
        sample = [] if tokenizer == "bytes" else _sample(names, options, int(sample_mb * 1e6), sample_exponent, tell)
        tell("training", 0, 0)
        vocabulary = train(cast(Kind, str(tokenizer)), lambda: sample, vocab, lowercase, min_count)
        del sample
    else:
        vocabulary = Vocabulary.open(tokenizer)
    return _encode(names, options, vocabulary, out, held_out, made_from, tell)


# ------------------------------------------------------------------------------------------------ reuse
def _digest(told: Any) -> str:
    return hashlib.blake2b(json.dumps(told).encode(), digest_size=16).hexdigest()


def _tokenizer_file(tokenizer: str | Path) -> list[str]:
    """The given tokenizer, where it is a file or a folder: another content is another store."""
    path = Path(tokenizer)
    folders = (path, path / "tokenizer")  # of a run or a store
    files = [path] if path.is_file() else [f / name for f in folders for name in ("tokenizer.json", "vocab.txt")]
    return [str(file) for file in files if file.is_file()]


def _already(out: Path, made_from: str) -> StoreInfo | None:
    """What `out` holds, where it was made from the same; UserError where it holds anything else."""
    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        return None
    if not (out / "store.json").is_file():
        raise UserError(f"{out} exists and is no token store; nothing was written. Choose another --out.")
    info = read_info(out)
    if info.made_from != made_from:
        raise UserError(
            f"{out} holds a token store made from other text or with other settings; nothing was overwritten. "
            f"Choose another --out, or delete the folder first; to train on it as it is, give it to --data."
        )
    log.info("%s was made from the same text with the same settings and is used as it is", out)
    return info


# ------------------------------------------------------------------------------------------------ sample
class _Sample:
    """At most `most` characters of the documents seen so far, those whose hash is lowest: no position is preferred.

    Sources share the room in proportion to size**exponent. The share of a source falls as it grows, so what was
    dropped is never missed later.
    """

    def __init__(self, sources: int, most: int, exponent: float):
        self.most, self.exponent = most, exponent
        self.kept: list[list[tuple[float, str]]] = [[] for _ in range(sources)]  # heaps, highest hash first
        self.held, self.seen = np.zeros(sources), np.zeros(sources)

    def add(self, document: Document) -> None:
        number = -float(chance.uniform("sample", document_key(document.text.encode())))
        heapq.heappush(self.kept[document.source], (number, document.text))
        self.held[document.source] += len(document.text)
        self.seen[document.source] += len(document.text)
        while self.held.sum() > self.most:
            over = int(np.argmax(self.held / np.maximum(self.share(), 1e-12)))
            if len(self.kept[over]) == 1:
                break
            self.held[over] -= len(heapq.heappop(self.kept[over])[1])

    def share(self) -> np.ndarray:
        """The share of the sample that each source should have."""
        weight = np.where(self.seen > 0, np.maximum(self.seen, 1) ** self.exponent, 0)
        return weight / max(weight.sum(), 1e-12)

    def texts(self) -> Iterator[str]:
        """The sample; documents of a source that is too small for its share are repeated, as multilingual BERT did.

        A fraction of a repetition is a chance, decided by the document's hash.
        """
        times = self.share() * self.held.sum() / np.maximum(self.held, 1)
        for kept, often in zip(self.kept, times, strict=True):
            for number, text in sorted(kept, reverse=True):
                for _ in range(int(often + 1 + number)):
                    yield text


def _sample(names: list[str], options: SourceOptions, most: int, exponent: float, tell: Progress) -> list[str]:
    sample = _Sample(len(names), most, exponent)
    count = characters = 0
    for document in documents(names, options, Skips()):
        sample.add(document)
        count, characters = count + 1, characters + len(document.text)
        if count % 1000 == 0:
            tell("sampling", count, characters)
    if not count:
        raise _nothing(names)
    return list(sample.texts())


def _nothing(names: list[str]) -> UserError:
    return UserError(f"{', '.join(names)}: no text was found. Give files that hold some.")


# ------------------------------------------------------------------------------------------------ encode
def _encode(
    names: list[str],
    options: SourceOptions,
    vocabulary: Vocabulary,
    out: Path,
    held_out: float,
    made_from: str,
    tell: Progress,
) -> StoreInfo:
    skips = Skips()
    unknown_id = vocabulary.ids.get("unk", -1)
    per_source = np.zeros((len(names), 3), np.int64)  # documents, tokens, characters
    histogram = np.zeros(64, np.int64)
    size = sentences = unknown = 0
    encoded = parts(documents(names, options, skips), vocabulary)
    with StoreWriter(out, vocabulary) as writer, closing(encoded):
        for part in encoded:
            for where in part.no_token:
                skips.add("no token", where)
            writer.append(part.ids, part.flags, part.lengths, part.keys, part.source)

            counts = np.stack([np.ones_like(part.lengths), part.lengths, part.characters], axis=1)
            np.add.at(per_source, part.source, counts)
            histogram += np.bincount(np.floor(np.log2(part.lengths)).astype(np.int64), minlength=64)
            size += part.bytes
            sentences += int(np.count_nonzero(part.flags & SENTENCE))
            unknown += int(np.count_nonzero(part.ids == unknown_id))
            tell("encoding", writer.documents, int(per_source[:, 2].sum()))
        if not writer.documents:
            raise _nothing(names)
        used = int(np.flatnonzero(histogram).max()) + 1
        info = writer.finish(
            held_out,
            made_from=made_from,
            characters=int(per_source[:, 2].sum()),
            bytes=size,
            sentences=sentences,
            unknown=unknown,
            lengths=tuple(histogram[:used].tolist()),
            sources=tuple(SourceInfo(name, *row) for name, row in zip(names, per_source.tolist(), strict=True)),
            skipped=skips.report(),
        )
    for reason, skip in info.skipped.items():
        log.warning("skipped %d (%s): %s", skip.count, reason, "; ".join(skip.examples))
    return info
