"""Fine-tuning on this machine: useful examples per second, memory and scores against `transformers.Trainer`.

    python bench/finetune.py                               an epoch of classification and one of questions, three rounds
    python bench/finetune.py --recipe bert-mini --cases classification --json
    python bench/finetune.py --scores 5                    also the test scores of both after --epochs, over five seeds
    python bench/finetune.py --classification DIR --qa DIR --model MODEL     your own tasks, and a model of yours

The peer is `BertForSequenceClassification`, or `BertForQuestionAnswering`, in `Trainer` with batches of about equal
length (its length grouping) and fused AdamW. Both sides read the same token sequences, cut at the same length, start
from the same backbone with a head of the same shape, and have the same batch, rate, schedule, decay, clipping, dropout
and threads; one decoder and one metric score both. An example is a sequence: of a long text for a question, a window.
Both clocks start after two warm-up steps. Without --model the backbone is a fresh one of the shape of --recipe, which
makes speeds that mean something and scores that do not. Every measurement is a process of its own.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from compare import alternate, peak_memory, show

from sesame.config import FineTune

CASES = {"classification": "pydocs/area", "qa": "pydocs/params"}
"""The tasks that every machine has."""
WARMUP = 2
"""Steps before the clock starts."""


@dataclass(frozen=True)
class Options:
    model: Path
    task: str
    settings: FineTune
    scored: bool
    """Train for all epochs and score; otherwise one epoch, for speed."""


def encoded_of(o: Options) -> tuple[Any, Any]:
    """The model, and the task's sequences as both sides read them."""
    from sesame.engine.build import load
    from sesame.tasks.finetune import encode
    from sesame.tasks.opening import open_task

    model, data = load(o.model), open_task(o.task)
    if data.task.kind == "classification":  # what the peer's head reads
        data.task.config = msgspec.structs.replace(data.task.config, pooling="first")
    return model, encode(model, data, o.settings.length)


# ---------------------------------------------------------------------------------------------- ours
def ours(o: Options) -> dict[str, float]:
    import torch

    from sesame.engine import machine, products
    from sesame.tasks.arms import network_of
    from sesame.tasks.finetune import fine_tune

    torch.set_num_threads(o.settings.threads)
    products.use(products.fastest(o.settings.threads))  # as `sesame finetune` does
    machine.keep_freed_memory()
    model, encoded = encoded_of(o)

    def trained(chosen: np.ndarray | None) -> Any:
        network = network_of("pretrained", model, encoded.data.task, o.settings.seed, o.settings.dropout)
        return fine_tune(network, encoded, o.settings, chosen)

    if o.scored:
        return {"score": trained(None).test(encoded)[encoded.data.task.metric]}
    first = encoded.data.dev[:1]  # looking at dev, which the peer is spared, takes next to no time
    dev = encoded.data.task.encode(first, model.vocabulary, encoded.length, encoded.data.notes)
    encoded = replace(encoded, data=replace(encoded.data, dev=first), dev=dev)
    trained(np.arange(min(WARMUP * o.settings.rows, len(encoded.train))))
    began = time.perf_counter()
    trained(None)
    return {"speed": len(encoded.train) / (time.perf_counter() - began), "memory": peak_memory()}


# -------------------------------------------------------------------------------------------- theirs
def theirs(o: Options) -> dict[str, float]:
    import torch
    import transformers
    from transformers import Trainer, TrainerCallback

    torch.set_num_threads(o.settings.threads)
    transformers.logging.set_verbosity_error()
    torch.manual_seed(o.settings.seed)
    model, encoded = encoded_of(o)
    network = peer(o, model, encoded.data.task)
    features = features_of(encoded.train, encoded.data.task.kind)

    class Clock(TrainerCallback):
        began = 0.0

        def on_step_end(self, args: Any, state: Any, control: Any, **more: Any) -> None:
            if state.global_step == WARMUP:
                self.began = time.perf_counter()

    clock = Clock()
    with tempfile.TemporaryDirectory() as folder:
        trainer = Trainer(network, arguments(o, folder), collator(model.vocabulary.pad), features, callbacks=[clock])
        trainer.train()
        if not o.scored:
            count = len(features) - WARMUP * o.settings.rows
            return {"speed": count / (time.perf_counter() - clock.began), "memory": peak_memory()}
        task, data = encoded.data.task, encoded.data
        said = task.decode(data.test, encoded.test, scores_of(trainer, encoded.test, task.kind))
        return {"score": task.metrics(data.test, said)[task.metric]}


def peer(o: Options, model: Any, task: Any) -> Any:
    """The peer with the same backbone; its head is fresh."""
    from transformers import BertForQuestionAnswering, BertForSequenceClassification

    same = {"hidden_dropout_prob": o.settings.dropout, "attention_probs_dropout_prob": 0.0}
    if task.kind == "classification":
        labels = {"num_labels": len(task.labels), "classifier_dropout": o.settings.dropout}
        return BertForSequenceClassification.from_pretrained(o.model, **same, **labels)
    return BertForQuestionAnswering.from_pretrained(o.model, **same)


def arguments(o: Options, folder: str) -> Any:
    from transformers import TrainingArguments

    from sesame.tasks.finetune import schedule_of

    s, schedule = o.settings, schedule_of(o.settings)
    return TrainingArguments(
        folder,
        num_train_epochs=s.epochs,
        per_device_train_batch_size=s.rows,
        per_device_eval_batch_size=s.rows,
        train_sampling_strategy="group_by_length",
        optim="adamw_torch_fused",
        learning_rate=schedule.lr,
        adam_beta1=schedule.beta1,
        adam_beta2=schedule.beta2,
        adam_epsilon=schedule.eps,
        weight_decay=schedule.weight_decay,
        max_grad_norm=schedule.clip,
        lr_scheduler_type="linear",
        warmup_steps=schedule.warmup,
        seed=s.seed,
        use_cpu=True,
        save_strategy="no",
        logging_strategy="no",
        report_to=[],
        disable_tqdm=True,
    )


def features_of(sequences: Any, kind: str) -> list[dict[str, Any]]:
    """The sequences as the peer takes them."""
    made = []
    for i in range(len(sequences)):
        here = slice(*sequences.offsets[i : i + 2].tolist())
        feature = {"input_ids": sequences.ids[here].tolist(), "token_type_ids": sequences.kind[here].tolist()}
        reads = slice(*sequences.read_offsets[i : i + 2].tolist())
        if kind == "classification":
            feature["labels"] = int(sequences.target[i])
        else:  # the read positions that are the answer's first and last
            start, end = sequences.target[reads].argmax(0)
            feature["start_positions"] = int(sequences.read[reads][start])
            feature["end_positions"] = int(sequences.read[reads][end])
        made.append(feature)
    return made


def collator(pad: int) -> Any:
    """Pads to the longest of the batch."""
    import torch

    def collate(features: list[dict[str, Any]]) -> dict[str, Any]:
        longest = max(len(f["input_ids"]) for f in features)
        batch: dict[str, Any] = {"attention_mask": [[1] * len(f["input_ids"]) for f in features]}
        for name in features[0]:
            batch[name] = [f[name] for f in features]
        fill = {"attention_mask": 0, "token_type_ids": 0, "input_ids": pad}
        return {
            name: torch.tensor([v + [fill[name]] * (longest - len(v)) for v in values] if name in fill else values)
            for name, values in batch.items()
        }

    return collate


def scores_of(trainer: Any, sequences: Any, kind: str) -> np.ndarray:
    """The peer's logits, laid out as our own head's are."""
    trainer.args.train_sampling_strategy = "random"  # length grouping would predict in another order than asked
    logits = trainer.predict(features_of(sequences, kind)).predictions
    if kind == "classification":
        return np.asarray(logits)
    start, end = logits
    row = np.repeat(np.arange(len(sequences)), np.diff(sequences.read_offsets))
    return np.stack([start[row, sequences.read], end[row, sequences.read]], -1)


# ------------------------------------------------------------------------------------------- the model
def fresh_model(folder: Path, recipe: str) -> None:
    """A BERT of the recipe's shape over a vocabulary of Python's documentation, with fresh weights."""
    import torch

    from sesame import interop, models, pretext, recipes
    from sesame.config import Bert
    from sesame.data import pydocs
    from sesame.data.tokenizer import train
    from sesame.pretext.base import Objective

    vocabulary = train("wordpiece", lambda: (text for _, text in pydocs.documents()), 8192)
    torch.manual_seed(0)
    backbone = models.build(msgspec.structs.replace(recipes.find(recipe).backbone, vocab=vocabulary.size))
    interop.save_model(Objective(backbone, pretext.build(Bert(), backbone, vocabulary)), vocabulary, folder)


def scores(command: list[str], seeds: int) -> dict[str, Any]:
    """Test scores of both sides: mean, standard deviation over seeds, and each."""
    found: dict[str, Any] = {}
    for side in ("ours", "theirs"):
        each = []
        for seed in range(seeds):
            words = [sys.executable, *command, "--side", side, "--scored", "--seed", str(seed)]
            done = subprocess.run(words, capture_output=True, text=True)
            if done.returncode:
                raise SystemExit(f"{side}, seed {seed} failed:\n{done.stderr}")
            each.append(json.loads(done.stdout.strip().splitlines()[-1])["score"])
            print(f"{side}, seed {seed}: {each[-1]:.3f}", file=sys.stderr, flush=True)
        spread = statistics.stdev(each) if seeds > 1 else None
        found[side] = {"mean": statistics.mean(each), "sd": spread, "each": each}
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", nargs="+", choices=CASES, default=list(CASES))
    parser.add_argument("--classification", default=CASES["classification"], help="a task of that kind")
    parser.add_argument("--qa", default=CASES["qa"], help="a task of that kind")
    parser.add_argument("--model", default="", help="a model folder (sesame export); else a fresh one")
    parser.add_argument("--recipe", default="bert-tiny", help="the shape of the fresh one")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--rows", type=int, default=32)
    parser.add_argument("--length", type=int, default=128)
    parser.add_argument("--lr", type=float, default=3e-4)
    parser.add_argument("--epochs", type=float, default=3.0, help="of --scores; speed is that of one")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--scores", type=int, default=0, metavar="SEEDS")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--side", choices=("ours", "theirs"), help=argparse.SUPPRESS)
    parser.add_argument("--scored", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--seed", type=int, default=0, help=argparse.SUPPRESS)
    a = parser.parse_args()
    if a.side:
        settings = FineTune(
            epochs=a.epochs if a.scored else 1.0, min_steps=0, rows=a.rows, lr=a.lr, evaluations=1, length=a.length,
            seed=a.seed, threads=a.threads,
        )  # fmt: skip
        o = Options(Path(a.model), getattr(a, a.cases[0]), settings, a.scored)
        print(json.dumps(ours(o) if a.side == "ours" else theirs(o)))
        return
    with tempfile.TemporaryDirectory() as folder:
        if not a.model:
            a.model = str(Path(folder) / "model")
            fresh_model(Path(a.model), a.recipe)
        names = ("classification", "qa", "model", "rows", "length", "lr", "epochs", "threads")
        same = [word for name in names for word in (f"--{name}", str(getattr(a, name)))]
        commands = {case: [str(Path(__file__)), "--cases", case, *same] for case in a.cases}
        cases = [
            alternate(case, *([*command, "--side", side] for side in ("ours", "theirs")), a.rounds)
            for case, command in commands.items()
        ]
        found = {case: scores(command, a.scores) for case, command in commands.items()} if a.scores else {}
    if a.json:
        print(json.dumps({"cases": [case.row() for case in cases], "scores": found}, indent=2))
        return
    show(cases, "examples/s", as_json=False)
    for case, sides in found.items():
        said = "; ".join(f"{side} {s['mean']:.3f}, sd {s['sd'] or 0:.3f}" for side, s in sides.items())
        print(f"{case}, test score over {a.scores} seeds: {said}")


if __name__ == "__main__":
    main()
