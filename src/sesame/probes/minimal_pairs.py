"""Whether a text model prefers the right one of two sentences that differ in one thing.

The score is the share of pairs whose right sentence has the higher likelihood; of a BERT the pseudo-log-likelihood
(Salazar et al. 2020; within words as Kauf & Ivanova 2023). Chance is 50%. Without a file the pairs are Sesame's own, of
English, made from templates. A file, or a folder of files (--probe minimal-pairs=PATH), has BLiMP's fields (Warstadt et
al. 2020): `sentence_good` and `sentence_bad` in JSON lines, TSV or CSV, also .gz; pairs are grouped by
`linguistics_term` (or `term`, or `UID`), or by file.

The live form asks 200 pairs, the full one 6,000, evenly from all groups. `accuracy_unigram` is what the frequencies of
tokens in the training text would get alone.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float

from sesame.data.encode import WORD, Encoder
from sesame.data.text import TextSet
from sesame.engine.build import Model
from sesame.errors import UserError
from sesame.probes import rows
from sesame.probes.base import Answer, Ask, Item, Value
from sesame.probes.minimal_pair_templates import Pair, pairs
from sesame.probes.prediction import Ids, Reader, log_likelihoods
from sesame.probes.training_text import token_counts, word_counts
from sesame.probes.words import CLOSING, OPENING, balanced, key_of, keyed_order, say_once, share, shown_of

READS = ("text",)

LIGHT, FULL = 200, 6000
"""Pairs of all phenomena together."""
MADE = 200
"""Pairs of each of Sesame's own phenomena."""
GROUPS = ("linguistics_term", "term", "UID")
"""Fields that name a phenomenon."""


@dataclass(frozen=True)
class Pairs:
    """Pairs as a model reads them."""

    pairs: list[Pair]
    ids: list[Ids]
    """Of the good sentences, then of the bad ones."""
    word_starts: list[np.ndarray]
    left_out: Counter[str]


def measure(model: Model, ask: Ask) -> Iterator[Answer]:
    reader = Reader.of(model)
    name = ("minimal-pairs", ask.source, ask.full, reader.room, reader.vocabulary.hash)
    asked = ask.once(name, lambda: _asked(reader, ask))
    say_once(ask, "minimal-pairs", asked.left_out)
    count = len(asked.pairs)
    groups = np.array([pair.group for pair in asked.pairs])
    likelihood = log_likelihoods(reader, asked.ids, asked.word_starts)
    good, bad = likelihood[:count], likelihood[count:]
    unigram = ask.once((*name, "unigram"), lambda: _unigram(ask.data, asked.ids)) if ask.data is not None else None
    for group in [*np.unique(groups).tolist(), ""]:
        of = (groups == group) | (group == "")
        yield share("accuracy", (good > bad)[of], group)
        yield Value("accuracy_chance", 0.5, int(of.sum()), group)
        if unigram is not None:
            yield Value("accuracy_unigram", float(unigram[of].mean()), int(of.sum()), group)
    keys = [key_of(pair.good, pair.bad) for pair in asked.pairs]
    shown = shown_of(keys, groups.tolist())
    for number, (pair, key) in enumerate(zip(asked.pairs, keys, strict=True)):
        right = bool(good[number] > bad[number])
        own, other, text = _difference(pair)
        if number in shown:
            p = float(1 / (1 + np.exp(np.clip(bad[number] - good[number], -700, 700))))
            best = sorted(((own, p), (other, 1 - p)), key=lambda guess: -guess[1])
            yield Item("accuracy", key, pair.group, right, own, text, tuple(best))
        else:
            yield Item("accuracy", key, pair.group, right, own)


def _difference(pair: Pair) -> tuple[str, str, str]:
    """What the good sentence has that the bad one has not, what the bad one has there, and the good one with it in
    brackets."""
    good, bad = _UNIT.findall(pair.good), _UNIT.findall(pair.bad)
    shorter = min(len(good), len(bad))
    start = next((i for i in range(shorter) if good[i] != bad[i]), shorter)
    end = next((i for i in range(shorter - start) if good[-1 - i] != bad[-1 - i]), shorter - start)
    own, other = ("".join(units[start : len(units) - end]).rstrip() for units in (good, bad))
    before = "".join(good[:start])
    return own, other, f"{before}{OPENING}{own}{CLOSING}{pair.good[len(before) + len(own) :]}"


_UNIT = re.compile("[^\\W\u2e80-\uffff]+|[\\s\\S]")
"""A word, or any other character; Chinese and Japanese characters stand alone."""


# ------------------------------------------------------------------------------------------------- pairs
def _asked(reader: Reader, ask: Ask) -> Pairs:
    if not ask.source and isinstance(ask.data, TextSet):
        _check_english(ask.data)
    every = list(dict.fromkeys(_read(Path(ask.source)) if ask.source else pairs(MADE)))
    encoded = Encoder(reader.vocabulary)([text for pair in every for text in (pair.good, pair.bad)])
    offsets = np.append(0, np.cumsum(encoded.lengths))
    ids = np.split(encoded.ids.astype(np.int64), offsets[1:-1])
    starts = [np.flatnonzero(flags & WORD) for flags in np.split(encoded.flags, offsets[1:-1])]
    unknown = reader.vocabulary.ids.get("unk", -1)
    left_out = Counter[str]()
    kept: dict[str, list[int]] = defaultdict(list)
    for number in keyed_order([key_of(pair.good, pair.bad) for pair in every]):
        both = ids[2 * number], ids[2 * number + 1]
        if any(unknown in sentence for sentence in both):
            left_out["pairs with a word that the tokenizer cannot spell ([UNK])"] += 1
        elif not all(1 <= len(sentence) <= reader.room for sentence in both):
            left_out["pairs longer than the model reads"] += 1
        else:
            kept[every[number].group].append(number)
    chosen = balanced(dict(sorted(kept.items())), FULL if ask.full else LIGHT)
    if not chosen:
        raise UserError(
            f"{ask.source or 'minimal-pairs'}: none of the {len(every):,} pairs can be asked "
            f"({'; '.join(f'{n:,} {what}' for what, n in left_out.items())}). Give pairs in the model's language."
        )
    places = [2 * n for n in chosen] + [2 * n + 1 for n in chosen]
    return Pairs([every[n] for n in chosen], [ids[p] for p in places], [starts[p] for p in places], left_out)


def _check_english(data: TextSet) -> None:
    """UserError where the run's text is not English: "the" is one word in twenty there."""
    the = {tuple(ids) for ids in data.vocabulary.encode_batch(["the", " the"])}
    found = word_counts(data.store, sorted(the)).sum() / max(1, token_counts(data.store).sum())
    if found < 0.005:
        raise UserError(
            f'minimal-pairs: Sesame\'s own pairs are English, and "the" makes {found:.1%} of the training text. Give '
            "pairs in its language: --probe minimal-pairs=FILE."
        )


def _read(path: Path) -> list[Pair]:
    """The pairs of a file, or of every table in a folder."""
    if not path.is_dir():
        stem = path.name.partition(".")[0]
        found = rows.read(path, "sentence_good", "sentence_bad", GROUPS)
        return [Pair(row.text, row.pair or "", row.label or stem) for row in found]
    kinds = (".jsonl", ".tsv", ".csv")
    files = [file for file in sorted(path.iterdir()) if file.name.removesuffix(".gz").endswith(kinds)]
    if not files:
        raise UserError(f"{path}: the folder has no .jsonl, .tsv or .csv file of minimal pairs.")
    return [pair for file in files for pair in _read(file)]


def _unigram(data: TextSet, ids: Sequence[Ids]) -> Float[np.ndarray, " pair"]:
    """For each pair 1 where the good sentence has the higher probability by its tokens' frequencies, ½ for a draw."""
    counts = token_counts(data.store)
    log_frequency = np.log((counts + 1) / (counts.sum() + len(counts)))
    total = np.array([log_frequency[sentence].sum() for sentence in ids])
    good, bad = np.split(total, 2)
    return np.where(np.isclose(good, bad, rtol=0, atol=1e-6), 0.5, good > bad)
