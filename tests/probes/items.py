"""Tables of probes made by hand: each group's items and whether they were right at each step."""

from collections.abc import Mapping, Sequence

import numpy as np
import pyarrow as pa

from sesame.probes.table import ITEM_SCHEMA, VALUE_SCHEMA

WHEN = {"seconds": 0.0, "probe": "word-classes", "source": "", "form": "full", "made_from": ""}


def tables(
    right: Mapping[str, np.ndarray],
    steps: Sequence[int],
    a_step: int = 1000,
    words: Mapping[str, Sequence[str]] | None = None,
    baseline: Mapping[str, float] | None = None,
    chance: Mapping[str, float] | None = None,
    first_key: int = 1,
    **changes: object,
) -> tuple[pa.Table, pa.Table]:
    """`right` has [item, step] of each group; NaN for what was not asked. `changes` are columns of all rows."""
    items = []
    for group, answers in right.items():
        for number, row in enumerate(answers):
            key = first_key + hash_of(group) + number
            word = words[group][number] if words else f"{group} {number}"
            for step, value in zip(steps, row, strict=True):
                if not np.isnan(value):
                    told = {"metric": "mask_prediction", "key": key, "group": group, "right": bool(value)}
                    shown = {"word": word, "text": "", "guesses": []}
                    items.append(WHEN | {"step": step, "tokens": a_step * step} | told | shown | changes)
    known = [
        WHEN | {"step": step, "tokens": a_step * step, "layer": -1, "group": group, "value": value, "n": 1}
        | {"metric": f"mask_prediction_{level}", "low": np.nan, "high": np.nan}
        for level, of_groups in (("unigram", baseline), ("chance", chance))
        for step in steps for group, value in (of_groups or {}).items()
    ]  # fmt: skip
    return pa.Table.from_pylist(known, VALUE_SCHEMA), pa.Table.from_pylist(items, ITEM_SCHEMA)


def hash_of(group: str) -> int:
    return 1000 * sum(map(ord, group))
