"""When to measure: often at first, when a model changes most, and then every N steps, within the seconds there are.

The steps are fixed before training and written to `RUN/probes.json`, so that a resumed run measures at the same ones.
0, 1, 2, 4 … and then every N are also where Pythia's checkpoints lie (Biderman et al. 2023, 2.4).
"""

from bisect import bisect_left, bisect_right
from itertools import count
from pathlib import Path
from typing import Literal

import msgspec
from msgspec import Struct

from sesame.config import Watch
from sesame.errors import UserError

PLAN = "probes.json"


class Schedule(Struct, frozen=True, kw_only=True):
    """What `RUN/probes.json` holds."""

    at: tuple[int, ...]
    """In rising order."""
    unit: Literal["steps", "tokens"] = "steps"
    last: bool = True
    """Also at the last step of the run, wherever that is."""
    cost: float = 0.0
    """Seconds that one measurement is taken to need, by what it took at step 0; 0 where nobody asked."""
    seconds: float = 0.0
    """What all of them together may take, with what the first prepares; the first and the last are made in any case."""

    def due(self, before: int, now: int) -> bool:
        """Whether one of `at` lies in (before, now]: a step of many tokens may pass several at once."""
        return bisect_right(self.at, before) < bisect_right(self.at, now)

    def write(self, folder: Path) -> None:
        beside = folder / f".{PLAN}.tmp"
        beside.write_bytes(msgspec.json.format(msgspec.json.encode(self), indent=1))
        beside.replace(folder / PLAN)


def read(folder: Path) -> Schedule | None:
    """The schedule of the run in `folder`, if it has one. UserError where it cannot be read."""
    path = folder / PLAN
    try:
        return msgspec.json.decode(path.read_bytes(), type=Schedule)
    except FileNotFoundError:
        return None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise UserError(
            f"{path} is damaged ({error}). Remove it and go on: the steps to measure at are then chosen anew."
        ) from None


def asked(watch: Watch, end: int) -> Schedule | None:
    """What the user asked for, whatever it takes; None where the budget decides. `end` steps or tokens are the most
    that the run can see.
    """
    if watch.at:
        return Schedule(at=tuple(sorted(set(watch.at))), unit=watch.unit, last=False, seconds=watch.seconds)
    if watch.every:
        return Schedule(at=tuple(ladder(watch.every, end)), unit=watch.unit, seconds=watch.seconds)
    return None


def ladder(every: int, end: int) -> list[int]:
    """0, the powers of two below `every`, and its multiples, up to `end`."""
    return [0, *(p for p in powers_of_two(end) if p < every), *range(every, end + 1, every)]


def powers_of_two(end: int) -> list[int]:
    return [1 << k for k in range(end.bit_length())]


def affordable(end: int, most: int) -> list[int]:
    """0, `end`, and as many steps between them as there may be: at most `most`.

    All powers of two where they fit, and then every N, with the smallest N that does; otherwise powers of two, spread
    evenly.
    """
    powers = [p for p in powers_of_two(end) if p < end]
    if most < len(powers):
        kept = {powers[(2 * i + 1) * len(powers) // (2 * most)] for i in range(most)}
        return sorted({0, end, *kept})
    # No more than `most` multiples of N lie before `end` where N is at least end / (most + 1).
    spaced = count(max(1, -(-end // (most + 1))))
    every = next(n for n in spaced if bisect_left(powers, n) + (end - 1) // n <= most)  # N = end at the latest
    return sorted({*ladder(every, end), end})


def planned(end: int, cost: float, left: float, seconds: float) -> Schedule:
    """The steps for a run of `end` of them, where each measurement after the one at 0 takes `cost` seconds of the
    `left` ones; that at the last step is made in any case.
    """
    between = max(0, min(end, int(left / max(cost, 1e-9))) - 1)
    return Schedule(at=tuple(affordable(end, between)), cost=round(cost, 3), seconds=seconds)
