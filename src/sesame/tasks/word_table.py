"""Vectors of words: a model's first embeddings, what is near what in them, similarity sets and analogies.

Any model of text has such vectors: a table for word vectors, a Transformer's token embeddings, what ELMo's character
network makes of a word by itself. A word has one where the tokenizer writes it as a single token.
"""

import logging
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from jaxtyping import Float32, Int
from msgspec import Struct

from sesame.data.tokenizer import Vocabulary
from sesame.engine.build import Model
from sesame.errors import UserError, nearest
from sesame.tasks.files import contents
from sesame.tasks.reading import first_embeddings, text_model

log = logging.getLogger(__name__)

TOGETHER = 1024
"""Questions that are answered at once."""


class Neighbour(Struct, frozen=True):
    word: str
    cosine: float


class Similarity(Struct, frozen=True):
    """How a model's cosines rank the pairs of a file, against how people rank them."""

    spearman: float | None
    """None where fewer than two pairs are known, or all scores are equal."""
    pairs: int
    """Pairs of which both words are known: those that are scored."""
    unknown: int
    """Pairs that were left out because a word is not in the vocabulary."""


class Section(Struct, frozen=True):
    """Analogies that ask for one relation."""

    name: str
    right: int
    questions: int
    """Those whose four words are all known: those that are asked."""
    unknown: int
    """Questions that were left out because a word is not in the vocabulary."""

    @property
    def accuracy(self) -> float | None:
        return self.right / self.questions if self.questions else None


@dataclass(frozen=True)
class WordTable:
    """Words with their vectors."""

    vocabulary: Vocabulary
    vectors: Float32[np.ndarray, "token width"]

    @classmethod
    def of(cls, model: Model) -> "WordTable":
        """The first embeddings of a model. UserError for one of images or sound."""
        _, vocabulary = text_model(model)
        return cls(vocabulary, first_embeddings(model)[: vocabulary.size])

    @cached_property
    def spelled(self) -> list[str]:
        """Of each token the word that it is; "" for special tokens and for pieces that only go on with a word."""
        tokens = self.vocabulary.tokens(range(self.vocabulary.size))
        kind = self.vocabulary.kind
        if kind == "WordPiece":
            words = ["" if token.startswith("##") else token for token in tokens]
        elif any(token.startswith("Ġ") for token in tokens):  # byte-level: a word brings the space before it
            words = [self.vocabulary.decode([i])[1:] if t.startswith("Ġ") else "" for i, t in enumerate(tokens)]
        elif kind != "WordLevel" and any(token.startswith("▁") for token in tokens):  # SentencePiece: likewise
            words = [token[1:] if token.startswith("▁") else "" for token in tokens]
        else:
            words = ["" if token == "<none>" else token for token in tokens]
        for id in self.vocabulary.special_ids.tolist():
            words[id] = ""
        return words

    @cached_property
    def words(self) -> Int[np.ndarray, " word"]:
        """The tokens that are words and have a vector (one that is not zero)."""
        there = np.array([bool(word) for word in self.spelled]) & self.vectors.any(1)
        return np.flatnonzero(there)

    @cached_property
    def unit(self) -> Float32[np.ndarray, "token width"]:
        """Vectors of length 1; zero stays zero."""
        length = np.linalg.norm(self.vectors, axis=1, keepdims=True)
        return self.vectors / np.maximum(length, 1e-12)

    def among(self, most: int) -> Int[np.ndarray, " word"]:
        """The first `most` words of the vocabulary, which begins with the frequent ones; 0 for all."""
        return self.words[:most] if most else self.words

    def ids(self, words: Sequence[str], known: Int[np.ndarray, " word"]) -> list[int]:
        """The token of each word, as the tokenizer reads it; -1 where it is no single one of `known`."""
        space = " " if any(token.startswith("Ġ") for token in self.vocabulary.tokens(known[:1000])) else ""
        found = self.vocabulary.encode_batch([space + word for word in words])
        allowed = set(known.tolist())
        return [ids[0] if len(ids) == 1 and ids[0] in allowed else -1 for ids in found]

    def nearest(self, word: str, count: int = 10, most: int = 0) -> list[Neighbour]:
        """The `count` words with the greatest cosine to `word`, itself left out. UserError for an unknown word."""
        known = self.among(most)
        (id,) = self.ids([word], known)
        if id < 0:
            raise UserError(
                f"{word!r} is no word of this vocabulary (of {len(known):,})."
                f"{nearest(word, [self.spelled[i] for i in known])}"
            )
        cosine = self.unit[known] @ self.unit[id]
        cosine[known == id] = -np.inf
        best = np.argsort(-cosine, kind="stable")[: min(count, len(known) - 1)]
        return [Neighbour(self.spelled[known[i]], float(cosine[i])) for i in best]

    def similarity(self, pairs: Sequence[tuple[str, str, float]]) -> Similarity:
        """Spearman's correlation of the cosines with the scores, over the pairs that are known."""
        from scipy.stats import spearmanr

        known = self.words
        ids = np.array(self.ids([word for a, b, _ in pairs for word in (a, b)], known)).reshape(-1, 2)
        there = (ids >= 0).all(1)
        a, b = ids[there].T
        cosine = (self.unit[a] * self.unit[b]).sum(1)
        scores = np.array([score for _, _, score in pairs])[there]
        flat = len(scores) < 2 or len(set(scores.tolist())) < 2 or len(set(cosine.tolist())) < 2
        return Similarity(None if flat else float(spearmanr(cosine, scores)[0]), int(there.sum()), int((~there).sum()))

    def analogies(self, questions: dict[str, list[tuple[str, str, str, str]]], most: int = 0) -> list[Section]:
        """a : b = c : ?, by section. The answer is the word whose unit vector is nearest to b − a + c, these three left
        out (Mikolov et al. 2013a, 4.1); it is right where it is d, and nothing else is.

        `most` limits the words there are to the first ones of the vocabulary.
        """
        known = self.among(most)
        matrix = self.unit[known]
        place = np.full(len(self.vectors), -1)
        place[known] = np.arange(len(known))
        sections = []
        for name, asked in questions.items():
            ids = np.array(self.ids([word for row in asked for word in row], known)).reshape(-1, 4)
            there = ids[(ids >= 0).all(1)]
            right = 0
            for start in range(0, len(there), TOGETHER):
                rows = there[start : start + TOGETHER]
                a, b, c = (self.unit[rows[:, i]] for i in range(3))
                score = (b - a + c) @ matrix.T
                np.put_along_axis(score, place[rows[:, :3]], -np.inf, axis=1)
                right += int((known[score.argmax(1)] == rows[:, 3]).sum())
            sections.append(Section(name, right, len(there), len(asked) - len(there)))
        return sections

    def save(self, out: Path) -> int:
        """Write the words and their vectors as word2vec does, as text or (.bin) in binary; returns how many."""
        known = self.words
        # A space or a line break inside a word would be read as its end; no tokenizer of words makes one.
        known = known[[not re.search(r"\s", self.spelled[i]) for i in known]]
        with out.open("xb") as file:
            file.write(f"{len(known)} {self.vectors.shape[1]}\n".encode())
            for id in known:
                word, vector = self.spelled[id].encode(), self.vectors[id]
                if out.suffix == ".bin":
                    file.write(word + b" " + vector.astype("<f4").tobytes() + b"\n")
                else:
                    file.write(word + b" " + b" ".join(b"%.9g" % x for x in vector.tolist()) + b"\n")
        return len(known)


def total(name: str, sections: Iterable[Section]) -> Section:
    """All of some sections together."""
    parts = list(sections)
    return Section(name, *(sum(getattr(part, f) for part in parts) for f in ("right", "questions", "unknown")))


def semantic_and_syntactic(sections: Sequence[Section]) -> list[Section]:
    """The sums that papers print, where the sections have the names of Mikolov's set: `gram…` are syntactic."""
    syntactic = [section for section in sections if section.name.startswith("gram")]
    semantic = [section for section in sections if not section.name.startswith("gram")]
    both = [total("semantic", semantic), total("syntactic", syntactic)] if syntactic and semantic else []
    return [*both, total("total", sections)]


# ------------------------------------------------------------------------------------------------ files
def read_pairs(file: Path) -> list[tuple[str, str, float]]:
    """Two words and a score a line, between tabs, commas or spaces; also .gz. A first line without a score is a header.

    Raises UserError for anything else.
    """
    pairs: list[tuple[str, str, float]] = []
    for number, fields in _lines(file):
        try:
            first, second, score = fields[0], fields[1], float(fields[2])
        except (IndexError, ValueError):
            if number == 1:
                continue
            raise UserError(
                f"{file}:{number}: two words and a score were expected, found {' '.join(fields)!r}."
            ) from None
        if not np.isfinite(score):
            raise UserError(f"{file}:{number}: the score is {fields[2]}. Give a number, or remove the line.")
        pairs.append((first, second, score))
    if not pairs:
        raise UserError(f"{file}: no pair was found. Two words and a score a line were expected.")
    return pairs


def read_questions(file: Path) -> dict[str, list[tuple[str, str, str, str]]]:
    """Four words a line under lines `: SECTION`, as word2vec's questions-words.txt; or a table whose first line names
    its columns section, a, b, c, d. Also .gz. Raises UserError for anything else.
    """
    sections: dict[str, list[tuple[str, str, str, str]]] = {}
    name, table = file.name.split(".")[0], False
    for number, fields in _lines(file):
        if number == 1 and [field.lower() for field in fields] == ["section", "a", "b", "c", "d"]:
            table = True
        elif fields[0].startswith(":") and not table:
            name = " ".join(fields).lstrip(": ") or name
        elif len(fields) == 4 + table:
            asked = fields[table:]
            sections.setdefault(fields[0] if table else name, []).append((asked[0], asked[1], asked[2], asked[3]))
        else:
            raise UserError(
                f"{file}:{number}: {'a section and ' if table else ''}four words were expected, found "
                f"{' '.join(fields)!r}."
            )
    if not sections:
        raise UserError(f"{file}: no question was found. Four words a line were expected.")
    return sections


def _lines(file: Path) -> Iterable[tuple[int, list[str]]]:
    """The fields of each line that is not empty, and its number."""
    for number, raw in enumerate(contents(file).splitlines(), 1):
        try:
            line = raw.decode("utf-8").strip()
        except UnicodeDecodeError:
            raise UserError(f"{file}:{number}: not UTF-8. Convert the file to UTF-8 text.") from None
        if line:
            cut = "\t" if "\t" in line else "," if "," in line else None
            yield number, [field.strip() for field in line.split(cut)]
