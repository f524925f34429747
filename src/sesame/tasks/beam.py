"""Beam search: of each prompt the `beams` likeliest texts so far, step by step.

Candidates, stopping and ranking are those of `transformers` (`early_stopping=False`): of 2·beams continuations those
among the best `beams` that end a text are finished, and the others go on; a text is ranked by its log-probability over
length**length_penalty, where the length is what was written, its end token included; a prompt is done when its best
open beam, ranked at its present length, cannot enter the finished ones.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from sesame.config import Generate
from sesame.tasks.decoders import Decoder, Ids
from sesame.tasks.sampling import penalised, seen_in


@dataclass(frozen=True)
class Beam:
    """A finished text of one prompt."""

    tokens: tuple[int, ...]
    log_likelihood: float
    score: float
    """What it is ranked by."""


NEVER = float("-inf")


def beam_search(decoder: Decoder, read: Sequence[Ids], limits: Sequence[int], settings: Generate) -> list[list[Beam]]:
    """The finished texts of each prompt, best first; `limits` says how many tokens may follow it."""
    scores = decoder.start(read, max(limits), settings.long == "window")
    limit = torch.tensor(limits, device=decoder.device)
    seen = None
    if settings.repetition_penalty != 1:
        seen = seen_in([decoder.before(ids) for ids in read], scores.shape[1], decoder.device)
    k, end, penalty = settings.beams, decoder.vocabulary.sep, settings.length_penalty
    prompts, vocab = scores.shape
    device, longest = scores.device, max(limits)
    decoder.take(torch.arange(prompts, device=device).repeat_interleave(k))
    scores = scores.repeat_interleave(k, 0)
    seen = None if seen is None else seen.repeat_interleave(k, 0)
    first_row = torch.arange(prompts, device=device)[:, None] * k
    open_text = torch.zeros(prompts, k, longest, dtype=torch.int64, device=device)
    open_sum = torch.full((prompts, k), NEVER, device=device)
    open_sum[:, 0] = 0.0  # all beams of a prompt begin alike: one of them speaks for all
    done_text, done_size = open_text.clone(), torch.zeros(prompts, k, dtype=torch.int64, device=device)
    done_sum, done_score = torch.full_like(open_sum, NEVER), torch.full_like(open_sum, NEVER)
    alive = torch.ones(prompts, 1, dtype=torch.bool, device=device)
    among_best = torch.arange(2 * k, device=device) < k
    for step in range(longest):
        size = step + 1
        log_p = scores.log_softmax(1)
        if seen is not None:
            log_p = penalised(log_p, seen, settings.repetition_penalty)
        every = (log_p.view(prompts, k, vocab) + open_sum[..., None]).flatten(1)
        if every.shape[1] < 2 * k:
            every = torch.nn.functional.pad(every, (0, 2 * k - every.shape[1]), value=NEVER)
        total, index = every.topk(2 * k)
        beam, token = (index // vocab).clamp_(max=k - 1), index % vocab
        text = open_text.gather(1, beam[..., None].expand(-1, -1, longest))
        text[..., step] = token
        ends = (token == end) | (size >= limit)[:, None]

        finished = ends & among_best & alive
        score = (total / size**penalty).masked_fill(~finished, NEVER)
        done_score, best = torch.cat([done_score, score], 1).topk(k)
        done_text = torch.cat([done_text, text], 1).gather(1, best[..., None].expand(-1, -1, longest))
        done_sum = torch.cat([done_sum, total], 1).gather(1, best)
        done_size = torch.cat([done_size, torch.full_like(token, size)], 1).gather(1, best)

        open_sum, best = total.masked_fill(ends, NEVER).topk(k)
        open_text = text.gather(1, best[..., None].expand(-1, -1, longest))
        beam, token = beam.gather(1, best), token.gather(1, best)
        # Every place of the finished ones is taken, and by something better: nothing more can come.
        hope = open_sum[:, :1] / size**penalty > done_score.min(1, keepdim=True).values
        alive = alive & hope & (size < limit)[:, None]
        if not alive.any():
            break
        rows = (first_row + beam).flatten()
        decoder.take(rows)
        if seen is not None:
            seen = seen[rows].scatter_(1, token.flatten()[:, None], True)
        scores = decoder.step(token.flatten())
    return [
        [
            Beam(tuple(text[:size]), total, score)
            for text, size, total, score in zip(*each, strict=True)
            if score > NEVER
        ]
        for each in zip(
            done_text.tolist(), done_size.tolist(), done_sum.tolist(), done_score.tolist(), strict=True
        )
    ]  # fmt: skip
