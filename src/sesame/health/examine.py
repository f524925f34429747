"""A run examined from top to bottom, and what that comes to in words."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from sesame.health import gains, states, training
from sesame.health.check import Check, State, verdict
from sesame.health.patient import Patient


@dataclass(frozen=True)
class Diagnosis:
    """What `doctor` says of one run."""

    run: str
    recipe: str
    progress: str
    """running, finished, interrupted, failed, imported or killed."""
    step: int
    """Of the weights that were examined."""
    steps: int
    state: State
    """The worst of the checks."""
    verdict: str
    checks: tuple[Check, ...]

    @property
    def advice(self) -> list[tuple[str, str]]:
        """What to try, for each check that is not healthy: (its name, what)."""
        return [(check.name, check.advice) for check in self.checks if check.state in ("doubtful", "ill")]


def doctor(run: str | Path) -> Diagnosis:
    """Is this run healthy? `run` is a run folder, or one of its checkpoints. Nothing is changed in it.

    Raises UserError where there is no run, or one that has left neither a log nor a checkpoint.
    """
    patient = Patient(Path(run))
    checks = tuple(check for room in (training, states, gains) for check in room.checks(patient))
    return Diagnosis(
        run=str(run),
        recipe=patient.recipe.name,
        progress=patient.told.state,
        step=patient.step,
        steps=patient.recipe.steps,
        state=verdict(checks),
        verdict=in_words(checks),
        checks=checks,
    )


def in_words(checks: Sequence[Check]) -> str:
    """All checks in a sentence or two."""
    ill, doubtful = ([c.name for c in checks if c.state == state] for state in ("ill", "doubtful"))
    unknown = [c.name for c in checks if c.state == "not examined"]
    healthy = len(checks) - len(ill) - len(doubtful) - len(unknown)
    if ill:
        said = f"This run is ill: {_listed(ill)}."
        said += f" In doubt: {_listed(doubtful)}." if doubtful else ""
    elif doubtful:
        said = f"No sign of illness, and {len(doubtful)} in doubt: {_listed(doubtful)}."
    elif healthy:
        said = f"This run is healthy in all that was examined ({healthy} checks)."
    else:
        said = "Nothing could be examined."
    return said + (f" Not examined: {_listed(unknown)}." if unknown else "")


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:-1]) + (" and " if len(names) > 1 else "") + names[-1]
