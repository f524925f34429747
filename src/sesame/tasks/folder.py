"""The fine-tuning folder: tasks compared one after another, what happened line by line, the best models."""

import logging
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import torch

from sesame.config import FineTune
from sesame.engine import machine
from sesame.engine.build import load
from sesame.errors import UserError
from sesame.processes import cores
from sesame.tasks.arms import ARMS, Arm
from sesame.tasks.base import TaskData
from sesame.tasks.comparison import Compared, Comparison, Result, Tell
from sesame.tasks.hearing import Ear
from sesame.tasks.reading import model_for
from sesame.tasks.tuned import Card, Tuned
from sesame.tasks.workers import Workers

log = logging.getLogger(__name__)

CONFIG, METRICS, RESULT = "config.json", "metrics.jsonl", "result.json"
SMALL = 20_000_000
"""Parameters under which a model trains faster on one thread, beside others, than alone on all."""


def finetune(
    run: Path | str,
    tasks: Sequence[TaskData[Any, Any]],
    out: Path | str,
    settings: FineTune = FineTune(),  # noqa: B008  frozen
    *,
    seeds: int = 3,
    arms: Sequence[Arm] = ARMS,
    curve: bool = False,
    tell: Tell = lambda _: None,
    workers: int = 1,
) -> dict[str, Result]:
    """Fine-tune the model of `run` on each of `tasks` into the new folder `out`; see `comparison.compare`.

    The folder gets config.json, metrics.jsonl (a line an event, of which `tell` is told too), result.json (written
    anew after each task) and, under each task's name, the best model. Several `workers` train side by side, each in a
    process with its share of the threads; 0 leaves their number to the size of the model. Raises UserError where `out`
    is not empty.
    """
    out = Path(out)
    if twice := sorted({data.name for data in tasks if [other.name for other in tasks].count(data.name) > 1}):
        raise UserError(f"two tasks are called {', '.join(twice)}. Rename the folder or task file of one.")
    check_free(out)
    model = load(run)
    fitting = [model_for(data.task, model) for data in tasks]
    threads = settings.threads or cores()
    torch.set_num_threads(threads)
    machine.keep_freed_memory()
    size = sum(p.numel() for p in model.objective.backbone.parameters())
    count = workers or (cores() if size < SMALL and model.objective.backbone.trainable else 1)
    crew = Workers(min(count, threads), threads)
    work = [Comparison.of(model, data, settings, seeds, arms, curve) for data in tasks]
    out.mkdir(parents=True, exist_ok=True)
    told = {
        "run": str(run),
        "step": model.step,
        "tasks": {data.name: data.task.config for data in tasks},
        "settings": settings,
        "seeds": seeds,
        "arms": tuple(arms),
        "machine": {
            "torch": str(torch.__version__),
            "cpu": machine.cpu_model(),
            "threads": str(threads),
            "workers": str(count),
            "products": crew.products,
        },
    }
    _write_json(out / CONFIG, told)
    began, results = time.monotonic(), dict[str, Result]()
    with (out / METRICS).open("ab") as lines, crew:

        def noted(event: dict[str, Any]) -> None:
            lines.write(msgspec.json.encode(event) + b"\n")
            lines.flush()
            tell(event)

        for comparison, (_, vocabulary) in zip(work, fitting, strict=True):
            name, compared = comparison.data.name, comparison.run(noted, crew)
            results[name] = compared.result
            tuned_of(compared, vocabulary, settings).save(out / name)
            seconds = round(time.monotonic() - began, 1)
            _write_json(out / RESULT, {"command": "finetune", "seconds": seconds, "run": str(run), "tasks": results})
    return results


def tuned_of(compared: Compared, vocabulary: Any, settings: FineTune) -> Tuned:
    """The best network of a comparison, as it is saved."""
    best, encoded = compared.best, compared.encoded
    backbone: Any = best.network.backbone
    card = Card(
        name=encoded.data.name,
        task=best.task.config,
        labels=tuple(best.task.labels),
        backbone=backbone.config,
        length=encoded.length,
        settings=settings,
        arm=compared.arm,
        dev=best.best.dev,
        hears=vocabulary.data if isinstance(vocabulary, Ear) else None,
    )
    return Tuned(card, best.task, best.network, vocabulary)


def check_free(out: Path) -> None:
    """Raise UserError where there is something at `out` already."""
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UserError(f"{out} exists and is not empty. Nothing was overwritten: choose another --out.")


def _write_json(path: Path, value: Any) -> None:
    path.write_bytes(msgspec.json.format(msgspec.json.encode(value), indent=2) + b"\n")
