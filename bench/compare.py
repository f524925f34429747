"""Two ways to do a job side by side: each in a process of its own, in turn (A B A B …), ratios pair by pair."""

import json
import statistics
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table


@dataclass(frozen=True)
class Case:
    """What was measured of one comparison. A ratio above 1 is in favour of Sesame."""

    name: str
    ours: list[dict[str, float]]
    theirs: list[dict[str, float]]

    def row(self) -> dict[str, Any]:
        """Medians and the spread of the ratios; `speed` is anything per second, `memory` is peak MiB."""
        ratios = [a["speed"] / b["speed"] for a, b in zip(self.ours, self.theirs, strict=True)]
        memory = [a["memory"] / b["memory"] for a, b in zip(self.ours, self.theirs, strict=True)]
        return {
            "name": self.name,
            "ratio": round(statistics.median(ratios), 2),
            "ratio_min": round(min(ratios), 2),
            "ratio_max": round(max(ratios), 2),
            "memory_ratio": round(statistics.median(memory), 3),
            "ours": statistics.median(a["speed"] for a in self.ours),
            "theirs": statistics.median(b["speed"] for b in self.theirs),
            "ours_mib": round(statistics.median(a["memory"] for a in self.ours)),
            "theirs_mib": round(statistics.median(b["memory"] for b in self.theirs)),
            "rounds": len(self.ours),
        }


def alternate(name: str, ours: list[str], theirs: list[str], rounds: int) -> Case:
    """Run the two commands in turn. Each prints, as its last line, JSON with `speed` and `memory`."""
    case = Case(name, [], [])
    for turn in range(rounds):
        for side, command, kept in (("ours", ours, case.ours), ("theirs", theirs, case.theirs)):
            done = subprocess.run([sys.executable, *command], capture_output=True, text=True)
            if done.returncode:
                raise SystemExit(f"{name}, {side}, round {turn + 1} failed:\n{done.stderr}")
            kept.append(json.loads(done.stdout.strip().splitlines()[-1]))
            print(f"{name}: round {turn + 1}/{rounds}, {side}: {kept[-1]}", file=sys.stderr, flush=True)
    return case


def peak_memory() -> float:
    """The most memory that this process has held so far, in MiB; getrusage would count the program that started it."""
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024


def show(cases: list[Case], unit: str, as_json: bool) -> None:
    """A table for people, or JSON alone on stdout."""
    rows = [case.row() for case in cases]
    if as_json:
        print(json.dumps({"cases": rows}, indent=2))
        return
    table = Table("case", f"ours, {unit}", f"theirs, {unit}", "ratio", "lowest to highest", "peak memory, MiB", "ratio")
    for row in rows:
        table.add_row(
            row["name"],
            f"{row['ours']:,.0f}",
            f"{row['theirs']:,.0f}",
            f"{row['ratio']:.2f}",
            f"{row['ratio_min']:.2f} to {row['ratio_max']:.2f}",
            f"{row['ours_mib']:,} against {row['theirs_mib']:,}",
            f"{row['memory_ratio']:.2f}",
        )
    Console().print(table)
