"""Generation on this machine: tokens per second and peak memory against `transformers.generate`.

    python bench/generate.py                         batches of 1 and 8, alternating, three rounds
    python bench/generate.py --cases batch-1 --tokens 64 --rounds 1

GPT-2-small's shape with random weights on both sides, a prompt of 32 tokens, 256 new ones, taken greedily, in fp32;
`transformers` with its default cache. Where a batch is small, every token takes one reading of all weights, so beside
the speed stands its share of the limit that follows from that: bytes of the weights over the measured bandwidth of a
copy (bytes read and written).
"""

import argparse
import json
import os
import time
from typing import Any

from compare import alternate, peak_memory, show
from rich.console import Console

BATCHES = (1, 8)
CASES = [f"batch-{n}" for n in BATCHES]
PROMPT = 32
VOCAB, LAYERS, WIDTH, HEADS, POSITIONS = 50_257, 12, 768, 12, 1024


def prompts(batch: int) -> list[list[int]]:
    import numpy as np

    return np.random.default_rng(0).integers(0, VOCAB - 1, (batch, PROMPT)).tolist()


def ours(batch: int, tokens: int) -> tuple[float, int]:
    """Seconds, and bytes of the weights that a step reads. The decoder and the choice of `sesame.generate`, on ids."""
    import torch

    from sesame import config
    from sesame.config import Generate
    from sesame.engine import products
    from sesame.models.transformer import Transformer
    from sesame.pretext.base import Objective
    from sesame.pretext.causal_lm import CausalLM
    from sesame.tasks.decoders import CausalDecoder
    from sesame.tasks.generate import ready
    from sesame.tasks.sampling import write

    backbone = Transformer(
        config.Transformer(
            layers=LAYERS,
            width=WIDTH,
            heads=HEADS,
            ffn=4 * WIDTH,
            vocab=VOCAB,
            positions=POSITIONS,
            kinds=0,
            norm="pre",
            norm_eps=1e-5,
            embedding_norm=False,
            causal=True,
            activation="gelu_tanh",
        )
    )
    vocabulary = Numbers()
    objective = Objective(backbone, CausalLM(config.CausalLM(), backbone, vocabulary))  # type: ignore[arg-type]
    decoder = CausalDecoder(objective, vocabulary, POSITIONS)  # type: ignore[arg-type]
    read = prompts(batch)
    how = Generate(max_tokens=tokens, temperature=0.0)

    def once() -> float:
        began = time.perf_counter()
        with torch.inference_mode():
            written = write(decoder, read, [tokens] * batch, how)
        assert written.tokens.shape == (batch, tokens)
        return time.perf_counter() - began

    products.use(ready(objective, batch))  # as `sesame generate` does
    write(decoder, read, [2] * batch, how)  # the first time everything is slower
    weights = sum(p.numel() * p.element_size() for name, p in backbone.named_parameters() if "position" not in name)
    return once(), weights


class Numbers:
    """A vocabulary without text and without an end, so that every text has as many tokens as were asked for."""

    size, cls, sep, pad = VOCAB, 0, -1, 0


def theirs(batch: int, tokens: int) -> tuple[float, int]:
    import torch
    from transformers import GPT2Config, GPT2LMHeadModel

    model = GPT2LMHeadModel(
        GPT2Config(
            vocab_size=VOCAB, n_positions=POSITIONS, n_embd=WIDTH, n_layer=LAYERS, n_head=HEADS,
            bos_token_id=None, eos_token_id=None, pad_token_id=0,
        )
    ).eval()  # fmt: skip
    ids = torch.tensor(prompts(batch))

    def once(new: int) -> float:
        began = time.perf_counter()
        found: Any = model.generate(ids, attention_mask=torch.ones_like(ids), max_new_tokens=new, do_sample=False)
        assert found.shape == (batch, PROMPT + new)
        return time.perf_counter() - began

    once(2)
    return once(tokens), sum(p.numel() * p.element_size() for p in model.parameters())


def bandwidth() -> float:
    """Bytes a second that a copy reads and writes, the best of ten, with as many threads as the measurement."""
    import torch

    source = torch.ones(50_000_000)
    target, best = torch.empty_like(source), 0.0
    for _ in range(10):
        began = time.perf_counter()
        target.copy_(source)
        best = max(best, 2 * source.numel() * source.element_size() / (time.perf_counter() - began))
    return best


def measured(side: str, batch: int, tokens: int, threads: int) -> dict[str, float]:
    import torch

    torch.set_num_threads(threads)
    torch.manual_seed(0)
    seconds, weights = (ours if side == "ours" else theirs)(batch, tokens)
    memory = peak_memory()
    limit = bandwidth() / weights  # steps a second
    return {
        "speed": batch * tokens / seconds,
        "memory": memory,
        "limit_share": tokens / seconds / limit,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", nargs="+", choices=CASES, default=CASES)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--tokens", type=int, default=256)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--side", choices=("ours", "theirs"), help=argparse.SUPPRESS)
    a = parser.parse_args()
    if a.side:
        print(json.dumps(measured(a.side, int(a.cases[0].split("-")[1]), a.tokens, a.threads)))
        return
    same = ["--tokens", str(a.tokens), "--threads", str(a.threads)]
    cases = [
        alternate(case, *([__file__, "--cases", case, "--side", side, *same] for side in ("ours", "theirs")), a.rounds)
        for case in a.cases
    ]
    show(cases, "tokens/s", a.json)
    for case in cases:
        shares = [sorted(round(100 * r["limit_share"]) for r in side) for side in (case.ours, case.theirs)]
        said = f"{case.name}: share of the memory-bandwidth limit, %: ours {shares[0]}, theirs {shares[1]}"
        Console(stderr=a.json).print(said)


if __name__ == "__main__":
    main()
