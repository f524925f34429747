"""Linear probes: what can be read off the states of every layer by a linear map, fitted to part of the sentences.

Of gold CoNLL-U (--probe linear=FILE.conllu, also .gz): `pos_accuracy`, the universal part of speech of a word from its
vector, also by class; `relation_accuracy`, how a word depends on its head, without subtypes, from the vectors of both,
as in the edge probes of Tenney et al. (2019); words without a head are not asked. Of gold, or else of the run's
held-out text (Conneau et al. 2018), from the mean vector of a sentence: `content_accuracy`, which one of up to 30
mid-frequency words it has (words of at most 1 in 25 sentences, and the commonest of these), and `length_accuracy`,
which sixth of all sentences it belongs to by its number of words.

A word's vector is the mean of its sub-words (as in Hewitt & Liang 2019), and all layers come from one forward pass;
layer 0 are the embeddings, which know the word and nothing around it. Multinomial logistic regression on standardised
features, the mean cross-entropy plus a ridge on the weights, is solved for all layers to within 0.0001 nats of its
minimum. It is asked about a quarter of the sentences, by their content, and fitted to the others. `…_majority` always
says the commonest label; `…_word_majority` the one that the word most often has. The full form also gives
`pos_selectivity`: by how much the probe does better than one of random tags, drawn for each word and the same wherever
it stands (Hewitt & Liang 2019). The light form reads 600 sentences, the full form 3,000, of at most 30,000 words.
"""

import logging
import math
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from sesame import config
from sesame.data import chance
from sesame.data.text import TextSet
from sesame.engine.build import Model
from sesame.errors import UserError
from sesame.probes.base import Answer, Ask, Item, Value
from sesame.probes.states import Word, Words, held_out_sentences, laid_out, spelled, word_states
from sesame.probes.words import key_of, keyed_order, say_once, share
from sesame.tasks import conll
from sesame.tasks.base import Notes
from sesame.tasks.classification import segment_mean
from sesame.tasks.reading import reach, text_model
from sesame.tasks.softmax_regression import fit, standardised

log = logging.getLogger(__name__)

READS = ("text",)
LIGHT, FULL = 600, 3000
"""Sentences that are read."""
WORDS = 30_000
STATES = 1 << 29
"""Numbers that the words' vectors in all layers may be; of a large model, fewer words are read."""
FEATURES = 1 << 25
"""Numbers that the features of the layers which are solved together may be: small layers share the work of an
iteration's small operations; large ones by themselves leave what is kept of them in the processor's cache."""
ASKED = 0.25
"""Share of the sentences that are asked about."""
TOLERANCE = 1e-4
"""Nats above the minimum at which a probe is solved."""
FEWEST = 5
"""Examples of a label to learn from, below which it is left out."""
CONTENT, MID = 30, 0.04
BINS = 6


class Sentence(NamedTuple):
    """A sentence, and what is known of its words; nothing where there is no gold."""

    words: tuple[str, ...]
    tags: tuple[str, ...] = ()
    heads: tuple[int, ...] = ()
    """Number of the word that each depends on, from 1; 0 for none. Empty where the file has no dependencies."""
    relations: tuple[str, ...] = ()

    @property
    def key(self) -> int:
        return key_of(self.words)


@dataclass(frozen=True)
class Task:
    """Things with labels: the first `known` are learned from, the others are asked."""

    name: str
    label: Int64[np.ndarray, " thing"]
    """Index into `names`."""
    names: tuple[str, ...]
    known: int
    thing: Int64[np.ndarray, " thing"]
    """Which word it is, or which sentence."""
    head: Int64[np.ndarray, " thing"] | None = None
    """The word that it depends on, where that is read too."""
    of_sentence: bool = False
    word: tuple[str, ...] = ()
    """What each word is; empty for sentences."""
    key: tuple[int, ...] = ()
    """Where items are wanted, those of the things that are asked."""

    @property
    def gold(self) -> Int64[np.ndarray, " asked"]:
        return self.label[self.known :]


@dataclass(frozen=True)
class Questions:
    """What a model is asked, at every step."""

    words: Words
    tasks: list[Task]
    left_out: Counter[str]
    warnings: list[str]


def measure(model: Model, ask: Ask) -> Iterator[Answer]:
    backbone, vocabulary = text_model(model)
    most = min(WORDS, STATES // ((backbone.config.layers + 1) * backbone.width))
    name = ("linear", ask.source, ask.full, most, reach(model), vocabulary.hash)
    questions = ask.once(name, lambda: _questions(model, ask, most))
    say_once(ask, "linear", questions.left_out, questions.warnings)
    states = word_states(model, questions.words)
    sentence = torch.from_numpy(questions.words.sentence).to(states.device)
    found: dict[str, list[Bool[np.ndarray, " asked"]]] = {}
    for task in questions.tasks:
        yield from _levels(task)
        found[task.name] = right = told_right(task, states, sentence)
        for layer, of_layer in enumerate(right):
            yield replace(share(f"{task.name}_accuracy", of_layer), layer=layer)
        if task.name == "pos":
            yield from _by_class(task, right)
    if "pos_control" in found:
        for layer, (real, control) in enumerate(zip(found["pos"], found["pos_control"], strict=True)):
            yield Value("pos_selectivity", float(real.mean() - control.mean()), len(real), layer=layer)


def _by_class(task: Task, right: list[Bool[np.ndarray, " asked"]]) -> Iterator[Answer]:
    """Of each layer the share of every class; of the last the words themselves."""
    for layer, of_layer in enumerate(right):
        for label, name in enumerate(task.names):
            yield replace(share(f"{task.name}_accuracy", of_layer[task.gold == label], name), layer=layer)
    words = task.word[task.known :]
    for key, label, hit, word in zip(task.key, task.gold.tolist(), right[-1].tolist(), words, strict=True):
        yield Item(f"{task.name}_accuracy", key, task.names[label], hit, word)


def told_right(
    task: Task, states: Float[Tensor, "layer word width"], sentence: Int64[Tensor, " word"]
) -> list[Bool[np.ndarray, " asked"]]:
    """Which things are told right, from each layer. Small layers are solved together, large ones one by one."""

    def features(z: Float[Tensor, "word width"]) -> Float[Tensor, "thing feature"]:
        z = segment_mean(z, sentence, int(sentence[-1]) + 1) if task.of_sentence else z
        return standardised(z, task.known, read)

    read = [torch.from_numpy(each).to(states.device) for each in (task.thing, task.head) if each is not None]
    label = torch.from_numpy(task.label).to(states.device)
    wide = states.shape[2] * len(read)
    found = []
    for layers in states.split(max(1, FEATURES // (len(task.label) * wide))):
        x = [features(z) for z in layers]
        held = ridge(task.known, wide)
        fitted = fit([each[: task.known] for each in x], label[: task.known], len(task.names), held, TOLERANCE)
        if not bool((fitted.above <= TOLERANCE).all()):
            log.warning("linear: %s is not solved after %d iterations", task.name, fitted.iterations)
        for each, weight in zip(x, fitted.weight, strict=True):
            with torch.autocast(weight.device.type, enabled=False):  # in bf16, two labels often share the highest score
                said = (each[task.known :] @ weight).argmax(1)
            found.append((said == label[task.known :]).cpu().numpy())
    return found


def ridge(things: int, width: int) -> float:
    """How much weights are held to 0, by how many things they are learned from: a prior weighs less the more is seen.

    A fixed ridge is right for one number of words alone. This one is within half a point of the best of those tried,
    from 3,000 to 150,000 words at a width of 128 and, on fresh weights, within one at 768 (docs/results.md).
    """
    return 1.3 * math.sqrt(width) / things


def _levels(task: Task) -> Iterator[Value]:
    """What needs no states: the commonest label, and the commonest label of each word."""
    known = task.label[: task.known]
    commonest = int(np.bincount(known).argmax())
    yield share(f"{task.name}_accuracy_majority", task.gold == commonest)
    if task.word:
        seen: dict[str, Counter[int]] = defaultdict(Counter)
        for word, label in zip(task.word, known.tolist(), strict=False):  # those that are learned from come first
            seen[word][label] += 1
        said = [max(seen[w], key=lambda label: (seen[w][label], -label)) if w in seen else commonest
                for w in task.word[task.known :]]  # fmt: skip
        yield share(f"{task.name}_accuracy_word_majority", np.array(said) == task.gold)


# ---------------------------------------------------------------------------------------------- questions
def _questions(model: Model, ask: Ask, most: int) -> Questions:
    notes, warnings = Notes(), list[str]()
    if ask.source:
        every = gold(Path(ask.source))
        once = list({sentence.key: sentence for sentence in every}.values())
        notes.counts["sentences that came before"] = len(every) - len(once)
        order = keyed_order([sentence.key for sentence in once])
        sentences = _first([once[i] for i in order], ask, most)
        tokens: Sequence[Sequence[Word]] = spelled(model, [sentence.words for sentence in sentences], notes)
    elif isinstance(ask.data, TextSet):
        read = held_out_sentences(ask.data, FULL if ask.full else LIGHT)
        different = {tuple(word.text for word in words): words for words in read if words}
        sentences = _first([Sentence(words) for words in different], ask, most)
        tokens = [different[sentence.words] for sentence in sentences]
        warnings.append(
            "parts of speech and dependency relations are read from gold, and no file was given: linear=FILE.conllu"
        )
    else:
        raise UserError("linear: the run's data are not here to take text from. Give gold: linear=FILE.conllu.")
    if not sentences:
        raise UserError(f"{ask.source or 'linear'}: there is no sentence to measure on. Give gold: linear=FILE.conllu.")
    tasks = [*word_tasks(sentences, ask.full, warnings), *sentence_tasks(sentences, warnings)]
    if not tasks:
        raise UserError(f"{ask.source or 'linear'}: nothing can be measured: {'; '.join(warnings)}.")
    words = laid_out(model, tokens, notes)
    return Questions(words, tasks, +notes.counts, warnings)


def gold(path: Path) -> list[Sentence]:
    """The sentences of a CoNLL-U file with their parts of speech and, if it has them, dependencies.

    UserError, with file and line, where it is faulty.
    """
    found = []
    for sentence in conll.read(config.Tagging(), path, Notes()):
        if not sentence.rows:
            raise UserError(f"{path}: linear probes are fitted to CoNLL-U, and this is not. Give a .conllu file.")
        assert sentence.tags is not None, "read with labelled=True"
        cells = [row.split("\t") for row in sentence.rows if not row.startswith("#")]
        told = [(row[6], row[7].partition(":")[0]) for row in cells if row[0].isdecimal()]
        heads: list[int] = []
        for number, (head, relation) in enumerate(told):
            if (head, relation) == ("_", "_"):
                continue
            if not head.isdecimal() or int(head) > len(told) or relation == "_":
                raise UserError(
                    f"{sentence.where_of(number)}: {sentence.words[number]!r} depends on {head!r} as {relation!r}; "
                    f"expected the number of a word (0 to {len(told)}) and a relation, or _ for both."
                )
            heads.append(int(head))
        if heads and len(heads) < len(told):
            raise UserError(f"{sentence.where}: only {len(heads)} of {len(told)} words have a head. Give all, or none.")
        relations = tuple(relation for _, relation in told) if heads else ()
        found.append(Sentence(sentence.words, sentence.tags, tuple(heads), relations))
    return found


def _first(sentences: Sequence[Sentence], ask: Ask, most: int) -> list[Sentence]:
    """The first sentences that the form reads; of a text of long ones, at most so many words."""
    chosen = sentences[: FULL if ask.full else LIGHT]
    total = np.cumsum([len(sentence.words) for sentence in chosen])
    return list(chosen[: max(1, int(np.searchsorted(total, most, "right")))])


def _asked(sentences: Sequence[Sentence]) -> Bool[np.ndarray, " sentence"]:
    keys = np.array([sentence.key for sentence in sentences], np.uint64)
    return np.asarray(chance.uniform("linear asked", keys) < ASKED)


def word_tasks(sentences: Sequence[Sentence], full: bool, warnings: list[str]) -> Iterator[Task]:
    """Of sentences with gold."""
    if not sentences[0].tags:
        return
    sizes = [len(sentence.words) for sentence in sentences]
    word = tuple(chain.from_iterable(sentence.words for sentence in sentences))
    asked = np.repeat(_asked(sentences), sizes)
    keys = [key_of(sentence.words, place) for sentence in sentences for place in range(len(sentence.words))]
    tags = list(chain.from_iterable(sentence.tags for sentence in sentences))
    if pos := _task("pos", "part of speech", tags, np.arange(len(word)), asked, warnings, word=word):
        yield replace(pos, key=tuple(keys[i] for i in pos.thing[pos.known :]))
        if full:
            yield _control(pos)
    begin = np.cumsum([0, *sizes[:-1]]).tolist()
    pairs = [(start + place, start + head - 1, relation) for start, sentence in zip(begin, sentences, strict=True)
             for place, (head, relation) in enumerate(zip(sentence.heads, sentence.relations, strict=True))
             if head]  # fmt: skip
    if not pairs:
        warnings.append("the file has no dependencies, so relations are not measured")
        return
    things, heads, relations = zip(*pairs, strict=True)
    head_of = dict(zip(things, heads, strict=True))
    if task := _task("relation", "relation", relations, np.array(things), asked, warnings, word=word):
        yield replace(task, head=np.array([head_of[thing] for thing in task.thing.tolist()]))


def _control(pos: Task) -> Task:
    """The control task of Hewitt & Liang (2019): a tag for each word, drawn as often as tags are."""
    share_below = np.cumsum(np.bincount(pos.label[: pos.known], minlength=len(pos.names))) / pos.known
    drawn = chance.uniform("linear control", np.array([key_of(word) for word in pos.word], np.uint64))
    label = np.minimum(np.searchsorted(share_below, drawn, "right"), len(pos.names) - 1)
    return replace(pos, name="pos_control", label=label, word=())


def sentence_tasks(sentences: Sequence[Sentence], warnings: list[str]) -> Iterator[Task]:
    asked = _asked(sentences)
    stand = [{word.lower() for word in sentence.words if word.isalpha()} for sentence in sentences]
    often = Counter(chain.from_iterable(stand))
    mid = [word for word, n in often.items() if 2 * FEWEST <= n <= MID * len(sentences)]
    chosen = set(sorted(mid, key=lambda word: (-often[word], word))[:CONTENT])
    one = {i: next(iter(words & chosen)) for i, words in enumerate(stand) if len(words & chosen) == 1}
    things, names = np.array(list(one), np.int64), list(one.values())
    if task := _task("content", "mid-frequency word", names, things, asked, warnings, of_sentence=True):
        yield task
    lengths = np.array([len(sentence.words) for sentence in sentences])
    known = lengths[~asked] if not asked.all() else lengths
    edges = np.unique(np.quantile(known, np.arange(1, BINS) / BINS, method="higher"))
    bins = [f"bin {number}" for number in np.searchsorted(edges, lengths, "left").tolist()]
    if task := _task("length", "length", bins, np.arange(len(sentences)), asked, warnings, of_sentence=True):
        yield task


def _task(
    name: str,
    what: str,
    labels: Sequence[str],
    things: Int64[np.ndarray, " thing"],
    asked: Bool[np.ndarray, " all"],
    warnings: list[str],
    word: tuple[str, ...] = (),
    of_sentence: bool = False,
) -> Task | None:
    """Those things whose labels are common enough, in order, the known first; None if fewer than two labels are left.

    `asked` and `word` are of all words or sentences, and `things` says which of them have the labels.
    """
    here = asked[things]
    known, all_of = Counter(np.array(labels)[~here].tolist()), Counter(labels)
    names = tuple(sorted(label for label in all_of if known[label] >= FEWEST and all_of[label] > known[label]))
    if not of_sentence:  # whose labels are made by the probe itself
        warnings += [
            f"the {what} {label} has {known[label]} examples to learn from and {n - known[label]} to ask about, too "
            "few; it is left out" for label, n in sorted(all_of.items()) if label not in names
        ]  # fmt: skip
    if len(names) < 2:
        warnings.append(f"no two of what it tells apart ({what}) have {FEWEST} examples, so {name} is not measured")
        return None
    number = {label: i for i, label in enumerate(names)}
    kept = np.flatnonzero([label in number for label in labels])
    kept = np.concatenate([kept[~here[kept]], kept[here[kept]]])
    index = np.array([number[labels[i]] for i in kept.tolist()])
    return Task(
        name,
        index,
        names,
        int((~here[kept]).sum()),
        things[kept],
        of_sentence=of_sentence,
        word=tuple(word[thing] for thing in things[kept]) if word else (),
    )
