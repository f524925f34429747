"""Sums since the last line of the log. They stay on the device until somebody reads them."""

from dataclasses import dataclass, field

import torch
from torch import Tensor

from sesame.engine.distributed import Team
from sesame.pretext.base import Loss

_NEVER = torch.iinfo(torch.int64).max


@dataclass
class Sum:
    """One term of the loss, summed over parts and steps of this process."""

    sum: Tensor
    count: int = 0
    hits: Tensor | None = None
    weight: float = 1.0


@dataclass
class Window:
    """What happened since the last line of the log, on this process; `size` and `steps` are of the whole step."""

    terms: dict[str, Sum] = field(default_factory=dict)
    size: int = 0
    steps: int = 0
    norm: Tensor | None = None
    """Gradient norm of the last step, before clipping."""
    _bad: Tensor | None = None

    def add(self, loss: Loss) -> None:
        """Count one micro-batch's terms in."""
        for name, term in loss.items():
            into = self.terms.setdefault(name, Sum(torch.zeros((), dtype=torch.float64, device=term.sum.device)))
            into.sum += term.sum.detach()
            into.count += term.count
            into.weight = term.weight
            if term.hits is not None:
                hits = term.hits.detach().to(torch.int64)
                into.hits = hits.clone() if into.hits is None else into.hits + hits

    def close_step(self, step: int, size: int, norm: Tensor) -> None:
        """Note one optimiser step; remembers the first one whose numbers are not finite."""
        self.size += size
        self.steps += 1
        self.norm = norm
        finite = torch.isfinite(norm)
        for term in self.terms.values():
            finite = finite & torch.isfinite(term.sum)
        if self._bad is None:
            self._bad = torch.full((), _NEVER, dtype=torch.int64, device=norm.device)
        self._bad = torch.where(finite, self._bad, self._bad.clamp(max=step))

    def first_bad(self) -> int | None:
        """The first step with a loss or norm that is not finite. Waits for the device."""
        step = _NEVER if self._bad is None else int(self._bad)
        return None if step == _NEVER else step

    def read(self, team: Team) -> dict[str, list[float]]:
        """name -> [sum, things, right, whether right is counted, weight], over all processes. Waits for the device."""
        names = sorted(self.terms)
        mine = [float(x) for n in names for x in (self.terms[n].sum, self.terms[n].count, self.terms[n].hits or 0)]
        total = team.total(mine)
        return {
            name: [*total[3 * i : 3 * i + 3], float(self.terms[name].hits is not None), self.terms[name].weight]
            for i, name in enumerate(names)
        }

    @classmethod
    def of(cls, numbers: dict[str, list[float]], size: int, steps: int, device: torch.device, team: Team) -> "Window":
        """The window that `read` gave. One process takes the sums of all, the others start at nothing."""
        window = cls(size=size, steps=steps)
        share = float(team.rank == 0)
        for name, (total, count, hits, counted, weight) in numbers.items():
            window.terms[name] = Sum(
                torch.tensor(total * share, dtype=torch.float64, device=device),
                int(count * share),
                torch.tensor(int(hits * share), device=device) if counted else None,
                weight,
            )
        return window
