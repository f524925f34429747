"""What a masked language model puts into the same gaps at several steps of its training."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from sesame import config
from sesame.data import chance
from sesame.data.encode import SENTENCE, WORD
from sesame.data.store import TokenStore
from sesame.engine import checkpoint
from sesame.engine.build import load
from sesame.errors import UserError
from sesame.report.reading import Pretraining, text_of
from sesame.tasks.fill import Guess, fill

log = logging.getLogger(__name__)

SENTENCES, STEPS, GUESSES = 4, 5, 4
SHORTEST, LONGEST = 8, 30
"""Tokens of a sentence that is shown."""
_MOST_DOCUMENTS = 200
"""Held-out documents that are looked through for such sentences."""


@dataclass(frozen=True)
class Gap:
    """A text with one [MASK], and the word that stood there; "" where nobody knows."""

    text: str
    word: str = ""


@dataclass(frozen=True)
class Filled:
    """The best guesses for one gap, checkpoint after checkpoint."""

    gap: Gap
    guesses: list[tuple[int, tuple[Guess, ...]]]
    """(step, guesses), the first checkpoint first."""


def fills(run: Pretraining, texts: Sequence[str] = ()) -> tuple[list[Filled], list[str]]:
    """The gaps of `texts`, or of the run's own held-out text, at up to five checkpoints; and what could not be had.

    Nothing for a run that does not learn to fill. A text of `texts` that cannot be filled raises UserError.
    """
    pretext = run.run.recipe.pretext
    if not isinstance(pretext, config.Bert) or not pretext.masked_lm:
        return [], []
    notes: list[str] = []
    try:
        gaps = [Gap(text) for text in texts] or held_out_gaps(run)
    except UserError as error:
        return [], [f"No sentences of its own can be filled: {error} Give some with --text."]
    guesses: list[list[tuple[int, tuple[Guess, ...]]]] = [[] for _ in gaps]
    for step in steps_of(run):
        try:
            model = load(run.run.path, step)
        except UserError as error:
            notes.append(f"The checkpoint of step {step:,} is left out: {error}")
            continue
        for gap, found in zip(gaps, guesses, strict=True):
            found.append((step, fill(model, gap.text, GUESSES).masks[0]))
    if not any(guesses):
        return [], [*notes, "There is no checkpoint to fill with."]
    return [Filled(gap, found) for gap, found in zip(gaps, guesses, strict=True)], notes


def steps_of(run: Pretraining) -> list[int]:
    """The first checkpoint, the last, and those spread between them."""
    steps = [int(path.name.split("-")[1]) for path in checkpoint.listed(run.run.checkpoints)]
    places = np.linspace(0, len(steps) - 1, min(STEPS, len(steps))).round().astype(int)
    return [steps[i] for i in np.unique(places)]


def held_out_gaps(run: Pretraining) -> list[Gap]:
    """Sentences that the run never trained on, one word of each hidden: a keyed choice, the same in every report.

    Raises UserError where the prepared text is gone, or is another one by now.
    """
    store = text_of(run.run)
    held_out = np.flatnonzero(store.held_out)
    if not len(held_out):
        raise UserError(f"{store.path} holds out no text.")
    order = held_out[chance.permute(np.arange(len(held_out)), len(held_out), "report documents")]
    gaps: list[Gap] = []
    for document in order[:_MOST_DOCUMENTS].tolist():
        if gap := _gap(store, document):
            gaps.append(gap)
            if len(gaps) == SENTENCES:
                break
    if not gaps:
        raise UserError(f"the held-out text of {store.path} has no sentence of {SHORTEST} to {LONGEST} tokens.")
    return gaps


def _gap(store: TokenStore, document: int) -> Gap | None:
    """One sentence of a document with one whole word hidden; None where no sentence serves."""
    vocabulary, key = store.vocabulary, int(store.keys[document])
    begin, end = store.offsets[document : document + 2].tolist()
    ids, flags = store.ids[begin:end].astype(np.int64), store.flags[begin:end]
    starts = np.append(np.flatnonzero(flags & SENTENCE), len(ids))
    sizes = np.diff(starts)
    fitting = np.flatnonzero((sizes >= SHORTEST) & (sizes <= LONGEST))
    if not len(fitting):
        return None
    chosen = int(fitting[chance.integers(len(fitting), "report sentence", key)])
    here = slice(starts[chosen], starts[chosen + 1])
    sentence, words = ids[here].tolist(), flags[here]
    whole = (words & WORD > 0) & np.append(words[1:] & WORD > 0, True)
    candidates = [i for i in np.flatnonzero(whole).tolist() if vocabulary.decode([sentence[i]]).strip().isalpha()]
    if not candidates:
        return None
    at = candidates[int(chance.integers(len(candidates), "report word", key))]
    text = vocabulary.decode([*sentence[:at], vocabulary.mask, *sentence[at + 1 :]])
    encoded = vocabulary.encode_batch([text], special=True)[0]
    return Gap(text, vocabulary.decode([sentence[at]]).strip()) if encoded.count(vocabulary.mask) == 1 else None
