"""GPT pretraining on this machine: useful tokens per second and peak memory against `transformers`.

    python bench/pretrain_gpt.py                          both cases, alternating, three rounds
    python bench/pretrain_gpt.py --cases mini-padded --json

The peer is `GPT2LMHeadModel` with the library's causal LM collator and fused AdamW, the default of `transformers`'
Trainer, in the two ways users run it: `padded` (each document a row, cut at 128, padded to the longest of its batch)
and `dense` (the concatenated text in full rows). Both have 4 layers of width 256 and GPT-2's vocabulary of 50,257.
"""

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pretraining import (
    LAYOUTS,
    LENGTH,
    OPTIMIZER,
    STEPS,
    Options,
    both_sides,
    one_side,
    ours,
    parser_of,
    peer_batches,
    prepare_stores,
    theirs,
)

from sesame.config import CausalLM, Recipe, TextData, Transformer

SHAPES = {"mini": (4, 256, 32, 10)}
"""Layers, width, rows of 128, measured steps."""
CASES = [f"{shape}-{layout}" for shape in SHAPES for layout in LAYOUTS]
VOCAB = 50_257


def recipe_of(o: Options) -> Recipe:
    layers, width, rows, _ = SHAPES[o.shape]
    return Recipe(
        name=f"bench-gpt-{o.shape}",
        data=TextData(store=str(o.store), length=LENGTH, rows=rows),
        backbone=Transformer(
            layers=layers,
            width=width,
            heads=width // 64,
            ffn=4 * width,
            vocab=VOCAB,
            positions=LENGTH,
            kinds=0,
            norm="pre",
            norm_eps=1e-5,
            embedding_norm=False,
            causal=True,
            activation="gelu_tanh",
            dropout=o.dropout,
        ),
        pretext=CausalLM(),
        optimizer=OPTIMIZER,
        steps=STEPS,
        threads=o.threads,
    )


def peer(o: Options) -> Any:
    from transformers import GPT2Config, GPT2LMHeadModel

    layers, width, _, _ = SHAPES[o.shape]
    return GPT2LMHeadModel(
        GPT2Config(
            vocab_size=VOCAB,
            n_positions=LENGTH,
            n_embd=width,
            n_layer=layers,
            n_head=width // 64,
            resid_pdrop=o.dropout,
            embd_pdrop=o.dropout,
            attn_pdrop=0.0,
        )
    )


def batches_of(o: Options) -> Iterator[Any]:
    return peer_batches(o, SHAPES[o.shape][2], mlm=False)


def main() -> None:
    a = parser_of(__doc__, CASES).parse_args()
    if a.side:
        sides = {
            "ours": lambda o: ours(recipe_of(o), o, "causal_lm"),
            "theirs": lambda o: theirs(o, peer, batches_of(o)),
        }
        one_side(a, {shape: s[3] for shape, s in SHAPES.items()}, sides[a.side])
        return
    with tempfile.TemporaryDirectory() as folder:
        prepare_stores(Path(folder), a.text, "bytebpe")
        both_sides(a, __file__, folder)


if __name__ == "__main__":
    main()
