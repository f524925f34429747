"""Text from a model that writes: sampled, greedy or by beam search, for many prompts at once."""

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import msgspec
import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor

from sesame.config import Generate
from sesame.data.chance import purpose_key
from sesame.engine.build import Model
from sesame.errors import UserError, nearest
from sesame.tasks.beam import beam_search
from sesame.tasks.decoders import Decoder, decoder_of
from sesame.tasks.reading import name
from sesame.tasks.sampling import Draw, log_probability, penalised, seen_in
from sesame.tasks.streaming import Writing

log = logging.getLogger(__name__)

ROWS = 32
"""Texts that are written side by side."""

Finish = Literal["end", "stop", "length", "context"]
"""Why writing ended: the model said so, a stop text, `max_tokens`, or the end of the context."""
Tell = Callable[[int, int, str], None]
"""Told of each new piece of text: number of the prompt, of the sample, the piece."""


@dataclass(frozen=True)
class Generated:
    """One text that was written."""

    prompt: int
    """Number of its prompt, from 0."""
    sample: int
    """Number among those of the prompt, from 0."""
    text: str
    """What was written after the prompt, or as an encoder-decoder's answer to it."""
    tokens: int
    """Tokens that were written, the end token included."""
    log_likelihood: float
    """Of these tokens, as the model has it: in nats, without temperature, filters and penalties (beam search: with the
    repetition penalty, which is what it searched by)."""
    finish: Finish


def generate(
    model: Model,
    prompts: str | Sequence[str],
    settings: Generate | None = None,
    tell: Tell | None = None,
    **fields: Any,
) -> list[Generated]:
    """What `model` writes after each prompt: `settings.samples` texts each, prompt after prompt.

    `fields` replace fields of the settings: `max_tokens=50, temperature=0`. `tell` hears each piece of text as soon as
    it is certain; of beam search, which is certain of nothing before its end, it hears nothing.
    Raises UserError for a model that does not write, an empty prompt, and one that is longer than the model reads.
    """
    settings = checked(settings or Generate(), **fields)
    prompts = [prompts] if isinstance(prompts, str) else list(prompts)
    decoder = decoder_of(model)
    if settings.beams > decoder.vocabulary.size:
        raise UserError(
            f"--beams {settings.beams}: the vocabulary has {decoder.vocabulary.size} tokens, and a beam is wide "
            "enough with one for each. Choose fewer."
        )
    read, limits = _fitted(model, decoder, prompts, settings)
    found: list[Generated] = []
    per_prompt = settings.beams if settings.beams > 1 else settings.samples
    together = max(1, ROWS // per_prompt)
    with torch.inference_mode():
        for first in range(0, len(prompts), together):
            some = slice(first, first + together)
            scores = decoder.start(read[some], max(limits[some]), settings.long == "window")
            way = _beams if settings.beams > 1 else _samples
            found += way(decoder, scores, prompts[some], read[some], limits[some], first, settings, tell)
    if any(each.finish == "context" for each in found):
        log.warning("writing ended where the context did, after %d positions; --long window goes on", decoder.reach)
    return found


def checked(settings: Generate, **fields: Any) -> Generate:
    """`settings` with other values; UserError where they do not go together."""
    for field in fields:
        if field not in Generate.__struct_fields__:
            raise UserError(f"generation has no setting {field!r}.{nearest(field, Generate.__struct_fields__)}")
    try:
        settings = msgspec.convert(msgspec.to_builtins(settings) | msgspec.to_builtins(fields), Generate)
    except msgspec.ValidationError as error:
        raise UserError(f"how to generate: {error}.") from None
    drawing = settings.temperature is not None or settings.top_k or settings.top_p < 1 or settings.min_p
    if settings.beams > 1 and drawing:
        raise UserError("beam search draws nothing: leave out --temperature, --top-k, --top-p and --min-p, or --beams.")
    if settings.temperature == 0 and (settings.top_k or settings.top_p < 1 or settings.min_p):
        raise UserError("--temperature 0 takes the likeliest token, so there is nothing for --top-k, --top-p and "
                        "--min-p to choose from. Leave them out.")  # fmt: skip
    if settings.beams > 1 and settings.samples > settings.beams:
        raise UserError(f"{settings.samples} texts were asked for, of {settings.beams} beams. Choose more beams.")
    if settings.beams == 1 and settings.temperature == 0 and settings.samples > 1:
        raise UserError("--temperature 0 writes the same text each time. Ask for one, or choose a temperature above 0.")
    if "" in settings.stop:
        raise UserError("an empty stop text is everywhere. Leave it out.")
    return settings


def _fitted(
    model: Model, decoder: Decoder, prompts: Sequence[str], settings: Generate
) -> tuple[list[list[int]], list[int]]:
    """What is read of each prompt, and how many tokens may follow it."""
    read, limits = [], []
    for number, ids in enumerate(decoder.encode(prompts), 1):
        which = f"prompt {number}" if len(prompts) > 1 else "the prompt"
        if not ids:
            raise UserError(f"{which} is empty. Give {name(model)} a few words to go on from.")
        try:
            kept, limit = decoder.fitting(ids, settings.max_tokens, settings.long == "window")
        except ValueError as error:
            raise UserError(f"{which} is too long: {error}. Shorten it, or pass --long window.") from None
        if len(kept) < len(ids):
            log.warning("%s has %d tokens; %d of them are read", which, len(ids), len(kept))
        read.append(kept)
        limits.append(limit)
    return read, limits


def _samples(
    decoder: Decoder,
    scores: Tensor,
    prompts: Sequence[str],
    read: list[list[int]],
    limits: list[int],
    first: int,
    settings: Generate,
    tell: Tell | None,
) -> Iterator[Generated]:
    """Token after token, for all samples of all prompts; rows that have ended are let go of when they are many."""
    n, device, end = settings.samples, scores.device, decoder.vocabulary.sep
    prompt = np.repeat(np.arange(len(prompts)), n)
    rows = torch.from_numpy(prompt).to(device)
    if n > 1:
        decoder.take(rows)
        scores = scores[rows]
    key = np.array([purpose_key(text) for text in prompts], np.uint64)[prompt]
    draw = Draw(settings, key, np.tile(np.arange(n), len(prompts)))
    limit = torch.tensor(limits, device=device)[rows]
    penalty = settings.repetition_penalty
    seen = seen_in([read[i] for i in prompt], decoder.vocabulary.size, device) if penalty != 1 else None
    longest, total = max(limits), len(prompt)
    written = torch.zeros(total, longest, dtype=torch.int64, device=device)
    size = torch.full((total,), longest, device=device)
    likelihood = torch.zeros(total, dtype=torch.float64, device=device)
    watched = _watched(decoder, read, prompt, first, n, settings, tell) if settings.stop or tell else None
    row = torch.arange(total, device=device)  # which text each row of the decoder writes
    open_ = torch.ones(total, dtype=torch.bool, device=device)
    for place in range(longest):
        token = draw(scores if seen is None else penalised(scores, seen, penalty), place)
        written[row, place] = token
        likelihood[row] += torch.where(open_, log_probability(scores, token), 0.0)
        ends = open_ & ((token == end) | (place + 1 >= limit))
        if watched is not None:
            ends |= open_ & _heard(watched, row, token, open_, end)
        size[row[ends]] = place + 1
        open_ = open_ & ~ends
        left = int(open_.sum())
        if not left:
            break
        if left <= len(row) // 2:
            kept = open_.nonzero()[:, 0]
            decoder.take(kept)
            draw.take(kept.numpy(force=True))
            row, token, limit, open_ = row[kept], token[kept], limit[kept], open_[kept]
            seen = None if seen is None else seen[kept]
        if seen is not None:
            seen.scatter_(1, token[:, None], True)
        scores = decoder.step(token)
    for number in range(total):
        ids = written[number, : int(size[number])].tolist()
        writing = watched[number] if watched is not None else Writing(partial(decoder.text, read[prompt[number]]))
        text, stopped = writing.finished([i for i in ids if i != end] if watched is None else None)
        limited = limits[prompt[number]] < settings.max_tokens
        finish: Finish = "stop" if stopped else "end" if ids[-1] == end else "context" if limited else "length"
        yield Generated(first + int(prompt[number]), number % n, text, len(ids), float(likelihood[number]), finish)


def _watched(
    decoder: Decoder, read: list[list[int]], prompt: Int[np.ndarray, " row"], first: int, n: int, settings: Generate,
    tell: Tell | None,
) -> list[Writing]:  # fmt: skip
    """The texts as they grow, for stop texts and whoever listens."""

    def telling(number: int) -> Callable[[str], None] | None:
        return None if tell is None else lambda piece: tell(first + int(prompt[number]), number % n, piece)

    return [Writing(partial(decoder.text, read[p]), settings.stop, telling(number)) for number, p in enumerate(prompt)]


def _heard(watched: list[Writing], row: Tensor, token: Tensor, open_: Tensor, end: int) -> Tensor:
    """Which rows have just written a stop text."""
    stops = [
        is_open and i != end and watched[r].add(i)
        for r, i, is_open in zip(row.tolist(), token.tolist(), open_.tolist(), strict=True)
    ]
    return torch.tensor(stops, device=row.device)


def _beams(
    decoder: Decoder,
    scores: Tensor,
    prompts: Sequence[str],
    read: list[list[int]],
    limits: list[int],
    first: int,
    settings: Generate,
    tell: Tell | None,
) -> Iterator[Generated]:
    """The best `samples` beams of each prompt; a text is cut at its first stop text."""
    penalty, end = settings.repetition_penalty, decoder.vocabulary.sep
    seen = seen_in(read, decoder.vocabulary.size, scores.device) if penalty != 1 else None
    found = beam_search(decoder, scores, torch.tensor(limits, device=scores.device), seen, settings)
    for number, beams in enumerate(found):
        for sample, beam in enumerate(beams[: settings.samples]):
            writing = Writing(partial(decoder.text, read[number]), settings.stop)
            text, stopped = writing.finished([i for i in beam.tokens if i != end])
            limited = limits[number] < settings.max_tokens
            ended: Finish = "end" if beam.tokens[-1] == end else "context" if limited else "length"
            finish: Finish = "stop" if stopped else ended
            yield Generated(first + number, sample, text, len(beam.tokens), beam.log_likelihood, finish)
