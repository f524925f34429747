"""`sesame demo speech`: pretrain on speech that is synthesised here, and hear what the features know."""

import contextlib
import shlex
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sesame.cli import demo_steps
from sesame.cli.options import options_of
from sesame.cli.output import emit, table
from sesame.errors import UserError

SPOKEN = ("--data", "espeak", "--data.espeak.says", "words", "--data.espeak.utterances", "1500")
"""What is heard in pretraining, without any label: words by themselves, in twelve voices."""
HEARD = ("--data.features", "whisper", "--data.no-cmvn")
"""As what: log-mel on one scale for all utterances. Normalised each by itself, they would lose their voice."""


@dataclass(frozen=True)
class Demo:
    """Pretrain APC on speech that espeak-ng says, then learn tasks from ten labels a class.

    Offline, in a few minutes on two cores, and as long again for each more of --recipes; needs the extra `speech`.
    The features of each model stay as they are: beside them are those of a random network of the same shape, FBANK, and
    the mean and spread of the mel bands. Each command is shown before it runs. What an earlier demo left behind is gone
    on with.
    """

    out: Path = Path("demo-speech")
    """Folder for the runs, the tasks, report.html and result.json."""
    recipes: tuple[str, ...] = ("apc-gru-tiny",)
    """What is pretrained; apc-gru-tiny tera-tiny best-rq-tiny to compare them."""
    seconds: float = 120.0
    """How long each of them is pretrained."""
    tasks: tuple[str, ...] = ("word", "speaker")
    """Which of the built-in tasks on speech: word, speaker, tempo, melody, command."""
    seeds: int = 5
    """How often each is learned: with other examples, and from another random network."""
    per_class: int = 10
    """Labelled examples of each class."""
    json: bool = False
    """Print the result alone on stdout, as JSON."""


def speech_command(argv: list[str]) -> int:
    options = options_of(Demo, argv, "sesame demo speech")
    if options.seconds <= 0 or options.seeds < 1 or options.per_class < 1:
        raise UserError(
            f"--seconds {options.seconds:g}, --seeds {options.seeds}, --per-class {options.per_class}: "
            "give numbers above 0."
        )
    if not options.recipes or not options.tasks:
        raise UserError("--recipes and --tasks: name at least one of each.")
    began = time.monotonic()
    runs = {name: options.out / name for name in options.recipes}
    tuned = {name: options.out / f"{name}-tasks" for name in options.recipes}
    tasks = [f"espeak/{task}" for task in options.tasks]
    for place in tuned.values():
        demo_steps.check_place(tasks, place)
    page = options.out / "report.html"
    chosen = ("--frozen", "--per-class", str(options.per_class), "--seeds", str(options.seeds), "--workers", "1")
    with contextlib.redirect_stdout(sys.stderr) if options.json else contextlib.nullcontext():
        for name in options.recipes:
            demo_steps.pretrain(name, runs[name], *SPOKEN, *HEARD, "--max-minutes", f"{options.seconds / 60:.4g}")
            demo_steps.finetune(runs[name], tasks, tuned[name], *chosen)
        demo_steps.report([*runs.values(), *tuned.values()], page)
    found = {name: _few(tuned[name]) for name in options.recipes}
    result = {"seconds": round(time.monotonic() - began, 1), "per_class": options.per_class, "recipes": found}
    first = next(iter(runs.values()))
    emit(
        "demo speech",
        result,
        *(_table(task, found, options.per_class) for task in tasks),
        f"All of it, with curves: open {page} in a browser.\n"
        "Try your own: sesame finetune "
        f"{shlex.quote(str(first))} FOLDER --kind spoken-class --pattern {{label}}_{{speaker}}_{{take}} --out DIR",
        as_json=options.json,
        path=options.out / "result.json",
    )
    return 0


def _few(tuned: Path) -> dict[str, Any]:
    """Of each task what was learned from the few labels."""
    return {name: next(iter(task["labels"].values())) for name, task in demo_steps.results_of(tuned).items()}


def _table(task: str, found: dict[str, dict[str, Any]], each: int) -> Any:
    """A row for each recipe; what needs no network stands above them."""
    point = next(iter(found.values()))[task]
    rows = [
        ("majority", f"{point['majority']:.3f}", "", ""),
        ("mel statistics, regression", f"{point['spread']:.3f}", "", ""),
        ("FBANK, mean over time", _mean(point["raw"]), "", ""),
    ]
    for name, tasks in found.items():
        p = tasks[task]
        rows.append((name, _mean(p["frozen"]), _mean(p["random"]), _gain(p["over_random"])))
    title = f"{task}: accuracy on test, {each} labels a class (mean ± standard error over seeds)"
    return table(title, ["", "features", "the same network, random", "gain"], rows)


def _mean(score: dict[str, Any]) -> str:
    return f"{score['mean']:.3f}" + ("" if score["se"] is None else f" ± {score['se']:.3f}")


def _gain(gain: dict[str, Any]) -> str:
    """The paired gain, and whether it is clear: more than two standard errors from nothing."""
    if gain["se"] is None:
        return f"{gain['mean']:+.3f}"
    clear = "" if abs(gain["mean"]) > 2 * gain["se"] else ", not clear"
    return f"{gain['mean']:+.3f} ± {gain['se']:.3f}{clear}"
