"""`sesame finetune RUN TASK [TASK…] --out DIR`"""

import logging
import shlex
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated, Any

import msgspec
from tyro.conf import Positional, arg

from sesame.cli.options import options_of
from sesame.cli.output import emit, table
from sesame.cli.pretrain import checked
from sesame.config import FineTune, ImageData
from sesame.errors import UserError

log = logging.getLogger(__name__)

RATES = (1 / 3, 1.0, 3.0)
"""Of --lr: what --sweep tries where it is given no rates."""
ROWS = {
    "copied": "the source, copied",
    "majority": "majority",
    "tfidf": "TF-IDF",
    "spread": "mel statistics, regression",
    "raw": "raw features (FBANK)",
    "random": "random network, frozen",
    "embeddings": "embeddings alone",
    "frozen": "pretrained, frozen",
    "scratch": "from scratch",
    "pretrained": "pretrained",
    "over_raw": "gain of frozen over raw",
    "over_random": "gain of frozen over random",
    "gain": "gain over scratch",
}
"""What a result holds, and what it is called."""


@dataclass(frozen=True)
class Files:
    """How the files of a task are read; what a task file says is the default."""

    kind: str | None = None
    """classification, regression, tagging, span-qa or seq2seq; images; spoken-class, phone-frames or phone-ctc; else by
    the run and the names of the files."""
    text: str | None = None
    """Column of the text."""
    pair: str | None = None
    """Column of the second text, for pairs."""
    label: str | None = None
    """Column of the label."""
    key: str | None = None
    """Column that identifies a row; else its line."""
    source: str | None = None
    """seq2seq: column of the text that is read, …"""
    target: str | None = None
    """… and of the text that is to be written."""
    column: str | None = None
    """Column of the tag: a name of CoNLL-U (upos, deprel …), or a number from 1."""
    metric: str | None = None
    """What models are chosen by: accuracy, macro_f1, matthews; pearson, spearman; entity_f1; squad, cmrc;
    rouge_l, rouge_1, rouge_2, bleu, exact."""
    size: int | None = None
    """Height and width that images are brought to; else the run's."""
    channels: int | None = None
    """Channels of images: 1 for grey, 3 for colours; else the run's."""
    pattern: str | None = None
    """Speech: what a file's name says: {digit}_{speaker}_{take}."""
    apart: str | None = None
    """Speech: dev and test are told from train by speakers, source or utterances; else as suits (auto)."""
    pooling: str | None = None
    """What the head of a classification or regression reads: mean, first ([CLS]) or last; else what suits the model. Of
    spoken classes: mean, or statistics, which is that and the standard deviation over time."""


@dataclass(frozen=True)
class Finetune:
    """Train a head and the model on labelled data, beside the same from scratch, its embeddings alone, and TF-IDF.

    TASK is pydocs/NAME (built in: area, names, match, params, summary); a folder with train, dev and test files (.tsv,
    .csv, .jsonl, .conllu, CoNLL columns, SQuAD .json; also .gz); a task file (.json); or hf:NAME/CONFIG. Of a model of
    images it is digits, or images with labels (a folder per class, a .zip, arrays …); beside it stand the network from
    scratch, the raw pixels, a random network, and the model unchanged. Of speech it is espeak/NAME (built in: word,
    speaker, tempo, melody, command, phones, ctc), or a source as for pretraining with --kind spoken-class; it is also
    learned from features that stay as they are: raw, a random network's, and the pretrained one's.
    """

    run: Annotated[Positional[str], arg(metavar="RUN")]
    """A run, one of its checkpoints, a model folder, or the hub name of a model."""
    tasks: Annotated[Positional[tuple[str, ...]], arg(metavar="TASK")]
    """One or more; options about files and training hold for all of them."""
    out: Path
    """The folder to make: results, curves, and the best model of each task."""
    seeds: int = 3
    """How often each is trained; the seeds are paired."""
    train_on: int = 0
    """Training examples of each task that are used at most, by a keyed choice; 0 for all. Others are not looked at."""
    from_scratch: bool = False
    """Train the network from scratch alone."""
    alone: bool = False
    """Train the pretrained model alone."""
    frozen: bool = False
    """Of speech: train no network, only heads on features that stay as they are; done in seconds."""
    workers: int = 0
    """Trainings side by side, each in a process with its share of the threads; 0: for a small model as many as cores,
    for others one."""
    loss_curve: bool = False
    """Also measure the loss along the line from the first weights to the last (Hao et al. 2019)."""
    skip_bad: bool = False
    """Leave faulty examples out, count and report them, instead of stopping."""
    json: bool = False
    """Print the result alone on stdout, as JSON."""
    files: Annotated[Files, arg(name="")] = field(default_factory=Files)
    settings: Annotated[FineTune, arg(name="")] = field(default_factory=FineTune)


def finetune_command(argv: list[str]) -> int:
    options = options_of(Finetune, argv, "sesame finetune")
    settings = checked(options.settings)
    if not options.tasks:
        raise UserError("which task? Name one or more after the run: pydocs/area, a folder, a task file, hf:NAME.")
    if options.workers < 0:
        raise UserError(f"--workers {options.workers}: give a number of processes, or 0.")
    given = [f"--{name.replace('_', '-')}" for name in ("from_scratch", "alone", "frozen") if getattr(options, name)]
    if len(given) > 1:
        raise UserError(f"{' and '.join(given)} were given. Leave all but one out; without any, all arms are trained.")
    names = {word.split("=")[0] for word in argv}
    if settings.freeze and "--head-lr" not in names and ("--lr" in names or settings.sweep):
        settings = msgspec.structs.replace(settings, head_lr=settings.lr)  # rates that are named are the head's
    if "--sweep" in argv and not settings.sweep:
        settings = msgspec.structs.replace(settings, sweep=tuple(settings.lr * share for share in RATES))

    from sesame.tasks.arms import ARMS, HEAD_ALONE, Arm, arms_of
    from sesame.tasks.comparison import sizes_of
    from sesame.tasks.folder import RESULT, check_free, finetune
    from sesame.tasks.opening import open_task

    check_free(options.out)
    arms: tuple[Arm, ...] = ARMS
    if options.from_scratch or options.alone or options.frozen:
        arms = ("scratch",) if options.from_scratch else ("pretrained",) if options.alone else HEAD_ALONE
    asked = {name: value for name, value in asdict(options.files).items() if value is not None}
    data = _images_of(options.run)
    tasks = [open_task(spec, options.skip_bad, **_as_images(spec, data) | asked) for spec in options.tasks]
    if options.train_on:
        tasks = [task.learned_from(options.train_on) for task in tasks]
    points = sum(len(arms_of(task.task, arms)) * (1 + len(sizes_of(settings, task))) for task in tasks)
    trainings = points * options.seeds
    show = Bar(trainings) if sys.stderr.isatty() else Lines(trainings)
    try:
        finetune(options.run, tasks, options.out, settings, seeds=options.seeds, arms=arms,
                 curve=options.loss_curve, tell=show, workers=options.workers)  # fmt: skip
    finally:
        show.close()
    result = msgspec.json.decode((options.out / RESULT).read_bytes())
    found = result["tasks"]
    notes = [f"{name}: {what}: {count:,}" for name, task in found.items() for what, count in task["notes"].items()]
    emit(
        "finetune",
        {key: value for key, value in result.items() if key != "command"},
        *shown(found),
        "\n".join(f"{name}: {_verdict(task)}." for name, task in found.items()),
        *notes,
        _next(options.out, list(found)),
        as_json=options.json,
        path=None,
    )
    return 0


def _as_images(spec: str, data: ImageData | None) -> dict[str, Any]:
    """How a source is read where the run is one of images: as images, and as the run's were."""
    if data is None or spec.startswith("pydocs/") or Path(spec).suffix == ".json":
        return {}
    return {"kind": "images"} | {name: n for name in ("size", "channels") if (n := getattr(data, name))}


def _images_of(run: str) -> ImageData | None:
    """The data of a run of images; None for any other model."""
    from sesame.engine.run import Run, is_run

    folder = next((path for path in (Path(run), Path(run).parent.parent) if is_run(path)), None)
    data = Run.open(folder).recipe.data if folder else None
    return data if isinstance(data, ImageData) else None


# ----------------------------------------------------------------------------------------------- report
def shown(tasks: dict[str, Any]) -> list[Any]:
    """The results as tables: one for all tasks, or where some were learned from few examples too, one for each."""
    if any(task["labels"] for task in tasks.values()):
        return [
            _table(f"{name}: {task['metric']} on test, by training examples", {f"{n:,}": p for n, p in _points(task)})
            for name, task in tasks.items()
        ]
    return [_table("On test", {f"{name}, {task['metric']}": task for name, task in tasks.items()})]


def _verdict(task: dict[str, Any]) -> str:
    """The result in words, as the report has it: whether the gain is clear, and what is not beaten."""
    from sesame.report.wording import verdict
    from sesame.tasks.comparison import Point

    return verdict(msgspec.convert(task, Point))


def _points(task: dict[str, Any]) -> Iterator[tuple[int, dict[str, Any]]]:
    yield from ((int(count), point) for count, point in task["labels"].items())
    yield task["train"], task


def _table(title: str, points: dict[str, dict[str, Any]]) -> Any:
    """A column for each of `points`, a row for each way to get at the answer."""
    rows = [(row, *(_score(point.get(name)) for point in points.values())) for name, row in ROWS.items()]
    for part in ("also", "gains"):
        names = dict.fromkeys(name for point in points.values() for name in point.get(part, {}))
        rows += [(name, *(_score(point.get(part, {}).get(name)) for point in points.values())) for name in names]
    return table(f"{title} (mean ± standard error over seeds)", ["", *points], [r for r in rows if any(r[1:])])


def _score(score: Any) -> str | None:
    if score is None:
        return None
    mean, error = (score["mean"], score["se"]) if isinstance(score, dict) else (score, None)
    return f"{mean:.3f}" + ("" if error is None else f" ± {error:.3f}")


def _next(out: Path, names: list[str]) -> str:
    models = [shlex.quote(str(out / name)) for name in names]
    return "\n".join([
        f"The best model of each task is in {out}. Next:",
        *(f"  sesame predict {model} FILE --out OUT" for model in models),
        f"  sesame evaluate {models[0]} FILE",
    ])  # fmt: skip


# --------------------------------------------------------------------------------------------- progress
def _who(event: dict[str, Any]) -> str:
    some = f", {event['labels']} examples" if event["labels"] else ""
    return f"{event['task']}{some}, {event['arm']}, seed {event['seed']}"


def _scores(event: dict[str, Any], part: str) -> str:
    return ", ".join(f"{name} {value:.3f}" for name, value in event[part].items())


class Lines:
    """A line for each training, and at most every ten seconds one for a look at dev."""

    def __init__(self, trainings: int) -> None:
        self.trainings, self.done, self.last = trainings, 0, time.monotonic()

    def __call__(self, event: dict[str, Any]) -> None:
        kind, now = event["event"], time.monotonic()
        if kind == "result":
            self.done, self.last = self.done + 1, now
            log.info("%d of %d: %s: test %s", self.done, self.trainings, _who(event), _scores(event, "test"))
        elif kind in ("evaluate", "trial") and now - self.last >= 10:
            self.last = now
            log.info("%s: epoch %.3g, loss %.3f, dev %s",
                     _who(event), event["epoch"], event["train_loss"], _scores(event, "dev"))  # fmt: skip

    def close(self) -> None:
        """Nothing is open."""


class Bar:
    """A bar over all trainings with what goes on now; results stay above it."""

    def __init__(self, trainings: int) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn

        self.bar = Progress(
            BarColumn(), TextColumn("{task.completed:,.0f} of {task.total:,.0f} trainings  {task.description}"),
            console=Console(stderr=True), transient=True,
        )  # fmt: skip
        self.task = self.bar.add_task("", total=trainings)
        self.bar.start()

    def __call__(self, event: dict[str, Any]) -> None:
        if event["event"] == "result":
            self.bar.advance(self.task)
            self.bar.console.print(f"{_who(event)}: test {_scores(event, 'test')}", highlight=False)
        elif event["event"] in ("evaluate", "trial"):
            said = f"{_who(event)}: epoch {event['epoch']:.3g}, dev {_scores(event, 'dev')}"
            self.bar.update(self.task, description=said)

    def close(self) -> None:
        self.bar.stop()
