"""How training goes, told in lines of the log: what Python sees, and a command whose output is no terminal."""

import logging
from typing import Any

from sesame.engine.loop import Training

log = logging.getLogger(__name__)


def _time(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def measures(values: dict[str, Any]) -> str:
    """`loss 2.345, masked_lm accuracy 51.2%`"""
    said = [f"loss {values['loss']:.3f}"]
    said += [f"{k.removesuffix('.accuracy')} accuracy {v:.1%}" for k, v in values.items() if k.endswith(".accuracy")]
    return ", ".join(said)


def speed(values: dict[str, Any]) -> str:
    limit = "" if values["of_limit"] is None else f"{values['of_limit']:.0%} of the machine's limit, "
    return f"{values['tokens_per_second']:,.0f}/s, {limit}{_time(values['eta'])} left"


class Lines:
    """One line for an evaluation and, at most every ten seconds, one for the training loss."""

    def __init__(self) -> None:
        self.last = 0.0

    def __call__(self, event: str, training: Training, values: dict[str, Any]) -> None:
        step, steps = training.step, training.recipe.steps
        if event == "evaluate":
            log.info("step %d of %d: held-out %s", step, steps, measures(values))
        elif event == "log" and (training.clock - self.last >= 10 or step == steps):
            self.last = training.clock
            log.info("step %d of %d: %s; %s", step, steps, measures(values), speed(values))
