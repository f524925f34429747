"""A task learned from each arm, over seeds and numbers of examples, beside what needs no network."""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, NamedTuple

import msgspec
import numpy as np
import torch
from jaxtyping import Int
from msgspec import Struct

from sesame.config import FineTune
from sesame.data.chance import permute
from sesame.engine.build import Model
from sesame.errors import UserError
from sesame.models.base import Backbone
from sesame.tasks import frozen
from sesame.tasks.arms import ARMS, HEAD_ALONE, Arm, Start, arms_of, fresh, network_of, starts_of
from sesame.tasks.base import TaskData, label_of
from sesame.tasks.finetune import Diverged, Encoded, Evaluation, Tuning, encode, encode_raw, fine_tune
from sesame.tasks.loss_curve import ALPHAS, SAMPLE, loss_curve
from sesame.tasks.network import Network
from sesame.tasks.solving import Kept, keep, solve
from sesame.tasks.workers import Workers

Tell = Callable[[dict[str, Any]], None]
"""Told of every event, as a line of `metrics.jsonl` has it: evaluate, trial, baseline, result, loss_curve."""
ALONE = Workers()


def _nobody(_: dict[str, Any]) -> None:
    """Is told, and does nothing."""


class Mean(Struct, frozen=True):
    """Of the test scores of one arm."""

    mean: float
    se: float | None
    """Standard error of the mean; None for one seed."""
    n: int


class Gain(Struct, frozen=True):
    """One arm minus another, seed by seed."""

    mean: float
    se: float | None


class Point(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Scores on test, learned from so many examples."""

    majority: float
    tfidf: float | None = None
    """Of TF-IDF and logistic regression, or their nearest equivalent for the kind."""
    spread: float | None = None
    """Of speech: of logistic regression on the mean and the spread of its mel bands over time."""
    copied: float | None = None
    """Of the text that is read, given back as it is, where the answer is a text."""
    raw: Mean | None = None
    random: Mean | None = None
    embeddings: Mean | None = None
    frozen: Mean | None = None
    scratch: Mean | None = None
    pretrained: Mean | None = None
    gain: Gain | None = None
    """Pretrained minus scratch."""
    over_random: Gain | None = None
    """Frozen minus random: what pretraining put into the features, …"""
    over_raw: Gain | None = None
    """… and frozen minus raw."""
    also: dict[str, Mean] = {}
    """What else was measured, by what it is called: unchanged features, read in other ways."""
    gains: dict[str, Gain] = {}
    """Of those, paired, seed by seed."""
    lr: dict[str, float]
    """The peak rate of each arm."""
    start: Start | None = None
    """How scratch's weights were drawn, where a sweep chose it."""


class Way(NamedTuple):
    """How an arm is trained."""

    lr: float
    start: Start | None = None
    """Of scratch: how its weights are drawn; None for the model's own way."""


class Job(NamedTuple):
    """One training."""

    arm: Arm
    labels: int
    seed: int
    way: Way
    trial: bool = False
    """Of a sweep: what it reaches on dev decides, and test is not looked at."""


class Trained(NamedTuple):
    tuning: Tuning
    test: dict[str, float] | None
    """The metrics; None for a trial."""


class Result(Point, frozen=True, kw_only=True, omit_defaults=True):
    """Of one task, learned from all examples; `labels` has the same for smaller numbers of them."""

    kind: str
    metric: str
    train: int
    dev: int
    test: int
    labels: dict[str, Point]
    notes: dict[str, int]


@dataclass(frozen=True)
class Compared:
    """What came out of a comparison."""

    result: Result
    best: Tuning
    """Of the seeds of `arm`, learned from all examples, the best on dev."""
    arm: Arm
    encoded: Encoded


def compare(
    model: Model,
    data: TaskData[Any, Any],
    settings: FineTune,
    *,
    seeds: int = 3,
    arms: Sequence[Arm] = ARMS,
    curve: bool = False,
    tell: Tell = _nobody,
    workers: Workers = ALONE,
) -> Compared:
    """Learn `data` from each of `arms` with `seeds` seeds, from all examples and from each of `settings.labels`.

    The arms of one seed share the examples, their order and the start of the head. With `settings.sweep` each arm
    has a rate of its own for each number of examples: the one of the first seed that is best on dev. `curve` adds the
    loss between start and end of the first seed. Scores are those of the weights best on dev, on test. The network
    that is given back is pretrained, or where that is none of the arms from scratch; one of the two must be. With
    several `workers` events come when a training is over, in the same order.
    """
    return Comparison.of(model, data, settings, seeds, arms, curve).run(tell, workers)


@dataclass(frozen=True)
class Comparison:
    """One task's training runs. `labels` is the number of training examples, 0 for all, as in the events."""

    model: Model
    encoded: Encoded
    raw: Encoded | None
    """The examples as the arm `raw` reads them."""
    settings: FineTune
    seeds: tuple[int, ...]
    arms: tuple[Arm, ...]
    curve: bool
    tell: Tell = _nobody
    workers: Workers = ALONE
    sizes: dict[int, bool] = field(default_factory=dict)
    """Numbers of training examples that are tried beside all of them, rising; and whether they are balanced."""
    kept: dict[tuple[Arm, int], Kept] = field(default_factory=dict)
    """What heads read of backbones that are not trained, of each arm and seed."""
    extracted: dict[tuple[str, int], frozen.Features] = field(default_factory=dict)
    """Features that are computed already, by what they are of and the seed of a random network."""

    @classmethod
    def of(
        cls,
        model: Model,
        data: TaskData[Any, Any],
        settings: FineTune,
        seeds: int,
        arms: Sequence[Arm],
        curve: bool,
    ) -> "Comparison":
        """What `compare` is asked for, with everything checked that can be checked before anything is trained."""
        if seeds < 1:
            raise UserError(f"--seeds {seeds}: at least one is needed.")
        numbers = tuple(range(settings.seed, settings.seed + seeds))
        encoded = encode(model, data, settings.length)
        chosen = arms_of(data.task, arms, model.objective.backbone)
        if not chosen:
            hint = " Leave --frozen out, which is for speech." if tuple(arms) == HEAD_ALONE else ""
            raise UserError(f"{data.name} cannot be learned from {', '.join(arms)} of this model.{hint}")
        raw = encode_raw(model, data, settings.length) if "raw" in chosen else None
        work = cls(model, encoded, raw, settings, numbers, chosen, curve, sizes=sizes_of(settings, data))
        for labels in work.sizes:
            work.check(labels)
        return work

    def run(self, tell: Tell, workers: Workers = ALONE) -> Compared:
        """Train and score everything."""
        work = replace(self, tell=tell, workers=workers)
        whole, best = work.point(0)
        points = {str(labels): work.point(labels)[0] for labels in self.sizes}
        result = Result(
            kind=self.data.task.kind,
            metric=self.data.task.metric,
            train=len(self.data.train),
            dev=len(self.data.dev),
            test=len(self.data.test),
            labels=points,
            notes=dict(self.data.notes.counts),
            **msgspec.structs.asdict(whole),
        )
        return Compared(result, best, self.arms[-1], self.encoded)

    @property
    def data(self) -> TaskData[Any, Any]:
        return self.encoded.data

    # ------------------------------------------------------------------------------------ which examples
    def chosen(self, labels: int, seed: int) -> Int[np.ndarray, " example"]:
        """Which training examples are used, in order. A smaller choice is part of every larger one of the seed."""
        if not labels:
            return np.arange(len(self.data.train))
        return np.sort(self.data.task.order(self.data.train, seed, self.sizes[labels])[:labels])

    def check(self, labels: int) -> None:
        """Raise UserError where so few examples cannot be learned from, or there are not so many."""
        if labels > len(self.data.train):
            raise UserError(f"--labels {labels}: {self.data.name} has {len(self.data.train)} training examples.")
        for seed in self.seeds:
            some = [self.data.train[i] for i in self.chosen(labels, seed)]
            self.data.task.check_train(some, f"--labels {labels}, seed {seed}", "Ask for more examples.")

    # ------------------------------------------------------------------------------------------ training
    def point(self, labels: int) -> tuple[Point, Tuning]:
        """The scores learned from so many examples, and the best network on dev of the last arm."""
        scores: dict[Arm, list[float]] = {arm: [] for arm in self.arms}
        best: Tuning | None = None
        metric = self.data.task.metric
        trials = self.trials(labels)
        begun = self.trainings(trials)
        plain = self.baselines(labels)
        unchanged = self.unchanged(labels)
        ways, first = self.best(labels, zip(trials, begun, strict=True))
        jobs = [Job(arm, labels, seed, ways[arm]) for arm in self.arms for seed in self.seeds]
        tried = [job for job in jobs if job.arm in first and job.seed == self.seeds[0]]
        others = self.trainings([job for job in jobs if job not in tried and not self.solved(job.arm)])
        last: dict[Arm, tuple[Tuning, dict[str, float]]] = {}
        for job in jobs:
            if self.solved(job.arm):
                if job.arm not in last or labels or job.arm == "random":  # else all is the same for every seed
                    tuning = self.solve(job)
                    last[job.arm] = tuning, tuning.test(self.read_by(job.arm))
                tuning, test = last[job.arm]
            elif job in tried:
                tuning = first[job.arm]
                test = tuning.test(self.read_by(job.arm))
            else:
                trained = next(others)
                if trained is None:
                    raise Diverged(f"{self.data.name}: {job.arm} does not learn at the rate {job.way.lr:g}, seed "
                                   f"{job.seed}: its loss is not finite. Try a lower --lr.")  # fmt: skip
                tuning, test = trained.tuning, trained.test or {}
            scores[job.arm].append(test[metric])
            self.say("result", job, **msgspec.to_builtins(tuning.best), test=test)
            if self.curve and not labels and job.arm in ("scratch", "pretrained") and job.seed == self.seeds[0]:
                self.trace(job, tuning)
            if job.arm == self.arms[-1] and (best is None or tuning.best.dev[metric] > best.best.dev[metric]):
                best = tuning
        assert best is not None

        def gain(ours: Arm, theirs: Arm) -> Gain | None:
            return gain_of(scores[ours], scores[theirs]) if {ours, theirs} <= set(scores) else None

        found: dict[str, Any] = {**plain, **{arm: mean_of(its) for arm, its in scores.items()}}
        point = Point(
            **found,
            also={name: mean_of(its) for name, its in unchanged.items()},
            gains={name: gain_of(*both) for name, both in frozen.gains(unchanged).items()},
            gain=gain("pretrained", "scratch"),
            over_random=gain("frozen", "random"),
            over_raw=gain("frozen", "raw"),
            lr={arm: way.lr for arm, way in ways.items() if not self.solved(arm)},
            start=ways["scratch"].start if "scratch" in ways else None,
        )
        return point, best

    def baselines(self, labels: int) -> dict[str, float]:
        """Majority, TF-IDF and what else the kind has, the mean over the seeds' choices of examples."""
        task, test = self.data.task, self.data.test
        scores: dict[str, list[float]] = {}
        for seed in self.seeds if labels else self.seeds[:1]:  # all examples are the same for every seed
            train = [self.data.train[i] for i in self.chosen(labels, seed)]
            for name, predictions in task.baselines(train, test).items():
                metrics = task.metrics(test, predictions)
                scores.setdefault(name, []).append(metrics[task.metric])
                told = {"event": "baseline", "task": self.data.name, "arm": name, "seed": seed, "labels": labels}
                self.tell({**told, "test": metrics})
        return {name: float(np.mean(found)) for name, found in scores.items()}

    def unchanged(self, labels: int) -> dict[str, list[float]]:
        """The scores of every seed from features that are not trained, by way; none for a kind that has no such."""
        task, encoded = self.data.task, self.encoded
        scores: dict[str, list[float]] = {}
        for seed in self.seeds if task.unchanged else ():
            chosen = torch.from_numpy(self.chosen(labels, seed))
            features = {what: x.of(chosen) for what, x in self.features(seed).items()}
            label = torch.from_numpy(encoded.train.target)[chosen]

            def on_dev(found: frozen.Scores) -> float:
                return task.metrics(self.data.dev, task.decode(self.data.dev, encoded.dev, found.numpy()))[task.metric]

            known = () if labels else frozen.SAME & set(scores)
            for name, found in frozen.ways(features, label, len(task.labels), seed, on_dev, known).items():
                metrics = task.metrics(self.data.test, task.decode(self.data.test, encoded.test, found.numpy()))
                scores.setdefault(name, []).append(metrics[task.metric])
                told = {"event": "baseline", "task": self.data.name, "arm": name, "seed": seed, "labels": labels}
                self.tell({**told, "test": metrics})
        return scores

    def features(self, seed: int) -> dict[str, frozen.Features]:
        """Of the raw input, a random network of this seed, and the pretrained one; each computed once."""
        task, encoded = self.data.task, self.encoded
        parts = encoded.train, encoded.dev, encoded.test
        made: dict[str, Callable[[], Backbone | None]] = {
            frozen.RAW: lambda: None,
            frozen.RANDOM: lambda: fresh(self.model, seed),
            frozen.FROZEN: lambda: self.model.objective.backbone,
        }
        for what, make in made.items():
            key = what, seed if what == frozen.RANDOM else 0
            if key not in self.extracted:
                backbone = make()
                found = [task.numbers(part) if backbone is None else task.features(backbone, part) for part in parts]
                self.extracted[key] = frozen.Features(*found)
        return {what: self.extracted[what, seed if what == frozen.RANDOM else 0] for what in made}

    def trials(self, labels: int) -> list[Job]:
        """Every way of every arm, with the first seed; none without a sweep.

        Scratch also chooses how its weights are drawn: a weak start would make pretraining look better than it is.
        """
        share = self.settings.head_lr / self.settings.lr
        return [
            Job(arm, labels, self.seeds[0], Way(rate * (share if self.head_alone(arm) else 1.0), start), trial=True)
            for arm in self.arms
            if not self.solved(arm)
            for start in (starts_of(self.model.objective.backbone) if arm == "scratch" else (None,))
            for rate in self.settings.sweep
        ]

    def best(
        self, labels: int, trials: Iterable[tuple[Job, Trained | None]]
    ) -> tuple[dict[Arm, Way], dict[Arm, Tuning]]:
        """Of each arm the way that is best on dev, and what it learned so.

        Without a sweep all have the one rate, and nothing is learned yet.
        """
        c = self.settings
        ways = {arm: Way(c.head_lr if self.head_alone(arm) else c.lr) for arm in self.arms}
        if not c.sweep:
            return ways, {}
        metric = self.data.task.metric
        best: dict[Arm, Tuning] = {}
        for job, trained in trials:
            if trained and (job.arm not in best or trained.tuning.best.dev[metric] > best[job.arm].best.dev[metric]):
                ways[job.arm], best[job.arm] = job.way, trained.tuning
        for arm in self.arms:
            if self.solved(arm):
                continue
            if arm not in best:
                rates = ", ".join(f"{rate:g}" for rate in self.settings.sweep)
                raise Diverged(f"{self.data.name}: {arm} learns at none of the rates {rates}. Try lower ones.")
            for look in best[arm].evaluations:
                self.say("evaluate", Job(arm, labels, self.seeds[0], ways[arm]), **msgspec.to_builtins(look))
        return ways, best

    def trainings(self, jobs: Sequence[Job]) -> Iterator[Trained | None]:
        """What came of each, in order; None where the loss broke."""
        if self.workers.count == 1:  # told while it happens
            return map(self.train, jobs)
        silent = replace(self, tell=_nobody, workers=ALONE, kept={}, extracted={})
        return map(self.heard, jobs, self.workers.map(silent.train, jobs))

    def heard(self, job: Job, trained: Trained | None) -> Trained | None:
        for look in trained.tuning.evaluations if trained else ():
            self.hear(job, look)
        return trained

    def train(self, job: Job) -> Trained | None:
        freeze = self.head_alone(job.arm)
        settings = msgspec.structs.replace(self.settings, lr=job.way.lr, seed=job.seed, freeze=freeze)
        encoded, sequences = self.read_by(job.arm), self.sequences(job)
        try:
            tuning = fine_tune(self.network(job), encoded, settings, sequences, partial(self.hear, job))
        except Diverged:
            return None
        return Trained(tuning, None if job.trial else tuning.test(encoded))

    def sequences(self, job: Job) -> Int[np.ndarray, " sequence"]:
        """The training sequences of a job."""
        owner = self.read_by(job.arm).train.owner
        return np.flatnonzero(np.isin(owner, self.chosen(job.labels, job.seed)))

    def read_by(self, arm: Arm) -> Encoded:
        """The examples as the arm reads them."""
        if arm != "raw":
            return self.encoded
        assert self.raw is not None, "made where the arm is chosen"
        return self.raw

    def head_alone(self, arm: Arm) -> bool:
        """Whether the arm's network stays as it is."""
        return self.settings.freeze or arm in HEAD_ALONE

    def solved(self, arm: Arm) -> bool:
        """Whether the best head of the arm is worked out, and not trained."""
        return bool(self.data.task.solved) and arm in HEAD_ALONE

    def solve(self, job: Job) -> Tuning:
        """The best head on a backbone that is not trained; what it reads is computed once for an arm and its seed."""
        network, encoded = self.network(job), self.read_by(job.arm)
        which = job.arm, job.seed if job.arm == "random" else 0
        if which not in self.kept:
            self.kept[which] = keep(network, encoded)
        return solve(network, encoded, self.kept[which], self.sequences(job))

    def network(self, job: Job) -> Network:
        return network_of(
            job.arm, self.model, self.data.task, job.seed, self.settings.dropout, job.way.start, self.settings.mix
        )

    def trace(self, job: Job, tuning: Tuning) -> None:
        """The loss along the line between the start and the end of one training, on a keyed sample of train."""
        count = len(self.encoded.train)
        sample = np.sort(permute(np.arange(min(count, SAMPLE)), count, "loss curve", self.settings.seed))
        losses = loss_curve(self.network(job), tuning.network, self.encoded, sample)
        self.say("loss_curve", job, alpha=ALPHAS, loss=losses.tolist())

    def hear(self, job: Job, look: Evaluation) -> None:
        self.say("trial" if job.trial else "evaluate", job, **msgspec.to_builtins(look))

    def say(self, event: str, job: Job, **values: Any) -> None:
        told = {"event": event, "task": self.data.name, "arm": job.arm, "seed": job.seed, "labels": job.labels}
        self.tell({**told, "lr": job.way.lr, **values})


def sizes_of(settings: FineTune, data: TaskData[Any, Any]) -> dict[int, bool]:
    """How many training examples are tried beside all of them, rising: as numbers, per class, and in hundredths; and
    whether of each label in turn, as those per class are."""
    if settings.per_class:
        label_of(data.train[0])  # there is one
        if not data.task.labels:
            raise UserError("--per-class: the answers of this task are no classes. Use --labels or --percent.")
    per_class = [number * len(data.task.labels) for number in settings.per_class]
    percent = [max(1, round(share / 100 * len(data.train))) for share in settings.percent]
    sizes = dict.fromkeys((*settings.labels, *percent), False) | dict.fromkeys(per_class, True)
    return dict(sorted(sizes.items()))


# -------------------------------------------------------------------------------------------- statistics
def mean_of(scores: Sequence[float]) -> Mean:
    return Mean(float(np.mean(scores)), standard_error(scores), len(scores))


def gain_of(ours: Sequence[float], theirs: Sequence[float]) -> Gain:
    """Mean and standard error of the differences, seed by seed."""
    paired = np.subtract(ours, theirs)
    return Gain(float(paired.mean()), standard_error(paired.tolist()))


ROUNDING = 1e-9
"""A gain or a standard error below this is nothing but rounding: where seeds are tied, no error can be told."""


def standard_error(values: Sequence[float]) -> float | None:
    """Of the mean, from the sample's own spread; None for a single value, which has none."""
    return float(np.std(values, ddof=1)) / math.sqrt(len(values)) if len(values) > 1 else None
