"""What it costs to be watched: training with probes at the default budget against the same training without.

    python bench/probe_bus.py                              bert-tiny on pydocs, 600 steps, three rounds
    python bench/probe_bus.py --probes word-classes=gold.conllu rank --steps 2000 --json

Each training is a process of its own, in turn: A B A B …. The clock runs from before step 0, so that the first
measurement and everything that probes read is in it, to the last checkpoint. The share of that time that was spent in
the hook is printed too, since on a busy machine two trainings differ by more; and what `--steps` asks for beforehand, a
second or so to measure the speed that the budget is a share of.
"""

import argparse
import json
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import msgspec
from compare import alternate, peak_memory, show

from sesame import prepare, recipes
from sesame.config import Recipe, TextData, Watch
from sesame.errors import UserError


def recipe_of(a: argparse.Namespace, watched: bool) -> Recipe:
    from sesame.probes import named

    made = recipes.find(a.recipe)
    assert isinstance(made.data, TextData)
    return msgspec.structs.replace(
        made,
        data=msgspec.structs.replace(made.data, store=str(a.store)),
        steps=a.steps,
        max_minutes=0.0,
        threads=a.threads,
        watch=Watch(probes=tuple(named(probe) for probe in a.probes) if watched else (), budget=a.budget),
    )


def train(a: argparse.Namespace, watched: bool) -> dict[str, float]:
    """Steps a second of one training, with its evaluations and checkpoints, and how often it was measured."""
    from sesame.engine import start
    from sesame.probes import bus
    from sesame.probes.schedule import read

    recipe, began = recipe_of(a, watched), []

    def first(training: Any) -> None:
        if not began:
            began.append(time.perf_counter())

    spent = 0.0

    def timed(hook: Any) -> Any:
        def called(training: Any) -> None:
            nonlocal spent
            asked = time.perf_counter()
            hook(training)
            spent += time.perf_counter() - asked

        return called

    with tempfile.TemporaryDirectory(dir=a.store.parent) as folder:
        asked = time.perf_counter()
        start.start(recipe, Path(folder) / "run", extra=[first, *map(timed, bus.hooks(recipe))])
        ended = time.perf_counter()
        plan = read(Path(folder) / "run")
    return {
        "speed": a.steps / (ended - began[0]),
        "memory": peak_memory(),
        "seconds": round(ended - began[0], 2),
        "share": round(spent / (ended - began[0]), 4),
        "before": round(began[0] - asked, 2),
        "measured": len(plan.at) if plan else 0,
        "each": plan.cost if plan else 0.0,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recipe", default="bert-tiny")
    parser.add_argument("--probes", nargs="+", default=["word-classes", "rank"])
    parser.add_argument("--text", default="pydocs", help="any source of `sesame data prepare`")
    parser.add_argument("--steps", type=int, default=600)
    parser.add_argument("--budget", type=float, default=Watch().budget)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--side", choices=("watched", "plain"), help=argparse.SUPPRESS)
    parser.add_argument("--store", type=Path, help=argparse.SUPPRESS)
    a = parser.parse_args()
    if a.side:
        print(json.dumps(train(a, a.side == "watched")))
        return
    with tempfile.TemporaryDirectory() as folder:
        prepare([a.text], Path(folder) / "data")
        same = [__file__, "--recipe", a.recipe, "--probes", *a.probes, "--steps", str(a.steps), "--threads"]
        same += [str(a.threads), "--budget", str(a.budget), "--store", str(Path(folder) / "data")]
        name = f"{a.recipe}, {a.steps} steps, watched ({', '.join(a.probes)}) against plain"
        case = alternate(name, [*same, "--side", "watched"], [*same, "--side", "plain"], a.rounds)
    times = [int(side["measured"]) for side in case.ours]
    shares = ", ".join(f"{side['share']:.1%}" for side in case.ours)
    print(f"measured {times} times, {case.ours[0]['each']:.2f} s each; share of the time: {shares}", file=sys.stderr)
    show([case], "steps/s", a.json)


if __name__ == "__main__":
    try:
        main()
    except UserError as mistake:
        raise SystemExit(f"probe_bus: {mistake}") from None
