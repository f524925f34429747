"""Hidden spans of frames: what the speech tasks that recover them from both sides have in common."""

from typing import Any

import numpy as np
from jaxtyping import Bool, Int

from sesame import config
from sesame.data import chance
from sesame.data.batch import SpeechBatch
from sesame.errors import UserError


def check(name: str, backbone: Any, causal: bool) -> None:
    """Raise UserError for a backbone over anything but frames, or one that reads the wrong way."""
    c = backbone.config
    if getattr(c, "input", "") != "frames":
        raise UserError(
            f"{name} reads frames. Choose a backbone that does: --backbone.input frames, or a GRU's recipe."
        )
    if c.causal != causal:
        found = "reads from left to right" if c.causal else "sees both sides"
        mend = "--backbone.causal" if causal else "--backbone.no-causal, or another recipe than a GRU's"
        wants = "predicts frames from the past alone" if causal else "recovers frames from both sides"
        raise UserError(f"{name} {wants}, and this backbone {found}. Choose one that does not: {mend}.")


def span_starts(batch: SpeechBatch, row: int, c: config.FrameSpans, purpose: str = "spans") -> Int[np.ndarray, " span"]:
    """Where the spans of one utterance begin: round(frames · rate / span) different places, but at least one.

    A span lies wholly inside the utterance; an utterance shorter than a span is one span. Spans may overlap, as in the
    published code, so that the share of hidden frames is below `rate`.
    """
    size = int(batch.frames_in[row])
    places = max(size - c.span, 0) + 1
    count = min(max(round(size * c.rate / c.span), 1), places)
    drawn = chance.uniform(purpose, batch.seed, batch.epoch, int(batch.key[row]), np.arange(places))
    return np.sort(np.argsort(drawn, kind="stable")[:count])


def covered(starts: Int[np.ndarray, " span"], span: int, size: int) -> Int[np.ndarray, " frame"]:
    """The frames of spans from `starts`, span after span; what two spans share comes twice."""
    return (starts[:, None] + np.arange(min(span, size))).ravel()


def hidden_frames(batch: SpeechBatch, c: config.FrameSpans) -> Bool[np.ndarray, "row time"]:
    """The frames inside the spans of each utterance."""
    hidden = np.zeros(batch.frames.shape[:2], bool)
    for row, size in enumerate(batch.frames_in.tolist()):
        hidden[row, covered(span_starts(batch, row, c), c.span, size)] = True
    return hidden
