"""Run folders and fine-tuning folders in the formats of docs/architecture.md, written without any training."""

import json
import math
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from sesame import config
from sesame.data.batch import Cursor
from sesame.data.prepare import prepare
from sesame.data.text import TextSet
from sesame.engine import build, checkpoint
from sesame.engine.checkpoint import Manifest
from sesame.engine.run import Config, Run
from sesame.probes.base import Answer, Item, Value
from sesame.probes.table import ITEMS, VALUES, Answers, rows_of

BEGAN = 1_790_000_000.0
TOKENS = 4000
"""A step."""
SECONDS = 0.5
"""A step."""
MACHINE = {"torch": "2.13.0+cpu", "cpu": "Some CPU", "device": "cpu", "threads": "2", "processes": "1"}
ARMS = ("embeddings", "scratch", "pretrained")


def recipe(**fields: Any) -> config.Recipe:
    shape = config.Transformer(layers=1, width=32, heads=2, ffn=64, vocab=90, positions=32)
    given = {"name": "bert-tiny", "data": config.TextData(length=32), "backbone": shape, "pretext": config.Bert()}
    return config.Recipe(**given | {"steps": 400, "threads": 2, "device": "cpu", "precision": "fp32"} | fields)


def write_run(
    path: Path, made: config.Recipe | None = None, state: str = "finished", data: str = "a", **how: Any
) -> Run:
    """A run folder with a log but no checkpoints, closed."""
    run = Run.create(path, Config(recipe=made or recipe(), machine=MACHINE, data=data, origin=how.pop("origin", "")))
    reason, step = how.pop("reason", ""), how.pop("step", run.recipe.steps)
    write_log(run, step, **how)
    run.set_state(state, step, reason)
    run.close()
    return run


def write_log(
    run: Run, until: int, terms: tuple[str, ...] = ("masked_lm",), floor: float = 4.0, every: int = 50
) -> None:
    """A line of the log every ten steps, an evaluation every `every`."""
    lines = []
    for step in range(0, until + 1, 10):
        place = {"step": step, "time": BEGAN + 3 + SECONDS * step}
        measures = {"loss": 0.0}
        for number, term in enumerate(terms):
            loss = (floor + 3 * math.exp(-step / 120)) / (1 + 9 * number)
            measures |= {
                f"{term}.loss": loss,
                f"{term}.accuracy": math.exp(-loss / 2),
                f"{term}.perplexity": math.exp(loss),
            }
            measures["loss"] += loss
        if step:
            wave = 0.15 * math.sin(step)
            noisy = {k: v + wave if k.endswith("loss") else v for k, v in measures.items()}
            speed = {"tokens": TOKENS * step, "tokens_per_second": 10 * TOKENS / (10 * SECONDS + 3 * (step == 10))}
            lines.append({"event": "log", **place, **noisy, **speed})
        if step % every == 0:
            lines.append({"event": "evaluate", **place, **measures, "seconds": 3.0 if not step else 0.1})
    (run.path / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))


def write_run_with_weights(folder: Path, steps: tuple[int, ...] = (0, 100, 200, 300, 400, 500)) -> Run:
    """A run on a store of its own with a checkpoint of other random weights at each of `steps`."""
    subjects = ("the list", "a value", "every item", "the empty set", "a sorted copy")
    verbs = ("returns the same as", "holds no more than", "is found in front of")
    documents = [
        f"{a} {v} {b} and {c}. {b} {v} {a}." for a in subjects for v in verbs for b in subjects for c in subjects
    ]
    (folder / "text.txt").write_text("\n\n".join(documents), encoding="utf-8")
    prepare([str(folder / "text.txt")], folder / "data", vocab=90, held_out=0.2)
    data = config.TextData(store=str(folder / "data"), length=32)
    texts = TextSet.open(data)
    made = build.freeze(recipe(data=data, steps=steps[-1]), texts)
    run = Run.create(folder / "run", Config(recipe=made, machine=MACHINE, data=texts.store.hash), texts.vocabulary)
    for seed, step in enumerate(steps):
        weights = build.build(msgspec.structs.replace(made, seed=seed), texts).state_dict()
        manifest = Manifest(step=step, cursor=Cursor(), config=run.config_hash)
        checkpoint.save(run.checkpoints, manifest, weights, {})
    write_log(run, steps[-1])
    run.set_state("finished", steps[-1])
    run.close()
    return run


# ------------------------------------------------------------------------------------------------ probes
CLASSES = {  # group: (the step at which half of it is known, what is known at the end, by word frequency alone)
    "determiner": (20, 0.72, 0.45), "conjunction": (32, 0.6, 0.35), "preposition": (36, 0.55, 0.2),
    "pronoun": (60, 0.5, 0.1), "adverb": (90, 0.3, 0.02), "verb": (110, 0.33, 0.03), "noun": (160, 0.22, 0.0),
    "adjective": (170, 0.2, 0.0), "proper noun": (200, 0.06, 0.0),
}  # fmt: skip
MEASURED = (0, 1, 4, 8, 16, 32, 64, 100, 150, 200, 300, 400)
WORDS, LAYERS = 40, 2
"""Words asked of a class; layers of the network."""


def known(group: str, step: int, seed: int = 0, matched: bool = False) -> float:
    """Share of a class that is right at a step: a logistic curve over its logarithm."""
    half, end, _ = CLASSES[group]
    reach = (1.4 if matched else 1.0) * (1 + 0.15 * seed)
    return end / (1 + ((half * reach + 1) / (step + 1)) ** 2.5) if step else 0.0


def word_classes(step: int, seed: int) -> Iterator[Answer]:
    """Both metrics with their levels and intervals, and an Item for every word, of which the first four have a text."""
    for group, (_, _, frequent) in CLASSES.items():
        chance = np.random.default_rng([len(group), seed])
        hardness = chance.permutation(WORDS) / WORDS  # a word is known once its class is known that well
        for metric, ease in (("mask_prediction", 1.0), ("reconstruction", 1.3)):
            reached = min(1.0, ease * known(group, step, seed))
            right = hardness < reached
            spread = 1.96 * math.sqrt(max(reached * (1 - reached), 0.01) / WORDS)
            low, high = max(0.0, right.mean() - spread), min(1.0, right.mean() + spread)
            yield Value(metric, float(right.mean()), WORDS, group, low=low, high=high)
            yield Value(f"{metric}_matched", min(1.0, ease * known(group, step, seed, matched=True)), WORDS, group)
            for number, is_right in enumerate(right.tolist()):
                word, shown = f"{group.replace(' ', '-')}{number}", number < 4
                guesses = ((word if is_right else "the", 0.5 + step / 1000), ("of", 0.1), ("<b>", 0.05))
                text = f"The <i>first</i> of ⟦{word}⟧ and more." if shown else ""
                yield Item(metric, number + 1000 * list(CLASSES).index(group), group, is_right, word, text,
                           guesses if shown else ())  # fmt: skip
        yield Value("mask_prediction_unigram", frequent, WORDS, group)


def layered(step: int) -> Iterator[Answer]:
    for layer in range(LAYERS + 1):
        right = 0.5 + 0.3 * (1 - math.exp(-step / 80)) * (layer + 1) / 3
        yield Value("pos_accuracy", right, 200, layer=layer)
        for number, tag in enumerate(("ADJ", "ADV", "NOUN", "VERB")):
            yield Value("pos_accuracy", right - 0.1 + number / 15, 50, tag, layer)


def rank(step: int) -> Iterator[Answer]:
    for layer in range(LAYERS + 1):
        yield Value("rankme", 30 - 8 * layer * (1 - math.exp(-step / 50)), 4096, layer=layer)


def attention(step: int) -> Iterator[Answer]:
    yield Value("uniform", 0.03, 2048)
    for layer in range(1, LAYERS + 1):
        for head in range(1, 5):
            yield Value("previous", min(1.0, 0.03 + head * layer * step / 4000), 2048, f"head {head}", layer)
    for number, kind in enumerate(("previous", "next", "same", "separator", "broad", "mixed")):
        heads = 4 if (kind == "broad") == (step < 100) and number in (0, 4) else 0
        for layer in range(1, LAYERS + 1):
            yield Value("heads", float(heads), 4, kind, layer)
        yield Value("heads", float(LAYERS * heads), 4 * LAYERS, kind)


def calibration(step: int) -> Iterator[Answer]:
    yield Value("ece", 0.3 / (1 + step / 50), 2048)
    for number in range(2, 5):
        yield Value("reliability", (number + 0.5 - 100 / (step + 100)) / 5, 10 * number, f"{number / 5:.1f}")
        yield Value("reliability_confidence", (number + 0.5) / 5, 10 * number, f"{number / 5:.1f}")


def minimal_pairs(step: int) -> Iterator[Answer]:
    """More phenomena than a chart has lines for."""
    for number in range(14):
        yield Value("accuracy", 0.5 + 0.4 * step / (step + 10 * (number + 1)), 20, f"phenomenon {number}")
        yield Value("accuracy_unigram", 0.5 + number / 100, 20, f"phenomenon {number}")


def write_probes(folder: Path, seed: int = 0, until: int = MEASURED[-1], only: str = "") -> None:
    """What probes measured of a run: word classes live and, at three steps, in full; others live alone."""
    values, items = probe_tables(seed, until)
    for name, table in ((VALUES, values), (ITEMS, items)):
        pq.write_table(table.filter(pc.field("probe") == only) if only else table, folder / name)


@cache
def probe_tables(seed: int, until: int) -> tuple[pa.Table, pa.Table]:
    found: list[Answers] = []
    for step in (step for step in MEASURED if step <= until):
        seen = {"step": step, "tokens": TOKENS * step, "seconds": 3 + SECONDS * step, "made_from": ""}
        for form in ("live", "full") if step in (0, 100, 400) else ("live",):
            when = seen | {"probe": "word-classes", "source": "gold.conllu", "form": form}
            found.append(rows_of(when, word_classes(step, seed)))
        for probe, answers in {
            "linear": layered(step), "rank": rank(step), "attention": attention(step), "calibration": calibration(step),
            "minimal-pairs": minimal_pairs(step), "probes/my_own.py": [Value("zest", math.sqrt(step))],
        }.items():  # fmt: skip
            found.append(rows_of(seen | {"probe": probe, "source": "", "form": "live"}, answers))
    return pa.concat_tables([one.values for one in found]), pa.concat_tables([one.items for one in found])


# ------------------------------------------------------------------------------------------- fine-tuning
def scores_of(task: str, arm: str, labels: int, seeds: int) -> list[float]:
    """Test scores, a seed each; the same for the same arguments."""
    level = {"embeddings": 0.55, "scratch": 0.6, "pretrained": 0.68}[arm] + 0.03 * (labels == 0) - 0.01 * len(task)
    spread = np.random.default_rng(len(task) + labels + len(arm)).normal(0, 0.012, seeds)
    return [round(level + float(s), 4) for s in spread]


def mean_se(values: list[float]) -> tuple[float, float | None]:
    """By the textbook."""
    mean = sum(values) / len(values)
    if len(values) < 2:
        return mean, None
    return mean, (sum((v - mean) ** 2 for v in values) / (len(values) - 1)) ** 0.5 / len(values) ** 0.5


def point(task: str, labels: int, seeds: int) -> dict[str, Any]:
    arms = {arm: scores_of(task, arm, labels, seeds) for arm in ARMS}
    made: dict[str, Any] = {"majority": 0.21, "tfidf": 0.62}
    for arm, scores in arms.items():
        mean, se = mean_se(scores)
        made[arm] = {"mean": mean, "se": se, "n": seeds}
    mean, se = mean_se([a - b for a, b in zip(arms["pretrained"], arms["scratch"], strict=True)])
    return made | {"gain": {"mean": mean, "se": se}, "lr": dict.fromkeys(ARMS, 5e-4)}


def write_tuning(
    path: Path, tasks: tuple[str, ...] = ("pydocs/area", "pydocs/names"), seeds: int = 5, **how: Any
) -> Path:
    """A fine-tuning folder: eight evaluations a training, results for 100 and 300 labels and for all, a loss curve."""
    path.mkdir(parents=True)
    settings = {"run": "demo/run", "settings": {"lr": 5e-4, "epochs": 8.0, "labels": [100, 300]}, "seeds": seeds}
    (path / "config.json").write_text(
        json.dumps(settings | {"tasks": {task: {"kind": "x"} for task in tasks}, "arms": ARMS})
    )
    lines: list[dict[str, Any]] = []
    result: dict[str, Any] = {}
    for task in tasks:
        for arm in ARMS:
            for seed, final in enumerate(scores_of(task, arm, 0, seeds)):
                about = {"task": task, "arm": arm, "seed": seed, "labels": 0, "lr": 5e-4}
                for number in range(1, 9):
                    score = final * (1 - 0.6 * math.exp(-number / 2)) + 0.004 * math.sin(seed + number)
                    place = {
                        "epoch": float(number),
                        "step": 40 * number,
                        "seconds": 2.0 * number,
                        "train_loss": 1 / number,
                    }
                    lines.append(
                        {"event": "evaluate", **about, **place, "dev": {"accuracy": score, "macro_f1": score / 2}}
                    )
                lines.append({"event": "result", **about, "dev": {"accuracy": final}, "test": {"accuracy": final}})
        for arm, depth in (("scratch", 1.6), ("pretrained", 2.0)):
            alpha = [round(-0.5 + 0.1 * i, 2) for i in range(21)]
            losses = [0.3 + depth * (a - 1) ** 2 for a in alpha]
            lines.append(
                {
                    "event": "loss_curve",
                    "task": task,
                    "arm": arm,
                    "seed": 0,
                    "labels": 0,
                    "alpha": alpha,
                    "loss": losses,
                }
            )
        sizes = {"kind": "classification", "metric": "accuracy", "train": 1519, "dev": 200, "test": 400}
        smaller = {str(labels): point(task, labels, seeds) for labels in (100, 300)}
        result[task] = sizes | point(task, 0, seeds) | {"labels": smaller, "notes": {"texts cut at 128 tokens": 12}}
    (path / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    if how.get("finished", True):
        written = {"command": "finetune", "seconds": 231.5, "run": "demo/run", "tasks": result}
        (path / "result.json").write_text(json.dumps(written))
    return path
