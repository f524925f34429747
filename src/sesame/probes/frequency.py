"""Held-out loss of a text model by how often the token to be predicted occurs in the training text.

The examples and their masks are those of pretraining's own evaluation: 64 rows in the live form, 512 in the full one.
Groups are powers of ten of the token's occurrences in the documents that are trained on; the one without a name is of
all tokens. Losses are in nats. `loss_unigram` is the loss of the frequencies themselves, without any context. The token
that ends an example, which a causal LM predicts too, is no text and left out.
"""

from collections.abc import Iterator

import numpy as np

from sesame.engine.build import Model
from sesame.probes.base import Answer, Ask, Value
from sesame.probes.prediction import held_out_answers, log_probability
from sesame.probes.training_text import token_counts

READS = ("text",)

FEWEST = 5
"""Predictions below which a group is left out."""


def measure(model: Model, ask: Ask) -> Iterator[Answer]:
    losses, targets = [], []
    for target, logits in held_out_answers(model, ask):
        losses.append(-log_probability(logits, target).double().numpy(force=True))
        targets.append(target.numpy(force=True))
    loss, token = np.concatenate(losses), np.concatenate(targets)
    text = token != ask.data.vocabulary.sep
    loss, token = loss[text], token[text]
    counts = ask.once(("frequency", "token counts"), lambda: token_counts(ask.data.store))
    unigram = -np.log((counts + 1) / (counts.sum() + len(counts)))[token]
    digits = np.array([len(str(n)) if n else 0 for n in counts.tolist()])[token]
    for number in [*np.unique(digits).tolist(), None]:
        of = np.ones(len(loss), bool) if number is None else digits == number
        if of.sum() >= FEWEST:
            mean, error = float(loss[of].mean()), 1.96 * float(loss[of].std(ddof=1)) / np.sqrt(of.sum())
            group = "" if number is None else _name(number)
            yield Value("loss", mean, int(of.sum()), group, low=mean - error, high=mean + error)
            yield Value("loss_unigram", float(unigram[of].mean()), int(of.sum()), group)


def _name(digits: int) -> str:
    """Of the tokens whose number of occurrences has so many digits."""
    return f"{10 ** (digits - 1):,} to {10**digits - 1:,} times" if digits else "never"
