"""Small runs of every kind, and probes of one's own, for the tests of the bus and of `sesame watch`."""

from pathlib import Path
from typing import Any

import msgspec
from chirps import write_chirps
from small_store import random_documents, store_of

from sesame import config
from sesame.engine import start
from sesame.engine.run import Run
from sesame.probes import bus, named

LOUD = '''"""Numbers of the weights, from a probe that does everything it should not."""

import numpy, torch
from sesame.probes import Item, Value

def measure(model, ask):
    weights = dict(model.objective.named_parameters())
    total = sum(float(p.double().square().sum()) for p in weights.values())
    yield Value("square", total, n=len(weights))
    for name, p in list(weights.items())[:3]:
        yield Item("positive", ask.once(("loud", name), lambda: len(name)), "all", bool(p.sum() > 0), word=name)
    yield Value("training", float(model.objective.training))
    torch.manual_seed(numpy.random.randint(1000))
    torch.rand(3), numpy.random.seed(3)
    torch.set_num_threads(torch.get_num_threads() + 1)
    model.objective.train()
    for p in weights.values():
        p.data.mul_(0.5)
        p.requires_grad_(False)
'''
QUIET = '''"""The step, and how often it was asked."""

from sesame.probes import Value

def measure(model, ask):
    asked = ask.once("quiet", list)
    asked.append(model.step)
    yield Value("step", float(ask.step), n=len(asked))
    yield Value("full", float(ask.full))
'''


def probe(folder: Path, name: str, content: str) -> str:
    """A file of one's own; its path."""
    (folder / name).write_text(content)
    return str(folder / name)


def recipe(kind: str, folder: Path, **changes: Any) -> config.Recipe:
    """A run of a dozen steps or fewer: "bert" with dropout and an average of the weights, "gpt", "byol" or "apc"."""
    stack = config.Transformer(layers=1, width=16, heads=2, ffn=32, positions=32, dropout=0.1)
    data: config.Data = config.ImageData(rows=32)
    backbone: config.Backbone = config.ConvNet(channels=(4, 8))
    task: config.Pretext = config.Byol(views=config.VIEWS["digits"], hidden=16, out=8)
    if kind in ("bert", "gpt"):
        if not (folder / "store").exists():
            store_of(folder / "store", random_documents(60), held_out=0.1)
        data = config.TextData(store=str(folder / "store"), length=32, rows=4)
        backbone, task = stack, config.Bert()
    if kind == "gpt":
        backbone, task = msgspec.structs.replace(stack, causal=True, norm="pre"), config.CausalLM()
    if kind == "apc":
        data = config.SpeechData(source=str(write_chirps(folder / "sound", 12)), mels=8, length=32, rows=4)
        backbone = msgspec.structs.replace(stack, input="frames", causal=True, kinds=0)
        task = config.Apc(ahead=2)
    made = config.Recipe(
        name=kind, data=data, backbone=backbone, pretext=task, optimizer=config.Optimizer(lr=0.01), steps=10,
        threads=1, device="cpu", precision="fp32", eval_every=5, eval_rows=4, save_every=4, log_every=3, keep=9,
        ema=0.9 * (kind == "bert"),
    )  # fmt: skip
    return msgspec.structs.replace(made, **changes)


def watching(*probes: str, **fields: Any) -> config.Watch:
    return config.Watch(probes=tuple(named(each) for each in probes), **fields)


class Killed(Exception):
    pass


def train(made: config.Recipe, out: Path, killed_at: int | None = None) -> Run:
    """The run, or what goes on of it; its process dies before the probes of step `killed_at`."""

    def kill(training: Any) -> None:
        if training.step == killed_at:
            raise Killed

    extra = [kill, *bus.hooks(made)]
    if out.exists():
        return start.resume(out, extra=extra).run
    return start.start(made, out, extra=extra).run
