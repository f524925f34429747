"""Seeding one device draws what seeding all of them draws; waiting in line for a core is noticed."""

import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from sesame.engine import machine
from sesame.processes import cores


@pytest.mark.parametrize("number", [0, 7, 2**62 + 5])
def test_a_cpu_draws_as_after_torchs_own_seeding(number: int) -> None:
    machine.seed(torch.device("cpu"), number)
    ours = torch.rand(5), torch.randperm(9)
    torch.manual_seed(number)
    assert torch.equal(ours[0], torch.rand(5)) and torch.equal(ours[1], torch.randperm(9))


def _compute(seconds: float) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        pass


@pytest.mark.skipif(not Path("/proc/self/schedstat").exists(), reason="the system does not count it")
def test_threads_stand_in_line_beside_other_work() -> None:
    others = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(2 * cores())]
    try:
        line = machine.Line()
        _compute(1.0)
        assert 0.2 < line.share() < 1
    finally:
        for other in others:
            other.kill()
            other.wait()


def test_where_nothing_is_counted_nobody_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine.Line, "_so_far", staticmethod(lambda: (0.0, 0.0)))
    assert machine.Line().share() == 0
