"""Run folders and fine-tuning folders as tables of plain rows. Nothing is written into them."""

import base64
import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from msgspec import Struct

from sesame import config
from sesame.data import pictured, unit_of
from sesame.data.store import TokenStore
from sesame.data.text import TextSet
from sesame.engine.run import PICTURE, Run
from sesame.errors import UserError
from sesame.tasks.comparison import ROUNDING, Gain, Mean, Point, Result

Row = dict[str, Any]

MOST_TRAINING_POINTS = 300
"""Points of the training loss that a curve keeps: a phone has fewer dots across."""


@dataclass(frozen=True)
class Pretraining:
    """One run folder."""

    label: str
    """What the page calls it: the end of its path, as long as it must be to be told from the others."""
    run: Run
    state: str
    """running, finished, interrupted, failed, imported; killed where the process is gone without a word."""
    reason: str
    step: int
    held_out: list[Row]
    """`step`, `tokens`, `seconds`, and every measure of the evaluation (`masked_lm.loss`, …)."""
    training: list[Row]
    """The same of the log, averaged where there are more lines than dots."""
    tokens: float
    seconds: float
    """Of training, evaluation included; pauses between two sittings are not counted."""
    began: float
    """Seconds since 1970; 0 where nothing is logged."""
    notes: list[str]
    picture: str = ""
    """What it learns from, as the address of a PNG that holds the picture itself; empty where nothing can be seen."""

    @property
    def terms(self) -> list[str]:
        """The terms of the loss, as they are named in the log."""
        last = (self.held_out or self.training or [{}])[-1]
        return [key.removesuffix(".loss") for key in last if key.endswith(".loss")]

    @property
    def unit(self) -> str:
        """What `tokens` counts."""
        return unit_of(self.run.recipe.data)

    @property
    def pictured(self) -> str:
        """What the picture shows."""
        return pictured(self.run.recipe.data)


def score(result: Point, column: str) -> Mean | None:
    """What one of the columns of a result says: a mean over seeds, or the only number there is."""
    value = getattr(result, column)
    return Mean(float(value), None, 1) if isinstance(value, int | float) else value


def gain_of(result: Point) -> Gain | None:
    """Pretrained over scratch; where nothing was fine-tuned, frozen over random features."""
    return result.gain or result.over_random


def is_clear(gain: Gain) -> bool:
    """Whether it lies more than two standard errors from nothing."""
    return bool(gain.se is not None and abs(gain.mean) > 2 * gain.se)


def is_tied(gain: Gain) -> bool:
    """Whether every seed has the same gain, but for rounding: few seeds may, and that says little of their error."""
    return gain.se is not None and gain.se < ROUNDING < abs(gain.mean)


class _Result(Struct, frozen=True):
    tasks: dict[str, Result]
    seconds: float | None = None
    run: str = ""


@dataclass(frozen=True)
class FineTuning:
    """One fine-tuning folder."""

    label: str
    path: Path
    settings: Row
    """What `config.json` holds, as it is."""
    run: str
    """The pretrained model."""
    seconds: float | None
    tasks: dict[str, Result]
    """Empty while there is no `result.json`."""
    events: list[Row]
    finished: bool

    @property
    def names(self) -> list[str]:
        """Every task that is named anywhere, in order of appearance."""
        return list(dict.fromkeys([*self.tasks, *(event["task"] for event in self.events)]))


# ------------------------------------------------------------------------------------------- pretraining
def pretraining(run: Run, label: str) -> Pretraining:
    """What a run's log says, with the tokens seen and the seconds trained at every line."""
    said = run.state()
    state = said.state if said else "killed"
    if state == "running" and not run.is_live():
        state = "killed"
    events = list(run.events())
    clock, seen = elapsed(events), tokens_at(events)
    held_out: list[Row] = []
    training: list[Row] = []
    notes: list[str] = []
    dropped = 0
    for event, seconds, tokens in zip(events, clock, seen, strict=True):
        measures = {key: value for key, value in event.items() if key == "loss" or key.endswith((".loss", ".accuracy"))}
        if not all(map(_finite, measures.values())):
            dropped += 1
        elif event["event"] in ("evaluate", "log"):
            rows = held_out if event["event"] == "evaluate" else training
            rows.append({"step": event["step"], "tokens": tokens, "seconds": seconds, **measures})
    if dropped:
        notes.append(f"{dropped} lines of the log hold numbers that are not finite; the curves leave them out.")
    if events and not held_out and state != "imported":
        notes.append("Nothing was held out of its data, so there is no held-out loss.")
    first = events[0] if events else {}
    return Pretraining(
        label=label,
        run=run,
        state=state,
        reason=said.reason if said else "",
        step=max([said.step if said else 0, *(event["step"] for event in events[-1:])]),
        held_out=held_out,
        training=thinned(training, MOST_TRAINING_POINTS),
        tokens=seen[-1] if seen else 0.0,
        seconds=clock[-1] if clock else 0.0,
        began=first["time"] - first.get("seconds", 0.0) if first else 0.0,
        notes=notes,
        picture=embedded(run.path / PICTURE),
    )


def embedded(png: Path) -> str:
    """A picture as an address that can stand in a page; empty where there is none."""
    return f"data:image/png;base64,{base64.b64encode(png.read_bytes()).decode()}" if png.exists() else ""


def elapsed(events: Sequence[Row]) -> list[float]:
    """Seconds of training at each event: the time of day, less the pauses between two sittings.

    A line of the log says how fast its steps were, and so how long they took. Where more time than that has passed
    since the line before, the run lay still.
    """
    clocks: list[float] = []
    since, clock, tokens = (events[0]["time"] - events[0].get("seconds", 0.0), 0.0, 0.0) if events else (0.0, 0.0, 0.0)
    begin = 0  # the first event since the last line of the log
    for number, event in enumerate(events):
        passed = max(event["time"] - since, 0.0)
        if event["event"] == "log":
            speed = event.get("tokens_per_second") or 0.0
            if speed > 0:
                # A tenth more is no pause: speeds are rounded, and the clock of the day may be set.
                worked = (event["tokens"] - tokens) / speed
                passed = passed if passed < 1.1 * worked + 1 else worked
            clocks[begin:] = [min(earlier, clock + passed) for earlier in clocks[begin:]]
            since, clock, tokens, begin = event["time"], clock + passed, event["tokens"], number + 1
            clocks.append(clock)
        else:
            clocks.append(clock + passed)
    return clocks


def tokens_at(events: Sequence[Row]) -> list[float]:
    """Tokens (images, frames) seen at each event, from those that the log counts; past its end, at the same rate."""
    known = [(0, 0.0)] + [(event["step"], float(event["tokens"])) for event in events if event["event"] == "log"]
    steps, tokens = np.array(known, float).T
    rate = tokens[-1] / steps[-1] if steps[-1] else 0.0
    at = np.array([event["step"] for event in events], float)
    return [float(t) for t in np.interp(at, steps, tokens) + rate * np.maximum(at - steps[-1], 0)]


def thinned(rows: list[Row], most: int) -> list[Row]:
    """At most `most` rows, each the mean of neighbouring ones."""
    if len(rows) <= most:
        return rows
    blocks = np.array_split(np.arange(len(rows)), most)
    return [{key: float(np.mean([rows[i][key] for i in block])) for key in rows[block[0]]} for block in blocks]


def text_of(run: Run) -> TokenStore:
    """The prepared text that a run on text was trained on. Raises UserError where it is gone, or another by now."""
    data = run.recipe.data
    assert isinstance(data, config.TextData)
    found = TextSet.open(data)
    if found.hash != run.config.data:
        raise UserError(f"{found.altered}.")
    return found.store


def word_frequencies(run: Run) -> dict[str, float]:
    """What guessing by word frequency alone gives on the held-out text: the `loss` in nats a token, the `accuracy`.

    The frequencies are those of the training text, plus one, which the run's output bias started from. Empty for a run
    that does not guess single tokens, and where its text is gone.
    """
    pretext, data = run.recipe.pretext, run.recipe.data
    if not isinstance(pretext, config.Bert) or not pretext.masked_lm or not isinstance(data, config.TextData):
        return {}
    counts = next((file["counts"] for file in _artifacts(run) if "counts" in file), None)
    try:
        store = text_of(run)
    except UserError:
        return {}
    return {} if counts is None or not store.held_out.any() else guessing(store, counts)


def guessing(store: TokenStore, counts: np.ndarray) -> dict[str, float]:
    """The `loss` (nats a token) and `accuracy` on the held-out text of guessing with `counts`, plus one, alone."""
    spans = (store.offsets[document : document + 2].tolist() for document in np.flatnonzero(store.held_out))
    ids = np.concatenate([store.ids[begin:end] for begin, end in spans])
    share = (counts + 1.0) / (counts + 1.0).sum()
    return {"loss": float(-np.log(share[ids]).mean()), "accuracy": float((ids == share.argmax()).mean())}


def _artifacts(run: Run) -> Iterator[dict[str, np.ndarray]]:
    for path in sorted((run.path / "artifacts").glob("*.npz")):
        with np.load(path, allow_pickle=False) as file:
            yield dict(file)


# ------------------------------------------------------------------------------------------- fine-tuning
def is_tuning(path: Path) -> bool:
    """Whether `path` is a fine-tuning folder: a result with tasks, or a log whose lines name an arm."""
    try:
        if "tasks" in json.loads((path / "result.json").read_bytes()):
            return True
    except (OSError, ValueError, TypeError):
        pass
    try:
        with (path / "metrics.jsonl").open(encoding="utf-8") as lines:
            return "arm" in json.loads(lines.readline() or "{}")
    except (OSError, ValueError, TypeError):
        return False


def fine_tuning(path: Path, label: str) -> FineTuning:
    """One fine-tuning folder, finished or not."""
    settings = _json(path / "config.json") if (path / "config.json").exists() else {}
    file = path / "result.json"
    result = _Result({})
    if file.exists():
        try:
            result = msgspec.json.decode(file.read_bytes(), type=_Result)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise UserError(
                f"{file} is no result of fine-tuning ({error}). Remove it, or repeat the command."
            ) from None
    return FineTuning(
        label=label,
        path=path,
        settings=settings,
        run=str(result.run or settings.get("run", "")),
        seconds=result.seconds,
        tasks=result.tasks,
        events=list(_lines(path / "metrics.jsonl")),
        finished=file.exists(),
    )


def _json(path: Path) -> Row:
    try:
        value = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise UserError(f"{path} cannot be read ({error}). Mend it, or leave this folder out.") from None
    return value if isinstance(value, dict) else {"config": value}


def _lines(path: Path) -> Iterator[Row]:
    """The lines of a fine-tuning log that name a task; a last line that is not written to its end is left out."""
    for number, line in enumerate(path.read_bytes().splitlines(keepends=True) if path.exists() else (), 1):
        try:
            event = json.loads(line)
        except ValueError:
            if line.endswith(b"\n"):
                raise UserError(f"{path}: line {number} is no JSON. Mend or remove that line.") from None
            return
        if isinstance(event, dict) and "task" in event:
            yield event


def _finite(value: Any) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)
