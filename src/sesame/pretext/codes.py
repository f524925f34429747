"""Codes of hidden frames as a loss, and how many of the codes there are in use."""

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from sesame.pretext.base import Loss, Term

USAGE, PERPLEXITY = "code_usage", "code_perplexity"


def code_counts(name: str, count: int) -> dict[str, int]:
    """Over how many frames each term of `code_terms` is a sum."""
    return dict.fromkeys((name, USAGE, PERPLEXITY), count)


def code_terms(name: str, scores: Float[Tensor, "frame code"], codes: Int[Tensor, " frame"]) -> Loss:
    """Cross-entropy in nats; and, only to be told, of each micro-batch the share of the codes that its hidden frames
    have, and exp(entropy) of these: how many equally frequent codes would be as hard to guess."""
    count, hits = len(codes), (scores.argmax(-1) == codes).sum()
    share = torch.bincount(codes, minlength=scores.shape[-1]).to(scores.dtype) / max(count, 1)
    told = {USAGE: (share > 0).to(share.dtype).mean(), PERPLEXITY: torch.special.entr(share).sum().exp()}
    return {
        name: Term(F.cross_entropy(scores.float(), codes, reduction="sum"), count, hits=hits),
        **{key: Term(value * count, count, weight=0.0) for key, value in told.items()},
    }
