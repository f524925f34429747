"""Text from a model that writes: sampled, greedy or by beam search, for many prompts at once."""

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import msgspec
import numpy as np
import torch
from torch import nn

from sesame.config import Generate
from sesame.data.chance import purpose_key
from sesame.engine import products
from sesame.engine.build import Model
from sesame.errors import UserError, nearest
from sesame.interop.generation import DRAWING
from sesame.tasks.beam import beam_search
from sesame.tasks.decoders import CausalDecoder, Decoder, decoder_of, lay_out
from sesame.tasks.reading import name
from sesame.tasks.sampling import write
from sesame.tasks.streaming import Writing

log = logging.getLogger(__name__)

ROWS = 32
"""Texts that are written side by side."""
LARGE = 1 << 25
"""Bytes of weights that no cache holds."""

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

    `settings` are the model's own where it was published with some. `fields` replace fields of them: `max_tokens=50,
    temperature=0`. `tell` hears each piece of text as soon as
    it is certain; of beam search, which is certain of nothing before its end, it hears nothing.
    Raises UserError for a model that does not write, an empty prompt, and one that is longer than the model reads.
    """
    settings = checked(settings, **fields) if settings else settings_for(model, **fields)
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
    rows = min(together, len(prompts)) * per_prompt
    kind = ready(model.objective, rows)
    with torch.inference_mode(), products.using(kind):
        for first in range(0, len(prompts), together):
            some = slice(first, first + together)
            way = _beams if settings.beams > 1 else _samples
            found += way(decoder, prompts[some], read[some], limits[some], first, settings, tell)
    if any(each.finish == "context" for each in found):
        more = "; --long window goes on" if isinstance(decoder, CausalDecoder) else ""
        log.warning("writing ended where the context did, after %d positions%s", decoder.reach, more)
    return found


def ready(objective: nn.Module, rows: int) -> products.Products:
    """Make `objective` ready to write `rows` texts at a time, and say how to multiply meanwhile.

    That is of a few rows with weights that come from memory; where a cache holds them it matters little.
    """
    weights = list(objective.parameters())
    if weights[0].device.type != "cpu":
        return products.in_use()
    size = sum(w.nbytes for w in weights)
    large = rows <= products.FEW and size >= LARGE
    kind = products.fastest_reading(torch.get_num_threads(), rows, size) if large else products.in_use()
    if kind == "torch" and rows == 1:
        lay_out(objective)
    return kind


def settings_for(model: Model, **fields: Any) -> Generate:
    """How `model` is to write: with `fields`, the rest as it was published, or by default.

    Drawing where a model would search or take the likeliest, or the other way round, takes the other's settings away.
    """
    own = msgspec.to_builtins(model.writes or Generate())
    plain = msgspec.to_builtins(Generate())
    asked = any(name in fields for name in DRAWING)
    if fields.get("beams", 1) > 1 or fields.get("temperature") == 0:
        own |= {name: plain[name] for name in DRAWING}
    elif asked and own["temperature"] == 0:
        own["temperature"] = plain["temperature"]
    if asked:
        own["beams"] = plain["beams"]
    return checked(msgspec.convert(own, Generate), **fields)


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
    prompts: Sequence[str],
    read: list[list[int]],
    limits: list[int],
    first: int,
    settings: Generate,
    tell: Tell | None,
) -> Iterator[Generated]:
    """All samples of some prompts, the first of which is prompt number `first`."""
    n, end = settings.samples, decoder.vocabulary.sep

    def telling(row: int) -> Callable[[str], None] | None:
        return None if tell is None else lambda piece: tell(first + row // n, row % n, piece)

    texts = [
        Writing(partial(decoder.text, read[row // n]), settings.stop, telling(row)) for row in range(n * len(prompts))
    ]
    listening = bool(settings.stop) or tell is not None
    keys = np.array([purpose_key(text) for text in prompts], np.uint64)
    heard = (lambda row, token: texts[row].add(token)) if listening else None
    written = write(decoder, read, limits, settings, keys, heard)
    likelihood = written.log_likelihood.tolist()
    for row, (ids, size) in enumerate(zip(written.tokens.tolist(), written.size.tolist(), strict=True)):
        ids = ids[:size]
        text, stopped = texts[row].finished([i for i in ids if i != end])
        finish = _finish(ids, end, stopped, limits[row // n] < settings.max_tokens)
        yield Generated(first + row // n, row % n, text, size, likelihood[row], finish)


def _beams(
    decoder: Decoder,
    prompts: Sequence[str],
    read: list[list[int]],
    limits: list[int],
    first: int,
    settings: Generate,
    tell: Tell | None,
) -> Iterator[Generated]:
    """The best `samples` beams of each prompt; a text is cut at its first stop text."""
    end = decoder.vocabulary.sep
    for number, beams in enumerate(beam_search(decoder, read, limits, settings)):
        for sample, beam in enumerate(beams[: settings.samples]):
            writing = Writing(partial(decoder.text, read[number]), settings.stop)
            text, stopped = writing.finished([i for i in beam.tokens if i != end])
            finish = _finish(beam.tokens, end, stopped, limits[number] < settings.max_tokens)
            yield Generated(first + number, sample, text, len(beam.tokens), beam.log_likelihood, finish)


def _finish(ids: Sequence[int], end: int, stopped: bool, limited: bool) -> Finish:
    """Why a text ended; `limited`: fewer tokens were left of the context than were asked for."""
    return "stop" if stopped else "end" if ids[-1] == end else "context" if limited else "length"
