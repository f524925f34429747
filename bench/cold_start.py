"""How soon a short run leaves the plateau: held-out loss over equal seconds, from different starts.

    python bench/cold_start.py                                 bert-tiny on pydocs, 150 s, three seeds, every start
    python bench/cold_start.py --text FILE --seconds 90 --starts plain default --json

A masked LM that starts from small random weights spends a short run at the unigram loss. Every start here is the same
network, recipe, data and order; what it needs beforehand (counting, the SVD) is part of its seconds. `ratio` is how
much sooner a start reaches the held-out loss that the plain one has in the end.
"""

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import msgspec
import torch
from compare import peak_memory
from rich.console import Console
from rich.table import Table

from sesame import prepare, recipes
from sesame.config import Bert, Recipe, TextData, Transformer
from sesame.data import open_data
from sesame.engine import build, loop, products
from sesame.engine.distributed import Team
from sesame.engine.hooks import evaluate
from sesame.engine.run import Config, Run

STARTS: dict[str, dict[str, Any]] = {
    "plain": {"start": "normal", "embeddings": "normal", "bias": False},
    "output bias": {"start": "normal", "embeddings": "normal", "bias": True},
    "bias, mimetic": {"start": "mimetic", "embeddings": "normal", "bias": True},
    "bias, counts": {"start": "normal", "embeddings": "counts", "bias": True},
    "default": {"start": "mimetic", "embeddings": "counts", "bias": True},
}
"""What differs. `plain` is N(0, 0.02) with no bias, as BERT's code starts."""
LOOKS = 40
"""At held-out text in a run; neither side's clock runs meanwhile."""


def recipe_of(a: argparse.Namespace, store: Path, start: str, seed: int, steps: int) -> Recipe:
    recipe = recipes.find(a.recipe)
    assert isinstance(recipe.data, TextData) and isinstance(recipe.pretext, Bert)
    assert isinstance(recipe.backbone, Transformer)
    replace, settings = msgspec.structs.replace, STARTS[start]
    return replace(
        recipe,
        data=replace(recipe.data, store=str(store)),
        backbone=replace(recipe.backbone, start=settings["start"], norm=a.norm),
        pretext=replace(recipe.pretext, embeddings=settings["embeddings"]),
        optimizer=replace(recipe.optimizer, lr=a.lr or recipe.optimizer.lr),
        steps=steps,
        max_minutes=0.0,
        eval_rows=a.eval_rows,
        seed=seed,
        threads=a.threads,
    )


def training_of(recipe: Recipe) -> Any:
    data = open_data(recipe.data)
    recipe = build.freeze(recipe, data)
    recipe = msgspec.structs.replace(recipe, products=products.chosen(recipe, Team()))  # as `sesame pretrain` does
    return loop.set_up(recipe, Run(Path(tempfile.mkdtemp()), Config(recipe=recipe, machine={})), data)


def seconds_a_step(a: argparse.Namespace, store: Path) -> float:
    """Of any start: they train the same network."""
    training = training_of(recipe_of(a, store, "plain", 0, 1_000_000))
    times = []
    for batch in loop.batches(training, 25):
        began = time.perf_counter()
        loop.take_step(training, batch, training.agree(batch)[0])
        times.append(time.perf_counter() - began)
    return statistics.mean(times[5:])


def run(a: argparse.Namespace, store: Path, start: str, seed: int, a_step: float) -> list[tuple[float, float, float]]:
    """(seconds, held-out loss, masked accuracy) along a run of `a.seconds`, preparation included."""
    began = time.perf_counter()
    training = training_of(recipe_of(a, store, start, seed, 1))
    prepared = 0.0
    if STARTS[start]["bias"]:
        loop.begin(training, None)
        prepared = time.perf_counter() - began
    steps = max(1, int((a.seconds - prepared) / a_step))
    training.recipe = msgspec.structs.replace(training.recipe, steps=steps)
    looks = {round(steps * k / LOOKS) for k in range(1, LOOKS + 1)}

    def look() -> tuple[float, float, float]:
        losses = evaluate(training)
        return passed, losses["masked_lm.loss"], losses["masked_lm.accuracy"]

    passed = prepared
    curve = [look()]
    began = time.perf_counter()
    for batch in loop.batches(training, steps):
        loop.take_step(training, batch, training.agree(batch)[0])
        if training.step in looks:
            passed += time.perf_counter() - began
            curve.append(look())
            began = time.perf_counter()
    print(f"{start}, seed {seed}: {steps} steps, {prepared:.1f} s of preparation, held-out loss {curve[-1][1]:.3f}, "
          f"accuracy {curve[-1][2]:.1%} after {passed:.0f} s", file=sys.stderr, flush=True)  # fmt: skip
    return curve


def reached(curve: list[tuple[float, float, float]], loss: float) -> float | None:
    """The seconds at which the loss is first that low, between two looks by a straight line."""
    for (t0, l0, _), (t1, l1, _) in zip([(0.0, float("inf"), 0.0), *curve], curve, strict=False):
        if l1 <= loss:
            return t1 if l0 in (l1, float("inf")) else t0 + (t1 - t0) * (l0 - loss) / (l0 - l1)
    return None


def case(start: str, curves: list[list[tuple[float, float, float]]], plain: list[list[Any]]) -> dict[str, Any]:
    ratios = []
    for curve, theirs in zip(curves, plain, strict=True):
        when = reached(curve, theirs[-1][1])
        ratios.append(None if when is None else theirs[-1][0] / max(when, 1e-9))
    known = [r for r in ratios if r is not None]
    losses, hits = [c[-1][1] for c in curves], [c[-1][2] for c in curves]
    return {
        "name": start,
        "ratio": round(statistics.median(known), 2) if len(known) == len(ratios) else None,
        "ratio_min": round(min(known), 2) if known else None,
        "ratio_max": round(max(known), 2) if known else None,
        "memory_ratio": None,
        "loss": round(statistics.mean(losses), 3),
        "loss_spread": round(max(losses) - min(losses), 3),
        "accuracy": round(statistics.mean(hits), 4),
        "at_start": round(statistics.mean(c[0][1] for c in curves), 3),
        "seeds": len(curves),
        "curves": [[[round(x, 4) for x in point] for point in curve] for curve in curves],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--text", nargs="+", default=["pydocs"], help="any sources of `sesame data prepare`")
    parser.add_argument("--vocab", type=int, default=8192)
    parser.add_argument("--recipe", default="bert-tiny")
    parser.add_argument("--norm", choices=("post", "pre"), default="post")
    parser.add_argument("--lr", type=float, default=0.0, help="for every start; else the recipe's")
    parser.add_argument("--seconds", type=float, default=150.0)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--first", type=int, default=0, metavar="SEED", help="the first of the seeds")
    parser.add_argument("--starts", nargs="+", choices=STARTS, default=list(STARTS))
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--eval-rows", type=int, default=64)
    parser.add_argument("--json", action="store_true")
    a = parser.parse_args()
    starts = ["plain", *(s for s in a.starts if s != "plain")]
    torch.set_num_threads(a.threads)
    with tempfile.TemporaryDirectory() as folder:
        store = Path(folder) / "store"
        prepare(a.text, store, vocab=a.vocab)
        a_step = seconds_a_step(a, store)
        curves: dict[str, list[Any]] = {start: [] for start in starts}
        for seed in range(a.first, a.first + a.seeds):  # in turn, so that a machine that drifts drifts for all of them
            for start in starts:
                curves[start].append(run(a, store, start, seed, a_step))
    cases = [case(start, curves[start], curves["plain"]) for start in starts]
    if a.json:
        print(json.dumps({"cases": cases, "memory_mib": round(peak_memory())}))
        return
    table = Table(title=f"{a.recipe}, {a.seconds:g} s, {a.seeds} seeds: held-out masked LM")
    for column in ("start", "at step 0", "loss at the end", "spread", "accuracy", "sooner than plain"):
        table.add_column(column)
    for c in cases:
        sooner = f"{c['ratio']}× ({c['ratio_min']}–{c['ratio_max']})" if c["ratio"] else "not in every run"
        table.add_row(
            c["name"], str(c["at_start"]), str(c["loss"]), str(c["loss_spread"]), f"{c['accuracy']:.1%}", sooner
        )
    Console().print(table)


if __name__ == "__main__":
    main()
