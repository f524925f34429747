"""Which kinds of words a text model fills in right: mask prediction and reconstruction by part of speech.

The protocol of Chiang, Huang & Lee (2020): a word counts where all of its sub-words are right. `mask_prediction` hides
the word and nothing else; `reconstruction` hides nothing. A causal LM is asked for the `next_word` instead, from what
is left of it. Gold is a CoNLL-U file, also .gz (--probe word-classes=FILE). Without one, held-out text is searched for
words of classes that need no gold: closed classes of English, and in pydocs parameters, objects and first verbs. The
words are a keyed choice, the same at every step, equally many of each class: 250 together in the live form, 1,500 in
the full one.

`…_matched` compares classes at the same frequencies: classes differ in how often their words occur, and frequent words
are learned first. In every octave of frequency in the training text as many words of each class are asked, as many as
the class with the fewest has there. `…_unigram` is what needs no sentence and knows nothing: always the one word, of
all that are asked, that is the most frequent in the training text. `…_majority` is told the class: always the class's
most frequent word (its count times the share of its occurrences that has this class). A model above the first makes
use of the sentence; one above the second also tells the words of a class apart. All of this needs the run's data, and
is left out where they are gone.
"""

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from sesame.config import Tagging
from sesame.data.text import TextSet
from sesame.engine.build import Model
from sesame.errors import UserError
from sesame.probes.base import Answer, Ask, Item, Value
from sesame.probes.closed_class import built_in
from sesame.probes.prediction import Predictions, Reader, Word, predict
from sesame.probes.training_text import word_counts
from sesame.probes.words import Asked, balanced, keyed_order, placed, quota, say_once, share, shown_of
from sesame.tasks import conll
from sesame.tasks.base import Notes

READS = ("text",)

LIGHT, FULL = 250, 1500
"""Words that are asked about, of all classes together."""
FEWEST = 5
"""Words below which a class is left out: a share of so few says nothing."""
CLASSES = {
    "DET": "determiner",
    "CCONJ": "conjunction",
    "SCONJ": "conjunction",
    "ADP": "preposition",
    "PRON": "pronoun",
    "AUX": "auxiliary",
    "ADV": "adverb",
    "VERB": "verb",
    "NOUN": "noun",
    "ADJ": "adjective",
    "PROPN": "proper noun",
}
"""Universal parts of speech to classes: the nine of the paper, and auxiliaries, which are function words, apart."""
UNIGRAM, MAJORITY = "unigram", "majority"
"""Ends of the metrics that are a level for the metric before."""
OTHER = ("INTJ", "NUM", "PART", "PUNCT", "SYM", "X")
"""Parts of speech that are in no class."""


@dataclass(frozen=True)
class Questions:
    """What a model is asked, at every step."""

    asked: list[Asked]
    words: list[Word]
    plain: int
    """The first so many are asked as they come."""
    matched: list[int]
    """Numbers of those that are chosen by frequency."""
    constant: dict[str, list[bool]]
    """Of each level that needs no sentence, whether it gets a word right; empty where the training text is unknown."""
    shown: set[int]
    left_out: Counter[str]
    warnings: list[str]


def measure(model: Model, ask: Ask) -> Iterator[Answer]:
    reader = Reader.of(model)
    name = ("word-classes", ask.source, ask.full, reader.room, reader.vocabulary.hash)
    questions = ask.once(name, lambda: _questions(reader, ask))
    say_once(ask, "word-classes", questions.left_out, questions.warnings)
    metric = "next_word" if reader.causal else "mask_prediction"
    predicted, plain = predict(reader, questions.words, shown=questions.shown), range(questions.plain)
    yield from _answers(metric, questions, plain, predicted)
    yield from _answers(f"{metric}_matched", questions, questions.matched, predicted)
    if not reader.causal:
        predicted = predict(reader, questions.words[: questions.plain], hidden=False, shown=questions.shown)
        yield from _answers("reconstruction", questions, plain, predicted)


def _answers(metric: str, questions: Questions, chosen: Sequence[int], predicted: Predictions) -> Iterator[Answer]:
    """The share of the chosen words that is right, by class and of all, and each of these words."""
    by_group = _grouped(chosen, questions.asked)
    for group, numbers in [*by_group.items(), ("", list(chosen))]:
        if numbers:
            yield share(metric, predicted.right[numbers], group)
            for level, right_of in questions.constant.items():
                if group or level == UNIGRAM:
                    said = [right_of[number] for number in numbers]
                    yield Value(f"{metric}_{level}", float(np.mean(said)), len(said), group)
    for number in chosen:
        one, right = questions.asked[number], bool(predicted.right[number])
        guesses = predicted.guesses.get(number, ())
        yield Item(metric, one.key, one.group, right, one.word, one.shown if guesses else "", guesses)


# ---------------------------------------------------------------------------------------------- questions
def _questions(reader: Reader, ask: Ask) -> Questions:
    left_out = Counter[str]()
    every = gold(Path(ask.source), left_out) if ask.source else built_in(ask.data)
    once = list({(one.text, one.start): one for one in every}.values())
    left_out["words of a sentence that came before"] = len(every) - len(once)
    found = placed(reader, once, left_out)
    grouped = _grouped(range(len(found)), [one for one, _ in found])
    few = {group: len(numbers) for group, numbers in grouped.items() if len(numbers) < FEWEST}
    warnings = [f"the class {group} has {n} words, too few to say anything; it is left out" for group, n in few.items()]
    if not grouped.keys() - few.keys():
        raise UserError(
            f"{ask.source or 'word-classes'}: no class has {FEWEST} words that can be asked about "
            f"({'; '.join(f'{n:,} {what}' for what, n in left_out.items() if n) or 'the text is too short'})."
        )
    found = [(one, word) for one, word in found if one.group not in few]

    most = FULL if ask.full else LIGHT
    asked, words = [one for one, _ in found], [word for _, word in found]
    plain = balanced(_grouped(_order(asked), asked), most)
    matched: list[int] = []
    constant: dict[str, list[bool]] = {}
    if isinstance(ask.data, TextSet):
        counts = _counts(ask.data, words)
        constant = _constant(asked, words, counts)
        matched = at_same_frequencies(asked, counts, most)
        missing = sorted({one.group for one in asked} - {asked[number].group for number in matched})
        if missing:
            warnings.append(f"too few words as frequent as those of the other classes: {', '.join(missing)}")
    else:
        warnings.append("the run's data are not here: no baselines, and no comparison at the same frequency")
    kept = list(dict.fromkeys([*plain, *matched]))
    place = {number: i for i, number in enumerate(kept)}
    return Questions(
        [asked[n] for n in kept],
        [words[n] for n in kept],
        len(plain),
        [place[n] for n in matched],
        {level: [right[n] for n in kept] for level, right in constant.items()},
        shown_of([asked[n].key for n in plain], [asked[n].group for n in plain]),
        left_out,
        warnings,
    )


def gold(path: Path, left_out: Counter[str]) -> list[Asked]:
    """The words of a CoNLL-U file in their classes; those of other parts of speech are counted in `left_out`.

    UserError, with file and line, where it is faulty.
    """
    found = []
    tags = Counter[str]()
    for sentence in conll.read(Tagging(), path, Notes()):
        if not sentence.rows:
            raise UserError(f"{path}: word classes are read from CoNLL-U, which says where spaces stand; this is not.")
        assert sentence.tags is not None, "read with labelled=True"
        text, spans = running(sentence)
        for tag, span in zip(sentence.tags, spans, strict=True):
            tags[tag] += 1
            if tag in OTHER:
                left_out[f"words that are {tag}"] += 1
            elif span is None:
                left_out["words that are fused in writing"] += 1
            elif tag in CLASSES:
                found.append(Asked(text, *span, CLASSES[tag]))
    if strange := [tag for tag in tags if tag not in CLASSES and tag not in OTHER]:
        raise UserError(f"{path}: {strange[0]!r} is no universal part of speech ({', '.join([*CLASSES, *OTHER])}).")
    return found


def running(sentence: conll.Sentence) -> tuple[str, list[tuple[int, int] | None]]:
    """A sentence of CoNLL-U as it is written, and where in it each word stands.

    None for words that are written as one, unless together they are spelled as that is ("don't" is "do" and "n't").
    """
    text = ""
    spans: list[tuple[int, int] | None] = []
    within, until, at = 0, 0, 0  # the words of the last range, and where the next of them is
    rows = [row.split("\t") for row in sentence.rows if not row.startswith("#")]
    forms = {cells[0]: cells[1].strip(" ") for cells in rows}
    for number, form, *_, misc in rows:
        if "." in number:
            continue
        if "-" in number:
            within, until = map(int, number.split("-"))
            spelled = "".join(forms[str(word)] for word in range(within, until + 1)) == form
            at = len(text) if spelled else -1
        elif int(number) <= until:
            spans.append((at, at + len(form)) if at >= 0 else None)
            at += len(form) if at >= 0 else 0
            continue
        else:
            spans.append((len(text), len(text) + len(form)))
        text += form if "SpaceAfter=No" in misc.split("|") else f"{form} "
    return text.rstrip(" "), spans


# ----------------------------------------------------------------------------------------------- choosing
def _order(asked: Sequence[Asked]) -> list[int]:
    return keyed_order([one.key for one in asked])


def _grouped(numbers: Sequence[int], asked: Sequence[Asked]) -> dict[str, list[int]]:
    """Numbers by class, in the order given; classes by name."""
    found: dict[str, list[int]] = defaultdict(list)
    for number in numbers:
        found[asked[number].group].append(number)
    return dict(sorted(found.items()))


def at_same_frequencies(asked: Sequence[Asked], counts: Sequence[int], most: int) -> list[int]:
    """A choice in which every class has equally many words of each octave of frequency.

    `counts` are each word's occurrences in the training text; words that never occur are an octave of their own. Where
    that leaves fewer than `FEWEST` of a class, the class that shares the least with the others is left out, and so on.
    Empty where no two classes have words of the same frequency.
    """
    octaves: dict[int, dict[str, list[int]]] = defaultdict(lambda: defaultdict(list))
    for number in _order(asked):
        octaves[int(counts[number]).bit_length()][asked[number].group].append(number)

    def common(classes: Sequence[str]) -> list[int]:
        """Words of each class, by octave."""
        return [min(len(found[name]) for name in classes) for _, found in sorted(octaves.items())]

    classes = sorted({one.group for one in asked})
    while len(classes) > 1 and sum(common(classes)) < FEWEST:
        classes = max(([c for c in classes if c != name] for name in classes), key=lambda rest: sum(common(rest)))
    if len(classes) < 2:
        return []
    sizes = common(classes)
    cap = quota(sizes, most // len(classes))
    chosen: list[int] = []
    for (_, found), size in zip(sorted(octaves.items()), sizes, strict=True):
        for name in classes:
            chosen += found[name][: min(size, cap)]
    return chosen


def _counts(data: TextSet, words: Sequence[Word]) -> list[int]:
    """How often each word occurs in the training text."""
    spelled = [tuple(word.ids[word.start : word.stop].tolist()) for word in words]
    different = list(dict.fromkeys(spelled))
    counts = dict(zip(different, word_counts(data.store, different).tolist(), strict=True))
    return [counts[word] for word in spelled]


def _constant(asked: Sequence[Asked], words: Sequence[Word], counts: Sequence[int]) -> dict[str, list[bool]]:
    """Which words are the most frequent one of all, and of their class."""
    spelled = [tuple(word.ids[word.start : word.stop].tolist()) for word in words]
    in_all = Counter(spelled)
    in_class = Counter(zip((one.group for one in asked), spelled, strict=True))
    seen = dict(zip(spelled, counts, strict=True))
    best: dict[str, tuple[float, tuple[int, ...]]] = {}
    for (group, word), n in in_class.items():
        best[group] = max(best.get(group, (-1.0, ())), (seen[word] * n / in_all[word], word))
    first = max(seen, key=lambda word: (seen[word], word))
    of_class = [word == best[one.group][1] for one, word in zip(asked, spelled, strict=True)]
    return {UNIGRAM: [word == first for word in spelled], MAJORITY: of_class}
