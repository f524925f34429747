"""The loss along the line from where fine-tuning began to where it ended (Hao et al. 2019, 1908.05620, section 3)."""

import numpy as np
import torch
from jaxtyping import Float, Int

from sesame.tasks.finetune import Encoded
from sesame.tasks.network import Network, groups_of

ALPHAS = tuple(round(float(a), 2) for a in np.linspace(-0.5, 1.5, 21))
SAMPLE = 256
"""Training sequences that the loss is a mean over."""


def loss_curve(
    start: Network,
    end: Network,
    encoded: Encoded,
    chosen: Int[np.ndarray, " chosen"],
    alphas: tuple[float, ...] = ALPHAS,
) -> Float[np.ndarray, " alpha"]:
    """J(θ0 + α(θ1 − θ0)), the mean loss on the `chosen` training sequences without dropout, for each α.

    θ0 are the weights of `start`, θ1 those of `end`, head included, and with them the statistics of batch norm. Those
    of `start` are moved along the line.
    """
    ends = end.state_dict()
    moved = [(k, x, x.clone(), ends[k]) for k, x in start.state_dict().items() if x.is_floating_point()]
    losses = []
    for alpha in alphas:
        with torch.no_grad():
            for key, value, begin, stop in moved:
                torch.lerp(begin, stop, alpha, out=value)
                if key.endswith("running_var"):
                    value.clamp_(min=0.0)  # a line that goes on beyond its ends may leave what a variance can be
        losses.append(_mean_loss(start, encoded, chosen))
    return np.array(losses)


def _mean_loss(network: Network, encoded: Encoded, chosen: Int[np.ndarray, " chosen"]) -> float:
    network.eval()
    total, things = 0.0, 0
    with torch.inference_mode():
        for some in groups_of(encoded.train.lengths[chosen]):
            batch = network.batch(encoded.train, chosen[some], encoded.pad)
            term = encoded.data.task.loss(network(batch), batch)
            total, things = total + float(term.sum), things + term.count
    return total / max(things, 1)
