"""Every hidden state of words, from the embeddings to the last layer, in one packed forward pass.

What is read is laid out once, for that does not depend on the weights; the states are read again from every checkpoint,
each token once for all layers.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float32, Int64
from torch import Tensor

from sesame.data.batch import TextBatch
from sesame.data.chance import bits
from sesame.data.encode import SENTENCE, WORD
from sesame.data.text import TextSet, TextStream
from sesame.engine.build import Model
from sesame.tasks.base import Notes
from sesame.tasks.network import groups_of
from sesame.tasks.reading import reach, text_model
from sesame.tasks.sequences import Sequences, batch_of
from sesame.tasks.tagging import sub_words


# --------------------------------------------------------------------------------------------------- words
@dataclass(frozen=True)
class Words:
    """Sentences as a model reads them, and which tokens are which word's."""

    sequences: Sequences
    """A sentence each, or several for one that is longer than the model reads; `read` are the tokens of words."""
    word: Int64[np.ndarray, " read"]
    """The word that a read token is part of."""
    text: tuple[str, ...]
    """The words, sentence after sentence."""
    sentence: Int64[np.ndarray, " word"]
    """The sentence that a word stands in."""
    notes: Notes


class Word(NamedTuple):
    """A word as a model reads it."""

    text: str
    ids: list[int]
    """Its tokens."""
    first: int = 0
    """Which of them begins the word itself (`tasks.tagging.SubWords`)."""


def spelled(model: Model, sentences: Sequence[Sequence[str]], notes: Notes) -> list[list[Word]]:
    """Sentences that are given as words. Words are encoded as the tagging task does (`tasks/tagging.py`)."""
    _, vocabulary = text_model(model)
    encoded = sub_words(sentences, vocabulary, notes)
    return [
        [Word(text, *tokens) for text, tokens in zip(words, its, strict=True)]
        for words, its in zip(sentences, encoded, strict=True)
    ]


def held_out_sentences(data: TextSet, most: int) -> list[list[Word]]:
    """At most `most` sentences of the run's held-out documents: a keyed choice, by document and place.

    A word is what the tokenizer takes for one, and its text is the tokenizer's, without capitals where that drops them.
    """
    store = data.store
    documents = np.flatnonzero(store.held_out)
    starts, stops = [], []
    for document in documents.tolist():
        begin, end = int(store.offsets[document]), int(store.offsets[document + 1])
        edges = np.flatnonzero(store.flags[begin:end] & SENTENCE)
        starts.append(edges + begin)
        stops.append(np.append(edges[1:], end - begin)[: len(edges)] + begin)
    if not starts:
        return []
    owner = np.repeat(store.keys[documents], [len(edges) for edges in starts])
    start, stop = np.concatenate(starts), np.concatenate(stops)
    place = start - np.repeat(np.asarray(store.offsets)[documents].astype(np.int64), [len(edges) for edges in starts])
    chosen = np.argsort(bits("probe sentences", owner, place), kind="stable")[:most]
    tokens = [
        _words(np.asarray(store.ids[start[i] : stop[i]]), np.asarray(store.flags[start[i] : stop[i]])) for i in chosen
    ]
    different = {ids: data.vocabulary.decode(ids).strip() for ids in set(chain.from_iterable(tokens))}
    return [[Word(different[ids], list(ids)) for ids in sentence] for sentence in tokens]


def _words(ids: np.ndarray, flags: np.ndarray) -> list[tuple[int, ...]]:
    """The tokens of each word of a sentence; it begins a word, also where it starts inside one."""
    edges = np.flatnonzero(flags & WORD)
    edges = edges[edges > 0]
    return [tuple(word.tolist()) for word in np.split(ids, edges)]


def laid_out(model: Model, sentences: Sequence[Sequence[Word]], notes: Notes | None = None) -> Words:
    """A sentence in a sequence; of one that is longer than the model reads, as many words in each as it holds."""
    _, vocabulary = text_model(model)
    notes = notes or Notes()
    room = reach(model) - 2
    ids: list[int] = []
    read: list[int] = []
    word_of: list[int] = []
    sentence_of: list[int] = []
    offsets, owner, read_offsets = [0], [], [0]
    for number, sentence in enumerate(sentences):
        parts: list[list[Word]] = []
        held = room + 1
        for word in sentence:
            size = min(len(word.ids), room)
            if held + size > room:
                parts.append([])
                held = 0
            parts[-1].append(word)
            held += size
        notes.counts["sentences longer than the model reads, read in parts"] += len(parts) > 1
        notes.counts["words longer than the model reads, cut"] += sum(len(word.ids) > room for word in sentence)
        for part in parts:
            ids.append(vocabulary.cls)
            for word in part:
                begin, tokens = len(ids) - offsets[-1], word.ids[:room]
                own = range(begin + min(word.first, len(tokens) - 1), begin + len(tokens))
                read += own
                word_of += [len(sentence_of)] * len(own)
                sentence_of.append(number)
                ids += tokens
            ids.append(vocabulary.sep)
            offsets.append(len(ids))
            owner.append(number)
            read_offsets.append(len(read))
    notes.counts = +notes.counts
    sequences = Sequences(
        ids=np.array(ids, np.int64),
        kind=np.zeros(len(ids), np.int64),
        offsets=np.array(offsets, np.int64),
        owner=np.array(owner, np.int64),
        read=np.array(read, np.int64),
        read_offsets=np.array(read_offsets, np.int64),
    )
    text = tuple(word.text for word in chain.from_iterable(sentences))
    return Words(sequences, np.array(word_of, np.int64), text, np.array(sentence_of, np.int64), notes)


def word_states(model: Model, words: Words | Sequence[Sequence[str]]) -> Float32[Tensor, "layer word width"]:
    """The vector of every word in every layer: the mean of its sub-words' states. On the model's device.

    Layer 0 are the embeddings. The states are those of each sentence by itself, whatever shares a row with it.
    """
    backbone, vocabulary = text_model(model)
    words = words if isinstance(words, Words) else laid_out(model, spelled(model, words, Notes()))
    sequences, device = words.sequences, next(backbone.parameters()).device
    shape = (backbone.config.layers + 1, len(words.text), backbone.width)
    vectors = torch.empty(shape, dtype=torch.float32, device=device)
    edges = sequences.read_offsets
    for chosen in groups_of(sequences.lengths) if len(sequences) else ():
        batch = batch_of(sequences, chosen, vocabulary.pad, on_end=device.type == "cpu")
        read = np.concatenate([np.arange(edges[i], edges[i + 1]) for i in chosen])
        here, part = np.unique(words.word[read], return_inverse=True)
        row = batch.at.flat // batch.at.time.shape[1]
        place = (row * batch.rows.x.shape[1] + batch.at.time.flatten()[batch.at.flat])[batch.order].to(device)
        with torch.no_grad():
            states = backbone(batch.rows.to(device), layers=True).layers
        size = torch.from_numpy(np.bincount(part)).to(device)[:, None]
        where, parts = torch.from_numpy(here).to(device), torch.from_numpy(part).to(device)
        for layer, h in enumerate(states):
            total = vectors.new_zeros(len(here), backbone.width).index_add_(0, parts, h.flatten(0, 1)[place].float())
            vectors[layer, where] = total / size
    return vectors


def held_out_batches(data: TextSet, rows: int) -> list[TextBatch]:
    """At most `rows` rows of single runs of held-out text, the same for every run on these data."""
    return list(TextStream(data.store, data.config, frozenset(), 0).held_out(rows))
