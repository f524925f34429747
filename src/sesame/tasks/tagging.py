"""A tag for every word (Devlin et al. 2019, 5.3): parts of speech, names, chunks.

The head reads the first sub-word of each word; of a model that reads from left to right the last, which alone has seen
the word. A sentence that is longer than a sequence is read in parts, cut between
words, so every word is read and tagged once.
"""

import re
from collections.abc import Sequence
from itertools import chain, pairwise
from pathlib import Path
from typing import ClassVar, Literal, NamedTuple

import msgspec
import numpy as np
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from sesame.config import Tagging as Config
from sesame.data.tokenizer import Vocabulary
from sesame.errors import UserError, nearest
from sesame.pretext.base import Term
from sesame.tasks import conll
from sesame.tasks.base import Head, Notes, Task
from sesame.tasks.conll import Sentence
from sesame.tasks.entities import are_entity_tags, entity_scores
from sesame.tasks.sequences import Sequences, TaskBatch

Tags = tuple[str, ...]
"""A tag for each word of a sentence."""

_SHORTEST = 4
"""Tokens of a sequence: [CLS], [SEP], and a word that may begin with the token of a space."""


class TagHead(Head):
    """Dropout and one linear layer."""

    def __init__(self, width: int, tags: int, dropout: float):
        super().__init__()
        self.dropout = nn.Dropout(dropout)
        self.linear = nn.Linear(width, tags)
        nn.init.normal_(self.linear.weight, std=0.02)  # BERT's start of every new layer
        nn.init.zeros_(self.linear.bias)

    def forward(self, h: Float[Tensor, "read width"], batch: TaskBatch) -> Float[Tensor, "read tag"]:
        return self.linear(self.dropout(h))


class Tagging(Task[Sentence, Tags]):
    """Words to tags, one by one; `labels` are the tags."""

    kind: ClassVar[str] = "tagging"
    config: Config

    @property
    def metric(self) -> Literal["accuracy", "entity_f1"]:
        if self.config.metric == "auto":
            return "entity_f1" if are_entity_tags(self.labels) else "accuracy"
        return self.config.metric

    def suited(self, causal: bool) -> "Tagging":
        if self.config.piece != "auto":
            return self
        return Tagging(msgspec.structs.replace(self.config, piece="last" if causal else "first"), self.labels)

    # ------------------------------------------------------------------------------------------ examples
    @classmethod
    def read(cls, config: Config, path: Path, notes: Notes, labelled: bool = True) -> list[Sentence]:
        return conll.read(config, path, notes, labelled)

    @classmethod
    def labels_of(cls, config: Config, train: Sequence[Sentence]) -> Tags:
        labels = tuple(sorted({tag for sentence in train for tag in _tags(sentence)}))
        if len(labels) < 2:
            raise UserError(
                f"{train[0].where}: every word of the training sentences has the tag {labels[0]}; "
                f"two different tags are needed. Is the tag in another column?"
            )
        if config.metric == "entity_f1" and not are_entity_tags(labels):
            raise UserError(
                f"{train[0].where}: entity F1 needs the tags B-…, I-…, E-…, S-… and O, and there are "
                f"{', '.join(labels[:5])}{' …' * (len(labels) > 5)}. Choose the metric accuracy, or another column."
            )
        return labels

    def check(self, examples: Sequence[Sentence], notes: Notes) -> list[Sentence]:
        known, kept = set(self.labels), []
        for sentence in examples:
            strange = next((i for i, tag in enumerate(_tags(sentence)) if tag not in known), None)
            if strange is None:
                kept.append(sentence)
                continue
            word, tag = sentence.words[strange], _tags(sentence)[strange]
            notes.fault(
                sentence.where_of(strange),
                "a tag never seen in training",
                f"{word!r} has the tag {tag!r}, which no word has in training.{nearest(tag, self.labels)}",
            )
        if not kept:
            raise UserError("no sentence is left whose tags were all seen in training. Is the tag in another column?")
        return kept

    def content(self, example: Sentence) -> Tags:
        return example.words

    def encode(self, examples: Sequence[Sentence], vocabulary: Vocabulary, length: int, notes: Notes) -> Sequences:
        if length < _SHORTEST:
            raise UserError(f"sequences of {length} tokens hold no word. Give a length of {_SHORTEST} or more.")
        room = length - 2  # between [CLS] and [SEP]
        index = {tag: i for i, tag in enumerate(self.labels)}
        ids: list[int] = []
        offsets, owner, read, read_offsets = [0], [], [], [0]
        for number, words in enumerate(sub_words([sentence.words for sentence in examples], vocabulary, notes)):
            sizes = [len(word.ids) for word in words]
            parts = _parts(sizes, room)
            if len(parts) > 1:
                notes.counts["sentences longer than a sequence, read in parts"] += 1
            if longer := sum(size > room for size in sizes):
                notes.counts["words longer than a sequence, cut"] += longer
            for part in parts:
                ids.append(vocabulary.cls)
                for word in words[part]:
                    its = min(len(word.ids), room) - 1 if self.config.piece == "last" else word.first
                    read.append(len(ids) - offsets[-1] + its)
                    ids += word.ids[:room]
                ids.append(vocabulary.sep)
                offsets.append(len(ids))
                owner.append(number)
                read_offsets.append(len(read))
        labelled = all(sentence.tags is not None for sentence in examples)
        target = [index[tag] for sentence in examples for tag in _tags(sentence)] if labelled else None
        return Sequences(
            ids=np.array(ids, np.int64),
            kind=np.zeros(len(ids), np.int64),
            offsets=np.array(offsets, np.int64),
            owner=np.array(owner, np.int64),
            read=np.array(read, np.int64),
            read_offsets=np.array(read_offsets, np.int64),
            target=None if target is None else np.array(target, np.int64),
            target_of="read",
        )

    # ------------------------------------------------------------------------------------------ learning
    def head(self, width: int, dropout: float) -> TagHead:
        return TagHead(width, len(self.labels), dropout)

    def loss(self, scores: Float[Tensor, "read tag"], batch: TaskBatch) -> Term:
        """Cross-entropy, summed over the words."""
        assert batch.target is not None, "a loss needs tags"
        hits = (scores.argmax(-1) == batch.target).sum()
        return Term(F.cross_entropy(scores.float(), batch.target, reduction="sum"), len(batch.target), hits=hits)

    # ----------------------------------------------------------------------------------------- predicting
    def decode(
        self, examples: Sequence[Sentence], sequences: Sequences, scores: Float[np.ndarray, "read tag"]
    ) -> list[Tags]:
        """The best tag of each word. The parts of a sentence hold each word once, so they follow each other."""
        best = iter(scores.argmax(-1).tolist())
        predicted = [tuple(self.labels[next(best)] for _ in sentence.words) for sentence in examples]
        assert next(best, None) is None, "scores and words are as many"
        return predicted

    def metrics(self, examples: Sequence[Sentence], predictions: Sequence[Tags]) -> dict[str, float]:
        """Accuracy over words; for entity tags also precision, recall and F1 over all entities, and F1 by type."""
        true = [_tags(sentence) for sentence in examples]
        pairs = list(zip(chain.from_iterable(true), chain.from_iterable(predictions), strict=True))
        accuracy = {"accuracy": sum(tag == guess for tag, guess in pairs) / len(pairs)}
        if self.metric == "accuracy":
            return accuracy
        scores = entity_scores(true, predictions)
        total = scores.pop("")
        found = {"entity_f1": total.f1, "entity_precision": total.precision, "entity_recall": total.recall}
        return found | accuracy | {f"entity_f1/{type}": score.f1 for type, score in scores.items()}

    def write(self, examples: Sequence[Sentence], predictions: Sequence[Tags], path: Path) -> None:
        conll.write(examples, predictions, path, self.config.column)

    # ---------------------------------------------------------------------------------- what needs no backbone
    def majority(self, train: Sequence[Sentence], test: Sequence[Sentence]) -> list[Tags]:
        from sesame.tasks import tagging_lexical

        return tagging_lexical.majority(train, test)

    def lexical(self, train: Sequence[Sentence], test: Sequence[Sentence]) -> list[Tags]:
        from sesame.tasks import tagging_lexical

        return tagging_lexical.lexical(train, test)


def _tags(sentence: Sentence) -> Tags:
    assert sentence.tags is not None, "read with labelled=True"
    return sentence.tags


# ----------------------------------------------------------------------------------------------- sub-words
class SubWords(NamedTuple):
    """The tokens of one word."""

    ids: list[int]
    first: int
    """Which of them begins the word itself: 1 after a token that is only the space before it, else 0."""


def sub_words(sentences: Sequence[Sequence[str]], vocabulary: Vocabulary, notes: Notes) -> list[list[SubWords]]:
    """The tokens of every word of every sentence.

    A word is encoded by itself, with the space before it, so that the tokens of a sentence are its words' tokens and
    those that the tokenizer gives the text. A word without tokens (a control character) becomes [UNK] and is counted.
    """
    spelled = [_spelled(words) for words in sentences]
    different = list(dict.fromkeys(chain.from_iterable(spelled)))
    space = vocabulary.encode_batch([" "])[0]
    known = {}
    for text, ids in zip(different, vocabulary.encode_batch(different), strict=True):
        apart = len(ids) > 1 and text.startswith(" ") and ids[:1] == space
        known[text] = SubWords(ids or [vocabulary.unk], int(apart))
        if not ids:
            notes.counts["words that the tokenizer leaves out, read as [UNK]"] += sum(s.count(text) for s in spelled)
    return [[known[text] for text in texts] for texts in spelled]


def _spelled(words: Sequence[str]) -> list[str]:
    """The words as they stand in running text: with the space before them, where their script writes one."""
    spaces = ["" if _UNSPACED.fullmatch(left[-1] + right[0]) else " " for left, right in pairwise(words)]
    return [space + word for space, word in zip(["", *spaces], words, strict=True)]


_UNSPACED = re.compile(
    "[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3000-\u30ff\u3400-\u9fff\uf900-\ufaff\uff00-\uffef\U00020000-\U0002fa1f]{2}"
)
"""Thai, Lao, Burmese, Khmer, Japanese and Chinese put no space between words."""


def _parts(sizes: Sequence[int], room: int) -> list[slice]:
    """Consecutive words that have at most `room` tokens together; a longer word counts as `room`."""
    parts = []
    start = held = 0
    for i, size in enumerate(sizes):
        size = min(size, room)
        if held + size > room:
            parts.append(slice(start, i))
            start, held = i, 0
        held += size
    return [*parts, slice(start, len(sizes))]
