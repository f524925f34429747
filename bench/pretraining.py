"""What the pretraining benches share: documents in two layouts, the engine's own loop, and the loop a user writes.

`padded`: each document a row, cut at 128 tokens, padded to the longest of its batch. `dense`: the concatenated text in
full rows. Both sides train on the same documents, with the same vocabulary, batch, dropout, clipping and threads. A
useful token is one that is not padding.
"""

import argparse
import ast
import contextlib
import json
import os
import sys
import sysconfig
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from compare import alternate, peak_memory, show

from sesame.config import Optimizer, Recipe

LENGTH = 128
LR, BETAS, EPS, DECAY, CLIP = 1e-3, (0.9, 0.98), 1e-6, 0.01, 1.0
WARMUP, STEPS = 100, 1_000_000
"""The rate rises over 100 steps and then stays, on both sides, so that it does not depend on who is faster."""
LAYOUTS = ("padded", "dense")


@dataclass(frozen=True)
class Options:
    store: Path
    shape: str
    layout: str
    steps: int
    warmup: int
    threads: int
    dropout: float


OPTIMIZER = Optimizer(
    lr=LR,
    beta1=BETAS[0],
    beta2=BETAS[1],
    eps=EPS,
    weight_decay=DECAY,
    clip=CLIP,
    warmup=WARMUP / STEPS,
    decay="constant",
)


# ---------------------------------------------------------------------------------------------- ours
def training_of(recipe: Recipe, o: Options) -> Any:
    from sesame.data import open_data
    from sesame.engine import build, loop, products
    from sesame.engine.distributed import Team
    from sesame.engine.run import Config, Run

    data = open_data(recipe.data)
    recipe = build.freeze(recipe, data)
    recipe = msgspec.structs.replace(recipe, products=products.chosen(recipe, Team()))  # as `sesame pretrain` does
    scratch = Path(tempfile.mkdtemp(dir=o.store.parent))
    return loop.set_up(recipe, Run(scratch, Config(recipe=recipe, machine={})), data)


def ours(recipe: Recipe, o: Options, term: str) -> dict[str, float]:
    """The engine itself: its loader, its step; without its logging, evaluation and saving, which the peer lacks too."""
    from sesame.engine import loop

    training = training_of(recipe, o)
    loop.begin(training, None)
    began, useful = 0.0, 0
    for number, batch in enumerate(loop.batches(training, o.warmup + o.steps)):
        if number == o.warmup:
            began = time.perf_counter()
        loop.take_step(training, batch, {term: float(sum(p.count[term] for p in batch.parts))})
        useful += batch.size * (number >= o.warmup)
    return {"speed": useful / (time.perf_counter() - began), "memory": peak_memory()}


# -------------------------------------------------------------------------------------------- theirs
def theirs(o: Options, make: Callable[[Options], Any], batches: Iterator[Any]) -> dict[str, float]:
    """The loop a user writes around a model of `transformers`, with fused AdamW as in the library's Trainer."""
    import torch

    torch.set_num_threads(o.threads)
    torch.manual_seed(0)
    model, optimizer = with_adamw(make(o))
    began, useful = 0.0, 0
    for number, batch in enumerate(batches):
        if number == o.warmup:
            began = time.perf_counter()
        if number == o.warmup + o.steps:
            break
        peer_step(model, optimizer, batch)
        useful += int(batch["attention_mask"].sum()) * (number >= o.warmup)
    return {"speed": useful / (time.perf_counter() - began), "memory": peak_memory()}


def with_adamw(model: Any) -> tuple[Any, Any]:
    import torch

    plain = [p for p in model.parameters() if p.ndim < 2]
    weights = [p for p in model.parameters() if p.ndim >= 2]
    groups = [{"params": weights, "weight_decay": DECAY}, {"params": plain, "weight_decay": 0.0}]
    return model.train(), torch.optim.AdamW(groups, lr=LR, betas=BETAS, eps=EPS, fused=True)


def peer_step(model: Any, optimizer: Any, batch: Any) -> None:
    import torch

    model(**batch).loss.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), CLIP)
    optimizer.step()
    optimizer.zero_grad()


def peer_batches(o: Options, rows: int, **collator: Any) -> Iterator[Any]:
    """Epoch after epoch: documents one a row, or their concatenation in rows of 128, through the library's collator."""
    import torch
    from transformers import DataCollatorForLanguageModeling, PreTrainedTokenizerFast

    from sesame.data.store import TokenStore

    store = TokenStore.open(o.store)
    tokenizer = PreTrainedTokenizerFast.from_pretrained(o.store / "tokenizer")
    cls, sep = store.vocabulary.cls, store.vocabulary.sep
    documents = [np.r_[cls, d, sep].astype(np.int64) for d in trained(store)]
    if o.layout == "dense":
        text = np.concatenate(documents)
        documents = list(text[: len(text) // LENGTH * LENGTH].reshape(-1, LENGTH))
    examples = [{"input_ids": d[:LENGTH].tolist()} for d in documents]
    loader = torch.utils.data.DataLoader(
        examples,  # type: ignore[arg-type]  # a list is a map-style data set
        batch_size=rows,
        shuffle=True,
        drop_last=True,
        collate_fn=DataCollatorForLanguageModeling(tokenizer, **collator),
    )
    while True:
        yield from loader


def trained(store: Any) -> Iterator[np.ndarray]:
    """The token ids of every document that is not held out."""
    for number in np.flatnonzero(~np.asarray(store.held_out)):
        yield np.asarray(store.ids[int(store.offsets[number]) : int(store.offsets[number + 1])])


# ---------------------------------------------------------------------------------------------- data
def docstrings(path: Path) -> None:
    """Ragged documents that every machine has: the docstrings of the standard library, one a document."""
    with path.open("w", encoding="utf-8") as out:
        for file in sorted(Path(sysconfig.get_path("stdlib")).rglob("*.py")):
            if {"test", "tests", "idle_test", "site-packages"}.isdisjoint(file.parts):
                with contextlib.suppress(SyntaxError, ValueError):
                    for node in ast.walk(ast.parse(file.read_bytes())):
                        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and ast.get_docstring(node):
                            lines = (ast.get_docstring(node) or "").splitlines()
                            out.write("\n".join(line for line in lines if line.strip()) + "\n\n")


def prepare_stores(folder: Path, source: str, tokenizer: str = "wordpiece") -> None:
    """`dense`: the documents whole; `padded`: each cut to the 126 tokens that fit a row beside [CLS] and [SEP]."""
    from sesame import prepare
    from sesame.data.store import StoreWriter, TokenStore

    if not source:
        docstrings(folder / "docstrings.txt")
    prepare([source or str(folder / "docstrings.txt")], folder / "dense", tokenizer=tokenizer, vocab=8192)
    store = TokenStore.open(folder / "dense")
    with StoreWriter(folder / "padded", store.vocabulary) as writer:
        for number in range(len(store)):
            begin, end = int(store.offsets[number]), int(store.offsets[number + 1])
            end = min(end, begin + LENGTH - 2)
            writer.append(
                store.ids[begin:end],
                store.flags[begin:end],
                np.array([end - begin]),
                store.keys[number : number + 1],
                store.source[number : number + 1],
            )
        info = {name: getattr(store.info, name) for name in ("made_from", "lengths", "sources", "skipped")}
        writer.finish(0.01, characters=0, bytes=0, sentences=0, unknown=0, **info)
    sizes = np.minimum(store.lengths, LENGTH - 2)
    print(
        f"{len(store):,} documents, {store.lengths.mean():.0f} tokens on average; cut at {LENGTH - 2} tokens they have "
        f"{sizes.mean():.0f} (quartiles {', '.join(f'{q:.0f}' for q in np.quantile(sizes, (0.25, 0.5, 0.75)))})",
        file=sys.stderr,
    )


# ------------------------------------------------------------------------------------------- command
def parser_of(doc: str | None, cases: list[str]) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", nargs="+", choices=cases, default=cases)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=0, help="measured steps; 0 for each shape's own")
    parser.add_argument("--warmup", type=int, default=2)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--dropout", type=float, default=0.1)
    parser.add_argument("--text", default="", help="any source of `sesame data prepare`; else Python's docstrings")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--side", choices=("ours", "theirs"), help=argparse.SUPPRESS)
    parser.add_argument("--stores", type=Path, help=argparse.SUPPRESS)
    return parser


def one_side(a: argparse.Namespace, steps: dict[str, int], side: Callable[[Options], dict[str, float]]) -> None:
    """What a process of `both_sides` does."""
    shape, layout = a.cases[0].split("-")
    o = Options(a.stores / layout, shape, layout, a.steps or steps[shape], a.warmup, a.threads, a.dropout)
    print(json.dumps(side(o)))


def both_sides(a: argparse.Namespace, file: str, folder: str) -> None:
    """Every case, in turn, each measurement a process of its own."""
    same = ["--steps", str(a.steps), "--warmup", str(a.warmup), "--threads", str(a.threads)]
    same += ["--dropout", str(a.dropout), "--stores", folder]
    cases = [
        alternate(case, *([file, "--cases", case, "--side", side, *same] for side in ("ours", "theirs")), a.rounds)
        for case in a.cases
    ]
    show(cases, "useful tokens/s", a.json)
