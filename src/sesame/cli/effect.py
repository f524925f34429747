"""`sesame effect RUN TWIN`"""

import logging
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from tyro.conf import Positional, arg

from sesame.cli.options import options_of
from sesame.cli.output import emit, table

log = logging.getLogger(__name__)

if TYPE_CHECKING:
    from sesame.probes.paired import Difference


@dataclass(frozen=True)
class Effect:
    """What a twin does differently from the run it was forked from: the same items, compared one by one."""

    run: Annotated[Positional[Path], arg(metavar="RUN")]
    """The run, …"""
    twin: Annotated[Positional[Path], arg(metavar="TWIN")]
    """… and its twin, both measured alike: pretrain --probe, or sesame watch."""
    probe: str = "word-classes"
    """The probe whose items are compared."""
    metric: str = ""
    """One of its metrics; otherwise mask_prediction, or next_word for a causal LM."""
    source: str | None = None
    """What the probe was measured on, where that was several things."""
    result: Path = Path("result.json")
    """Where the numbers of every step are written; replaces an older result, never another file."""
    json: bool = False
    """Print the result alone on stdout, as JSON."""


def effect_command(argv: list[str]) -> int:
    options = options_of(Effect, argv, "sesame effect")
    from sesame.cli.acquisition import metric_of
    from sesame.probes.answers import opened
    from sesame.probes.paired import differences

    probe = Path(options.probe).name  # a file of the user's goes by its name
    metric = options.metric or metric_of(options.run, probe)
    first, second = (opened(run, probe, metric, options.source) for run in (options.run, options.twin))
    found = differences(first, second)
    last = max(one.step for one in found)
    if last <= (parted := _parted(options.twin)):
        log.warning(
            "The last step at which both were measured is %d, and they part at %d: so far they are the same run. "
            "Measure both: sesame watch %s %s", last, parted, options.run, options.twin,
        )  # fmt: skip
    result = {"run": str(options.run), "twin": str(options.twin), "probe": probe, "metric": metric}
    emit(
        "effect", {**result, "differences": [asdict(one) for one in found]},
        _table(metric, last, [one for one in found if one.step == last]),
        as_json=options.json, path=options.result,
    )  # fmt: skip
    return 0


def _parted(twin: Path) -> int:
    """The step at which a twin parts from its run; -1 where it is no twin but another run."""
    from sesame.config import TextData
    from sesame.engine.run import Run, is_run

    data = Run.open(twin).recipe.data if is_run(twin) else None
    return data.twin.at if isinstance(data, TextData) and data.twin else -1


def _table(metric: str, step: int, found: list["Difference"]) -> object:
    rows = [
        (one.group or "all", one.items, f"{one.first:.1%}", f"{one.second:.1%}", one.gained, one.lost,
         f"{one.difference:+.1%} ({one.low:+.1%} to {one.high:+.1%})", one.p)
        for one in found
    ]  # fmt: skip
    columns = ["group", "items", "run", "twin", "gained", "lost", "difference, 95% interval", "p (McNemar)"]
    return table(f"{metric} at step {step:,}, the last that both were measured at", columns, rows)
