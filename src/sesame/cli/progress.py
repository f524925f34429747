"""How training is shown while it goes on: a bar on a terminal, TensorBoard on request."""

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sesame.engine.lines import measures, speed
from sesame.errors import UserError

if TYPE_CHECKING:
    from sesame.engine.loop import Training

log = logging.getLogger(__name__)


class Bar:
    """A progress bar with the last loss and speed; evaluations stay above it."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn

        self.bar = Progress(
            BarColumn(), TextColumn("{task.completed:,.0f} of {task.total:,.0f} steps  {task.description}"),
            console=Console(stderr=True), transient=True,
        )  # fmt: skip
        self.task = self.bar.add_task("")

    def __call__(self, event: str, training: "Training", values: dict[str, Any]) -> None:
        self.bar.start()
        said = f"{measures(values)}; {speed(values)}" if event == "log" else None
        self.bar.update(self.task, completed=training.step, total=training.recipe.steps, description=said)
        if event == "evaluate":
            self.bar.console.print(
                f"step {training.step:,} of {training.recipe.steps:,}: held-out {measures(values)}", highlight=False
            )

    def close(self) -> None:
        """Give the terminal back, however training ended."""
        self.bar.stop()


class TensorBoard:
    """Every number of every event, under `train/` and `held-out/`."""

    def __init__(self, folder: Path):
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError:
            raise UserError("--tensorboard needs the extra: pip install 'sesame-ssl[tensorboard]'.") from None
        self.open = lambda step: SummaryWriter(str(folder), purge_step=step)
        self.writer: Any = None

    def __call__(self, event: str, training: "Training", values: dict[str, Any]) -> None:
        if self.writer is None:  # what a killed run wrote past its checkpoint is replaced
            self.writer = self.open(training.step)
        where = "held-out" if event == "evaluate" else "train"
        for name, value in values.items():
            if value is not None:
                self.writer.add_scalar(f"{where}/{name}", value, training.step)
        self.writer.flush()
