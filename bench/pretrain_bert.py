"""BERT pretraining on this machine: useful tokens per second and peak memory against `transformers`.

    python bench/pretrain_bert.py                          the four cases, alternating, three rounds
    python bench/pretrain_bert.py --cases mini-padded --json
    python bench/pretrain_bert.py --to-loss                time to the held-out loss that the peer has after 10 minutes

The peer is `BertForMaskedLM` with its MLM collator and fused AdamW, the default of `transformers`' Trainer, in the two
ways users run it: `padded` (each document a row, cut at 128, padded to the longest of its batch) and `dense`
(`run_mlm`'s concatenated text in full rows). Both sides train on the same documents, with the same vocabulary, batch,
masking rate, dropout, clipping and threads. A useful token is one that is not padding. Every measurement is a process
of its own.
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
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from compare import alternate, peak_memory, show

from sesame.config import Bert, Optimizer, Recipe, TextData, Transformer

SHAPES = {"mini": (4, 256, 32, 10), "base": (12, 768, 8, 5)}
"""Layers, width, rows of 128, measured steps."""
CASES = [f"{shape}-{layout}" for shape in SHAPES for layout in ("padded", "dense")]
VOCAB, LENGTH, RATE = 30_522, 128, 0.15
LR, BETAS, EPS, DECAY, CLIP = 1e-3, (0.9, 0.98), 1e-6, 0.01, 1.0
WARMUP, STEPS = 100, 1_000_000
"""The rate rises over 100 steps and then stays, on both sides, so that it does not depend on who is faster."""


@dataclass(frozen=True)
class Options:
    store: Path
    shape: str
    layout: str
    steps: int
    warmup: int
    threads: int
    dropout: float


def recipe_of(o: Options) -> Recipe:
    layers, width, rows, _ = SHAPES[o.shape]
    return Recipe(
        name=f"bench-{o.shape}",
        data=TextData(store=str(o.store), length=LENGTH, rows=rows),
        backbone=Transformer(
            layers=layers, width=width, heads=width // 64, ffn=4 * width, vocab=VOCAB, dropout=o.dropout
        ),
        pretext=Bert(rate=RATE),
        optimizer=Optimizer(
            lr=LR,
            beta1=BETAS[0],
            beta2=BETAS[1],
            eps=EPS,
            weight_decay=DECAY,
            clip=CLIP,
            warmup=WARMUP / STEPS,
            decay="constant",
        ),
        steps=STEPS,
        threads=o.threads,
    )


# ---------------------------------------------------------------------------------------------- ours
def training_of(o: Options) -> Any:
    from sesame.data import open_data
    from sesame.engine import build, loop, products
    from sesame.engine.distributed import Team
    from sesame.engine.run import Config, Run

    data = open_data(recipe_of(o).data)
    recipe = build.freeze(recipe_of(o), data)
    recipe = msgspec.structs.replace(recipe, products=products.chosen(recipe, Team()))  # as `sesame pretrain` does
    scratch = Path(tempfile.mkdtemp(dir=o.store.parent))
    return loop.set_up(recipe, Run(scratch, Config(recipe=recipe, machine={})), data)


def ours(o: Options) -> dict[str, float]:
    """The engine itself: its loader, its step; without its logging, evaluation and saving, which the peer lacks too."""
    from sesame.engine import loop

    training = training_of(o)
    loop.begin(training, None)
    began, useful = 0.0, 0
    for number, batch in enumerate(loop.batches(training, o.warmup + o.steps)):
        if number == o.warmup:
            began = time.perf_counter()
        loop.take_step(training, batch, {"masked_lm": float(sum(p.count["masked_lm"] for p in batch.parts))})
        useful += batch.size * (number >= o.warmup)
    return {"speed": useful / (time.perf_counter() - began), "memory": peak_memory()}


# -------------------------------------------------------------------------------------------- theirs
def theirs(o: Options) -> dict[str, float]:
    """The loop a user writes around `BertForMaskedLM`."""
    import torch

    torch.set_num_threads(o.threads)
    torch.manual_seed(0)
    model, optimizer = peer(o)
    began, useful = 0.0, 0
    for number, batch in enumerate(peer_batches(o)):
        if number == o.warmup:
            began = time.perf_counter()
        if number == o.warmup + o.steps:
            break
        peer_step(model, optimizer, batch)
        useful += int(batch["attention_mask"].sum()) * (number >= o.warmup)
    return {"speed": useful / (time.perf_counter() - began), "memory": peak_memory()}


def peer(o: Options) -> tuple[Any, Any]:
    import torch
    from transformers import BertConfig, BertForMaskedLM

    layers, width, _, _ = SHAPES[o.shape]
    model = BertForMaskedLM(
        BertConfig(
            vocab_size=VOCAB,
            hidden_size=width,
            num_hidden_layers=layers,
            num_attention_heads=width // 64,
            intermediate_size=4 * width,
            hidden_dropout_prob=o.dropout,
            attention_probs_dropout_prob=0.0,
        )
    ).train()
    plain = [p for p in model.parameters() if p.ndim < 2]
    weights = [p for p in model.parameters() if p.ndim >= 2]
    groups = [{"params": weights, "weight_decay": DECAY}, {"params": plain, "weight_decay": 0.0}]
    return model, torch.optim.AdamW(groups, lr=LR, betas=BETAS, eps=EPS, fused=True)


def peer_step(model: Any, optimizer: Any, batch: Any) -> None:
    import torch

    model(**batch).loss.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), CLIP)
    optimizer.step()
    optimizer.zero_grad()


def peer_batches(o: Options) -> Iterator[Any]:
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
        batch_size=SHAPES[o.shape][2],
        shuffle=True,
        drop_last=True,
        collate_fn=DataCollatorForLanguageModeling(tokenizer, mlm_probability=RATE),
    )
    while True:
        yield from loader


def trained(store: Any) -> Iterator[np.ndarray]:
    """The token ids of every document that is not held out."""
    for number in np.flatnonzero(~np.asarray(store.held_out)):
        yield np.asarray(store.ids[int(store.offsets[number]) : int(store.offsets[number + 1])])


# ------------------------------------------------------------------------------------ time to a loss
def to_loss(o: Options, minutes: float) -> dict[str, Any]:
    """Train the peer for `minutes`, then Sesame until it is as good on the same held-out masks.

    Neither clock runs while held-out text is read, and the same code scores both, the peer's weights through the map
    of names.
    """
    import torch

    from sesame import interop
    from sesame.engine import loop

    torch.set_num_threads(o.threads)
    training = training_of(o)
    held_out = [training.objective.pretext.split(batch) for batch in training.stream.held_out(256)]

    def loss_of(objective: Any) -> float:
        with torch.no_grad():
            objective.eval()
            terms = [objective(split)["masked_lm"] for split in held_out]
            objective.train()
        return float(sum(t.sum for t in terms)) / sum(t.count for t in terms)

    def note(who: str, curve: list[tuple[int, int, float]], seconds: float, step: int, loss: float) -> None:
        curve.append((round(seconds), step, round(loss, 3)))
        print(f"{who}: {seconds:.0f} s, step {step}, held-out loss {loss:.3f}", file=sys.stderr, flush=True)

    model, optimizer = peer(o)
    seconds, theirs_curve, ours_curve = 0.0, [], []
    for step, batch in enumerate(peer_batches(o)):
        began = time.perf_counter()
        for group in optimizer.param_groups:
            group["lr"] = LR * min(1.0, (step + 1) / WARMUP)
        peer_step(model, optimizer, batch)
        seconds += time.perf_counter() - began
        if seconds > 60 * minutes * (len(theirs_curve) + 1) / 10:
            with tempfile.TemporaryDirectory() as folder:
                model.save_pretrained(folder)
                training.data.vocabulary.save(folder)
                note("theirs", theirs_curve, seconds, step + 1, loss_of(interop.open_model(folder).objective()))
        if seconds > 60 * minutes:
            break
    target = theirs_curve[-1][2]
    loop.begin(training, None)
    passed, began = 0.0, time.perf_counter()
    for batch in loop.batches(training, STEPS):
        loop.take_step(training, batch, {"masked_lm": float(sum(p.count["masked_lm"] for p in batch.parts))})
        if training.step % 25 == 0:
            passed += time.perf_counter() - began
            note("ours", ours_curve, passed, training.step, loss_of(training.objective))
            if ours_curve[-1][2] <= target or passed > 60 * minutes:
                break
            began = time.perf_counter()
    return {
        "held_out_loss": target,
        "theirs_seconds": round(seconds),
        "ours_seconds": round(passed),
        "ratio": round(seconds / passed, 2) if ours_curve[-1][2] <= target else None,
        "theirs": theirs_curve,
        "ours": ours_curve,
    }


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


def prepare_stores(folder: Path, source: str) -> None:
    """`dense`: the documents whole; `padded`: each cut to the 126 tokens that fit a row beside [CLS] and [SEP]."""
    from sesame import prepare
    from sesame.data.store import StoreWriter, TokenStore

    if not source:
        docstrings(folder / "docstrings.txt")
    prepare([source or str(folder / "docstrings.txt")], folder / "dense", vocab=8192)
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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", nargs="+", choices=CASES, default=CASES)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=0, help="measured steps; 0 for each shape's own")
    parser.add_argument("--warmup", type=int, default=2)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--dropout", type=float, default=0.1)
    parser.add_argument("--text", default="", help="any source of `sesame data prepare`; else Python's docstrings")
    parser.add_argument("--to-loss", action="store_true")
    parser.add_argument("--minutes", type=float, default=10.0, help="with --to-loss: how long the peer trains")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--side", choices=("ours", "theirs"), help=argparse.SUPPRESS)
    parser.add_argument("--stores", type=Path, help=argparse.SUPPRESS)
    a = parser.parse_args()
    if a.side:
        shape, layout = a.cases[0].split("-")
        o = Options(a.stores / layout, shape, layout, a.steps or SHAPES[shape][3], a.warmup, a.threads, a.dropout)
        print(json.dumps(ours(o) if a.side == "ours" else theirs(o)))
        return
    with tempfile.TemporaryDirectory() as folder:
        prepare_stores(Path(folder), a.text)
        if a.to_loss:
            o = Options(Path(folder) / "dense", "mini", "dense", 0, 0, a.threads, a.dropout)
            print(json.dumps(to_loss(o, a.minutes), indent=2))
            return
        same = ["--steps", str(a.steps), "--warmup", str(a.warmup), "--threads", str(a.threads)]
        same += ["--dropout", str(a.dropout), "--stores", folder]
        cases = [
            alternate(
                case, *([__file__, "--cases", case, "--side", side, *same] for side in ("ours", "theirs")), a.rounds
            )
            for case in a.cases
        ]
        show(cases, "useful tokens/s", a.json)


if __name__ == "__main__":
    main()
