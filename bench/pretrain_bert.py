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

import json
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pretraining import (
    LAYOUTS,
    LENGTH,
    LR,
    OPTIMIZER,
    STEPS,
    WARMUP,
    Options,
    both_sides,
    one_side,
    ours,
    parser_of,
    peer_batches,
    peer_step,
    prepare_stores,
    theirs,
    training_of,
    with_adamw,
)

from sesame.config import Bert, Recipe, TextData, Transformer

SHAPES = {"mini": (4, 256, 32, 10), "base": (12, 768, 8, 5)}
"""Layers, width, rows of 128, measured steps."""
CASES = [f"{shape}-{layout}" for shape in SHAPES for layout in LAYOUTS]
VOCAB, RATE = 30_522, 0.15


def recipe_of(o: Options) -> Recipe:
    layers, width, rows, _ = SHAPES[o.shape]
    return Recipe(
        name=f"bench-{o.shape}",
        data=TextData(store=str(o.store), length=LENGTH, rows=rows),
        backbone=Transformer(
            layers=layers, width=width, heads=width // 64, ffn=4 * width, vocab=VOCAB, dropout=o.dropout
        ),
        pretext=Bert(rate=RATE),
        optimizer=OPTIMIZER,
        steps=STEPS,
        threads=o.threads,
    )


def peer(o: Options) -> Any:
    from transformers import BertConfig, BertForMaskedLM

    layers, width, _, _ = SHAPES[o.shape]
    return BertForMaskedLM(
        BertConfig(
            vocab_size=VOCAB,
            hidden_size=width,
            num_hidden_layers=layers,
            num_attention_heads=width // 64,
            intermediate_size=4 * width,
            hidden_dropout_prob=o.dropout,
            attention_probs_dropout_prob=0.0,
        )
    )


def batches_of(o: Options) -> Iterator[Any]:
    return peer_batches(o, SHAPES[o.shape][2], mlm_probability=RATE)


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
    training = training_of(recipe_of(o), o)
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

    model, optimizer = with_adamw(peer(o))
    seconds, theirs_curve, ours_curve = 0.0, [], []
    for step, batch in enumerate(batches_of(o)):
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


# ------------------------------------------------------------------------------------------- command
def main() -> None:
    parser = parser_of(__doc__, CASES)
    parser.add_argument("--to-loss", action="store_true")
    parser.add_argument("--minutes", type=float, default=10.0, help="with --to-loss: how long the peer trains")
    a = parser.parse_args()
    if a.side:
        sides = {
            "ours": lambda o: ours(recipe_of(o), o, "masked_lm"),
            "theirs": lambda o: theirs(o, peer, batches_of(o)),
        }
        one_side(a, {shape: s[3] for shape, s in SHAPES.items()}, sides[a.side])
        return
    with tempfile.TemporaryDirectory() as folder:
        prepare_stores(Path(folder), a.text)
        if a.to_loss:
            o = Options(Path(folder) / "dense", "mini", "dense", 0, 0, a.threads, a.dropout)
            print(json.dumps(to_loss(o, a.minutes), indent=2))
            return
        both_sides(a, __file__, folder)


if __name__ == "__main__":
    main()
