"""Batches made and divided ahead of time, in a thread, while the device works on the step before."""

import queue
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields, is_dataclass, replace
from itertools import islice
from typing import Any

import torch
from torch import Tensor

from sesame.data.batch import Cursor, Step
from sesame.errors import UserError
from sesame.pretext.base import Split

AHEAD = 4
"""Steps that wait ready; more only takes memory."""
TURN = 1e-3
"""Seconds after which one thread asks another for the interpreter. Python's own 5 ms are as long as a small model's
step, which would then wait for the loader (CBOW trains a fifth faster)."""


@dataclass(frozen=True)
class Ready:
    """One optimiser step's data, divided into x′ and x″."""

    parts: tuple[Split, ...]
    cursor: Cursor
    """Where to go on after this step."""
    size: int
    """Useful positions (images) of the step over all processes."""
    keys: tuple[int, ...]
    """Its examples on this process, to name them if the numbers go wrong."""


@contextmanager
def ahead(
    steps: Iterator[Step], split: Callable[[Any], Split], count: int, dtype: torch.dtype, pin: bool = False
) -> Iterator[Iterator[Ready]]:
    """The next `count` steps, in order. What the thread raises is raised here; leaving the block stops the thread."""
    waiting: queue.Queue[Ready | BaseException | None] = queue.Queue(AHEAD)
    leaving = threading.Event()

    def put(item: Ready | BaseException | None) -> None:
        while not leaving.is_set():
            try:
                return waiting.put(item, timeout=0.1)
            except queue.Full:
                continue

    def work() -> None:
        try:
            for step in islice(steps, count):
                if leaving.is_set():
                    return
                parts = tuple(ready(part, split, dtype, pin) for part in step.parts)
                keys = tuple(int(key) for part in step.parts for key in part.key)
                put(Ready(parts, step.cursor, step.size, keys))
            put(None)
        except BaseException as error:  # whatever it is, the loop must hear of it
            put(error)

    def take() -> Iterator[Ready]:
        taken = 0
        while (item := waiting.get()) is not None:
            if isinstance(item, BaseException):
                raise item
            taken += 1
            yield item
        if taken < count:
            raise UserError(f"the data ended after {taken} of {count} steps: there is nothing in it to train on.")

    thread = threading.Thread(target=work, name="loader", daemon=True)
    before = sys.getswitchinterval()
    sys.setswitchinterval(TURN)
    thread.start()
    try:
        yield take()
    finally:
        leaving.set()
        thread.join()
        sys.setswitchinterval(before)


def ready(batch: Any, split: Callable[[Any], Split], dtype: torch.dtype, pin: bool = False) -> Split:
    """A batch divided, its real numbers in the type of the weights."""

    def prepared(tensor: Tensor) -> Tensor:
        tensor = tensor.to(dtype) if tensor.is_floating_point() else tensor
        return tensor.pin_memory() if pin else tensor  # from pinned memory the copy to a GPU waits for nobody

    return _each(split(batch), prepared)


def _each(value: Any, change: Callable[[Tensor], Tensor]) -> Any:
    """`value` with every tensor inside it changed; dictionaries, tuples and dataclasses are walked."""
    if isinstance(value, Tensor):
        return change(value)
    if isinstance(value, dict):
        return {key: _each(inner, change) for key, inner in value.items()}
    if isinstance(value, tuple):
        return tuple(_each(inner, change) for inner in value)
    if is_dataclass(value) and not isinstance(value, type):
        return replace(value, **{f.name: _each(getattr(value, f.name), change) for f in fields(value)})
    return value
