"""Seeding one device draws what seeding all of them draws."""

import pytest
import torch

from sesame.engine import machine


@pytest.mark.parametrize("number", [0, 7, 2**62 + 5])
def test_a_cpu_draws_as_after_torchs_own_seeding(number: int) -> None:
    machine.seed(torch.device("cpu"), number)
    ours = torch.rand(5), torch.randperm(9)
    torch.manual_seed(number)
    assert torch.equal(ours[0], torch.rand(5)) and torch.equal(ours[1], torch.randperm(9))
