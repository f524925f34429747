"""Facts that a text model fills in, from a file of yours: --probe cloze=FILE.

The file is JSON lines, TSV or CSV, also .gz, with the fields `text`, in which [MASK] stands for the answer ("The
capital of France is [MASK]."), `answer`, and, if there are kinds of facts, `relation` (Petroni et al. 2019).
`top1` and `top10` are the shares of facts whose answer is the first, or among the first ten, of the whole vocabulary;
`reciprocal_rank` is the mean of 1 / rank. An answer of several sub-words is asked for with as many masks, and has the
rank of its worst sub-word, so that it is first only where all are. A causal LM sees what stands before the answer.

The live form asks 250 facts, evenly from all relations; the full one asks all.
"""

from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from sesame.engine.build import Model
from sesame.errors import UserError
from sesame.probes import rows
from sesame.probes.base import Answer, Ask, Item, Value
from sesame.probes.prediction import Reader, Word, predict
from sesame.probes.words import Asked, balanced, keyed_order, placed, say_once, share, shown_of

READS = ("text",)

LIGHT = 250
HOLE = "[MASK]"


@dataclass(frozen=True)
class Facts:
    asked: list[Asked]
    words: list[Word]
    shown: set[int]
    left_out: Counter[str]


def measure(model: Model, ask: Ask) -> Iterator[Answer]:
    reader = Reader.of(model)
    facts = ask.once(("cloze", ask.source, ask.full, reader.room, reader.vocabulary.hash), lambda: _facts(reader, ask))
    say_once(ask, "cloze", facts.left_out)
    predicted = predict(reader, facts.words, shown=facts.shown)
    groups = np.array([one.group for one in facts.asked])
    rank = predicted.rank
    for group in dict.fromkeys([*np.unique(groups).tolist(), ""]):
        of = rank[(groups == group) | (group == "")]
        yield share("top1", of <= 1, group)
        yield share("top10", of <= 10, group)
        yield Value("reciprocal_rank", float((1 / of).mean()), len(of), group)
    for metric, most in (("top1", 1), ("top10", 10)):
        for number, one in enumerate(facts.asked):
            guesses = predicted.guesses.get(number, ())
            text = one.shown if guesses else ""
            yield Item(metric, one.key, one.group, bool(rank[number] <= most), one.word, text, guesses)


def _facts(reader: Reader, ask: Ask) -> Facts:
    if not ask.source:
        raise UserError("cloze: no facts were given. Give a file with the fields text and answer: --probe cloze=FILE.")
    left_out = Counter[str]()
    every = list(dict.fromkeys(_read(Path(ask.source))))
    found = placed(reader, every, left_out)
    if not found:
        raise UserError(
            f"{ask.source}: none of its {len(every):,} facts can be asked "
            f"({'; '.join(f'{n:,} {what}' for what, n in left_out.items())})."
        )
    grouped: dict[str, list[int]] = defaultdict(list)
    for number in keyed_order([one.key for one, _ in found]):
        grouped[found[number][0].group].append(number)
    chosen = balanced(dict(sorted(grouped.items())), len(found) if ask.full else LIGHT)
    asked, words = [found[n][0] for n in chosen], [found[n][1] for n in chosen]
    return Facts(asked, words, shown_of([one.key for one in asked], [one.group for one in asked]), left_out)


def _read(path: Path) -> Iterator[Asked]:
    for row in rows.read(path, "text", "answer", ("relation",)):
        answer = (row.pair or "").strip()
        if row.text.count(HOLE) != 1:
            raise UserError(
                f"{row.where}: {HOLE} stands in the text {row.text.count(HOLE)} times; once is expected, where the "
                "answer belongs. Write one row for each answer."
            )
        start = row.text.index(HOLE)
        yield Asked(row.text.replace(HOLE, answer), start, start + len(answer), row.label or "")
