"""What the tables say has changed between the first checkpoint and the last: a few rows for a terminal."""

from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from sesame.probes.base import NO_LAYER
from sesame.probes.measuring import FULL
from sesame.probes.table import VALUE_SCHEMA, Tables, read


@dataclass(frozen=True)
class Change:
    """One number at the first step and at the last."""

    probe: str
    metric: str
    group: str
    layer: int
    first_step: int
    first: float
    last_step: int
    last: float

    @property
    def what(self) -> str:
        layer = "" if self.layer == NO_LAYER else f"layer {self.layer}"
        return ", ".join(part for part in (self.metric, self.group, layer) if part)


def changes(tables: Tables, probes: Sequence[tuple[str, str]], steps: Collection[int]) -> tuple[Change, ...]:
    """Of every metric of these (probe, source), at these steps: the number for all together, or else that of the group
    and layer that changed most. What stayed as it was is left out, but for a probe that measured one step alone.
    """
    table = read(tables.values, VALUE_SCHEMA)
    wanted = pc.and_(pc.equal(table["form"], FULL), pc.is_in(table["step"], pa.array(sorted(steps), pa.int64())))
    rows = table.filter(pc.and_(wanted, pc.is_finite(table["value"]))).to_pylist()
    found: list[Change] = []
    for probe, source in probes:
        mine = [row for row in rows if (row["probe"], row["source"]) == (probe, source)]
        if not mine:
            continue
        first, last = min(row["step"] for row in mine), max(row["step"] for row in mine)
        at: dict[int, dict[tuple[str, str, int], float]] = defaultdict(dict)
        for row in mine:
            at[row["step"]][row["metric"], row["group"], row["layer"]] = row["value"]
        of: dict[str, list[Change]] = defaultdict(list)
        for (metric, group, layer), value in at[last].items():
            before = at[first].get((metric, group, layer))
            if before is not None and (value != before or first == last):
                of[metric].append(Change(probe, metric, group, layer, first, before, last, value))
        for several in of.values():
            whole = [one for one in several if not one.group and one.layer == NO_LAYER]
            found += whole or [max(several, key=lambda one: abs(one.last - one.first))]
    return tuple(found)
