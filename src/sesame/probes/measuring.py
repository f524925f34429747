"""One measurement: a probe's answers about a model, or why there are none."""

import logging
import traceback

import torch

from sesame.engine.build import Model
from sesame.errors import UserError
from sesame.probes import Ask, Opened
from sesame.probes.table import Answers, rows_of

log = logging.getLogger(__name__)

LIVE, FULL = "live", "full"


def measure(probe: Opened, model: Model, ask: Ask, tokens: int, seconds: float, made_from: str = "") -> Answers | str:
    """The answers as rows of the tables, or what went wrong in one line.

    Threads are set back: how a sum is shared among them is visible in the last bits of what is trained.
    """
    when = {
        "step": ask.step,
        "tokens": tokens,
        "seconds": seconds,
        "probe": probe.name,
        "source": ask.source,
        "form": FULL if ask.full else LIVE,
        "made_from": made_from,
    }
    if not all(bool(weights.isfinite().all()) for weights in model.objective.parameters()):
        return f"the probe {probe.name}: the model's weights are not all numbers, so it knows nothing."
    threads = torch.get_num_threads()
    model.objective.eval()
    try:
        with torch.no_grad():
            return rows_of(when, probe.measure(model, ask))
    except UserError as error:
        return f"the probe {probe.name}: {error}"
    except Exception as error:
        log.debug("where it happened:", exc_info=True)
        place = traceback.extract_tb(error.__traceback__)[-1]
        said = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
        return f"the probe {probe.name} failed with {said} ({place.filename}, line {place.lineno})."
    finally:
        torch.set_num_threads(threads)
