"""Small BERTs with every parameter random, so that no two tensors can be mistaken for each other."""

from typing import TypeVar

import torch

from sesame import config, models, pretext
from sesame.data.tokenizer import Vocabulary
from sesame.pretext.base import Objective

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *"abcdefghijklmnopqrstuvwxyz", *(f"##{c}" for c in "abcdef")]
VOCAB = len(WORDS) + 3
"""Rows of the embedding; a published model often has a few more than its tokenizer has tokens."""

Module = TypeVar("Module", bound=torch.nn.Module)


def bert(vocabulary: Vocabulary, seed: int = 0, task: config.Bert | None = None, **shape: object) -> Objective:
    """An objective whose every parameter is random."""
    shape = {"layers": 2, "width": 16, "heads": 2, "ffn": 24, "vocab": VOCAB, "positions": 24, **shape}
    backbone = models.build(config.Transformer(**shape))
    return shaken(Objective(backbone, pretext.build(task or config.Bert(), backbone, vocabulary)), seed).eval()


def shaken(module: Module, seed: int) -> Module:
    """`module` with every parameter drawn anew: norms and biases start at 1 and 0 otherwise, which hides mistakes."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.3)
    return module
