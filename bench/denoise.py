"""Denoising pretraining on this machine: useful tokens per second and peak memory against `transformers`.

    python bench/denoise.py                  text infilling at 4 + 4 layers of 256, alternating, three rounds
    python bench/denoise.py --rounds 5 --json

The peer is `BartForConditionalGeneration` with fused AdamW and text infilling in a collator of plain Python, as a user
writes it: each document a row, cut at 128, padded to the longest of its batch, spans of Poisson(3) tokens behind one
[MASK] each until 30% are hidden. Both sides train on the same documents, with the same vocabulary, batch, masking rate,
dropout, clipping and threads, and write the whole text. A useful token is one of an original text. Every measurement is
a process of its own.
"""

import argparse
import json
import math
import os
import random
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
from compare import alternate, peak_memory, show
from pretraining import prepare_stores, trained

from sesame.config import Denoising, EncoderDecoder, Optimizer, Recipe, TextData, TextInfilling, Transformer

LAYERS, WIDTH, ROWS = 4, 256, 32
VOCAB, LENGTH, RATE, SPAN = 30_522, 128, 0.3, 3.0
LR, BETAS, EPS, DECAY, CLIP = 1e-3, (0.9, 0.98), 1e-6, 0.01, 1.0
STEPS = 1_000_000


@dataclass(frozen=True)
class Options:
    store: Path
    steps: int
    warmup: int
    threads: int
    dropout: float


def recipe_of(o: Options) -> Recipe:
    encoder, decoder = (
        Transformer(
            layers=LAYERS,
            width=WIDTH,
            heads=WIDTH // 64,
            ffn=4 * WIDTH,
            vocab=VOCAB,
            positions=LENGTH,
            kinds=0,
            norm_eps=1e-5,
            dropout=o.dropout,
            causal=causal,
        )
        for causal in (False, True)
    )
    return Recipe(
        name="bench-denoise",
        data=TextData(store=str(o.store), length=LENGTH, rows=ROWS),
        backbone=EncoderDecoder(encoder=encoder, decoder=decoder),
        pretext=Denoising(corruptions=(TextInfilling(rate=RATE, span=SPAN),)),
        optimizer=Optimizer(
            lr=LR, beta1=BETAS[0], beta2=BETAS[1], eps=EPS, weight_decay=DECAY, clip=CLIP, warmup=0.0, decay="constant"
        ),
        steps=STEPS,
        threads=o.threads,
    )


# ---------------------------------------------------------------------------------------------- ours
def ours(o: Options) -> dict[str, float]:
    """The engine itself: its loader, its step; without its logging, evaluation and saving, which the peer lacks too."""
    from sesame.data import open_data
    from sesame.engine import build, loop, products
    from sesame.engine.distributed import Team
    from sesame.engine.run import Config, Run

    data = open_data(recipe_of(o).data)
    recipe = build.freeze(recipe_of(o), data)
    recipe = msgspec.structs.replace(recipe, products=products.chosen(recipe, Team()))  # as `sesame pretrain` does
    training = loop.set_up(
        recipe, Run(Path(tempfile.mkdtemp(dir=o.store.parent)), Config(recipe=recipe, machine={})), data
    )
    loop.begin(training, None)
    began, useful = 0.0, 0
    for number, batch in enumerate(loop.batches(training, o.warmup + o.steps)):
        if number == o.warmup:
            began = time.perf_counter()
        loop.take_step(training, batch, {"denoising": float(sum(p.count["denoising"] for p in batch.parts))})
        useful += batch.size * (number >= o.warmup)
    return {"speed": useful / (time.perf_counter() - began), "memory": peak_memory()}


# -------------------------------------------------------------------------------------------- theirs
def theirs(o: Options) -> dict[str, float]:
    """The loop a user writes around `BartForConditionalGeneration`."""
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
        model(**batch).loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), CLIP)
        optimizer.step()
        optimizer.zero_grad()
        useful += int((batch["labels"] >= 0).sum()) * (number >= o.warmup)
    return {"speed": useful / (time.perf_counter() - began), "memory": peak_memory()}


def peer(o: Options) -> tuple[Any, Any]:
    import torch
    from transformers import BartConfig, BartForConditionalGeneration

    from sesame.data.store import TokenStore

    v = TokenStore.open(o.store).vocabulary
    model = BartForConditionalGeneration(
        BartConfig(
            vocab_size=VOCAB,
            d_model=WIDTH,
            encoder_layers=LAYERS,
            decoder_layers=LAYERS,
            encoder_attention_heads=WIDTH // 64,
            decoder_attention_heads=WIDTH // 64,
            encoder_ffn_dim=4 * WIDTH,
            decoder_ffn_dim=4 * WIDTH,
            max_position_embeddings=LENGTH,
            dropout=o.dropout,
            attention_dropout=0.0,
            activation_dropout=0.0,
            pad_token_id=v.pad,
            bos_token_id=v.cls,
            eos_token_id=v.sep,
            decoder_start_token_id=v.sep,
        )
    ).train()
    plain = [p for p in model.parameters() if p.ndim < 2]
    weights = [p for p in model.parameters() if p.ndim >= 2]
    groups = [{"params": weights, "weight_decay": DECAY}, {"params": plain, "weight_decay": 0.0}]
    return model, torch.optim.AdamW(groups, lr=LR, betas=BETAS, eps=EPS, fused=True)


def peer_batches(o: Options) -> Iterator[Any]:
    """Epoch after epoch: documents one a row, infilled and padded."""
    import torch

    from sesame.data.store import TokenStore

    store = TokenStore.open(o.store)
    v, drawn = store.vocabulary, random.Random(0)
    cls, sep, pad, mask = v.cls, v.sep, v.pad, v.mask
    documents = [document[: LENGTH - 2].tolist() for document in trained(store)]

    def padded(texts: list[list[int]], empty: int) -> Any:
        longest = max(map(len, texts))
        return torch.tensor([text + [empty] * (longest - len(text)) for text in texts])

    def collate(texts: list[list[int]]) -> dict[str, Any]:
        inputs = padded([[cls, *infilled(text, mask, drawn), sep] for text in texts], pad)
        return {
            "input_ids": inputs,
            "attention_mask": (inputs != pad).long(),
            "labels": padded([[cls, *text, sep] for text in texts], -100),
        }

    loader = torch.utils.data.DataLoader(
        documents,  # type: ignore[arg-type]  # a list is a map-style data set
        batch_size=ROWS,
        shuffle=True,
        drop_last=True,
        collate_fn=collate,
    )
    while True:
        yield from loader


def infilled(text: list[int], mask: int, drawn: random.Random) -> list[int]:
    """Spans of Poisson(3) tokens, none included, become one [MASK] each until 30% of the tokens are hidden."""
    left = max(1, round(RATE * len(text)))
    lengths: list[int] = []
    while left:
        lengths.append(min(poisson(drawn), left))
        left -= lengths[-1]
    kept = len(text) - sum(lengths)
    places = [-1] * kept + lengths
    drawn.shuffle(places)
    made: list[int] = []
    at = 0
    for length in places:
        if length < 0:
            made.append(text[at])
            at += 1
        else:
            made.append(mask)
            at += length
    return made[: LENGTH - 2]


def poisson(drawn: random.Random) -> int:
    """Knuth's way: uniform numbers are multiplied until they fall below e^-mean."""
    count, product = 0, drawn.random()
    while product > math.exp(-SPAN):
        count, product = count + 1, product * drawn.random()
    return count


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=10, help="measured steps")
    parser.add_argument("--warmup", type=int, default=2)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--dropout", type=float, default=0.1)
    parser.add_argument("--text", default="", help="any source of `sesame data prepare`; else Python's docstrings")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--side", choices=("ours", "theirs"), help=argparse.SUPPRESS)
    parser.add_argument("--stores", type=Path, help=argparse.SUPPRESS)
    a = parser.parse_args()
    if a.side:
        o = Options(a.stores / "padded", a.steps, a.warmup, a.threads, a.dropout)
        print(json.dumps(ours(o) if a.side == "ours" else theirs(o)))
        return
    with tempfile.TemporaryDirectory() as folder:
        prepare_stores(Path(folder), a.text)
        same = ["--steps", str(a.steps), "--warmup", str(a.warmup), "--threads", str(a.threads)]
        same += ["--dropout", str(a.dropout), "--stores", folder]
        sides = ([__file__, "--side", side, *same] for side in ("ours", "theirs"))
        show([alternate("infilling", *sides, a.rounds)], "useful tokens/s", a.json)


if __name__ == "__main__":
    main()
