"""One finding about a run: what was read, what is expected, and whether the two go together."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

State = Literal["healthy", "doubtful", "ill", "not examined"]


@dataclass(frozen=True)
class Check:
    """One row of what `sesame doctor` prints."""

    name: str
    state: State
    reading: str
    """What was found; of what is not examined, why."""
    expected: str = ""
    """The band, in words."""
    advice: str = ""
    """What to try, where it is not healthy."""
    value: float | None = None
    """The number behind `reading`; None for one that is not finite, too."""

    def __post_init__(self) -> None:
        if self.value is not None and not math.isfinite(self.value):
            object.__setattr__(self, "value", None)


def not_examined(name: str, why: str, expected: str = "") -> Check:
    return Check(name, "not examined", why, expected)


def above(value: float, doubtful: float, ill: float) -> State:
    """How a number stands that is better high: healthy from `doubtful` on, ill below `ill`. NaN is ill."""
    return "healthy" if value >= doubtful else "doubtful" if value >= ill else "ill"


def below(value: float, doubtful: float, ill: float) -> State:
    """How a number stands that is better low: healthy up to `doubtful`, ill above `ill`. NaN is ill."""
    return "healthy" if value <= doubtful else "doubtful" if value <= ill else "ill"


def verdict(checks: Sequence[Check]) -> State:
    """The worst of them; "not examined" where nothing was."""
    order: tuple[State, ...] = ("ill", "doubtful", "healthy")
    return next((state for state in order if any(check.state == state for check in checks)), "not examined")
