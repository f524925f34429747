"""`sesame demo images`: from unlabelled digits to what their features are worth, with few labels and many."""

import contextlib
import shlex
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sesame.cli import demo_steps
from sesame.cli.finetune import shown
from sesame.cli.options import options_of
from sesame.cli.output import emit
from sesame.errors import UserError

TUNING = ("--epochs", "10", "--min-steps", "100", "--rows", "32", "--evaluations", "4", "--lr", "2e-3")
"""The same for every arm."""
PROBES = ("neighbours", "collapse", "alignment", "rank")
"""What is measured while it trains, within a twentieth of the time."""


@dataclass(frozen=True)
class Demo:
    """Pretrain SimCLR and BYOL on the built-in digits, and see what labels can be told from their features.

    Offline, in less than eight minutes on two cores. Beside them stand the raw pixels, a random network, and the same
    network trained from scratch with the same labels. Each command is shown before it runs, so that the same can be
    done with other images. What an earlier demo left behind is gone on with.
    """

    out: Path = Path("demo-images")
    """Folder for the runs, the evaluations, report.html and result.json."""
    methods: tuple[str, ...] = ("simclr", "byol")
    """Of simclr, byol, simsiam, mocov3: recipes on digits."""
    steps: int = 0
    """Of pretraining; 0 for the recipes' own."""
    seeds: int = 5
    """How often everything is learned; the seeds are paired."""
    per_class: int = 10
    """Labelled examples of each digit, beside all of them."""
    json: bool = False
    """Print the result alone on stdout, as JSON."""


def images_command(argv: list[str]) -> int:
    from sesame.recipes import find

    options = options_of(Demo, argv, "sesame demo images")
    if options.steps < 0 or options.seeds < 1 or options.per_class < 1 or not options.methods:
        raise UserError(
            f"--steps {options.steps}, --seeds {options.seeds}, --per-class {options.per_class}: give numbers above 0 "
            "and at least one of --methods."
        )
    for method in options.methods:
        find(f"{method}-digits")
        demo_steps.check_place(["digits"], options.out / f"{method}-digits")
    began = time.monotonic()
    page = options.out / "report.html"
    results: dict[str, Any] = {}
    folders: list[Path] = []
    steps = ("--steps", str(options.steps)) if options.steps else ()
    probes = [word for probe in PROBES for word in ("--probe", probe)]
    chosen = ("--seeds", str(options.seeds), "--per-class", str(options.per_class), *TUNING)
    with contextlib.redirect_stdout(sys.stderr) if options.json else contextlib.nullcontext():
        for method in options.methods:
            run, tuned = options.out / method, options.out / f"{method}-digits"
            folders += [run, tuned]
            demo_steps.pretrain(f"{method}-digits", run, *steps, *probes)
            demo_steps.finetune(run, ["digits"], tuned, *chosen)
        demo_steps.report(folders, page)
    for method in options.methods:
        results |= {
            f"{method}, {name}": task for name, task in demo_steps.results_of(options.out / f"{method}-digits").items()
        }
    result = {"seconds": round(time.monotonic() - began, 1), "tasks": results}
    run = folders[0]
    emit(
        "demo images",
        result,
        *shown(results),
        f"All of it, with curves: open {page} in a browser.\n"
        f"Your own images, in a folder for each class: sesame finetune {shlex.quote(str(run))} FOLDER --out DIR; to "
        "pretrain on them: sesame pretrain simclr-cifar --data FOLDER --out RUN.",
        as_json=options.json,
        path=options.out / "result.json",
    )
    return 0
