"""Runs of a few steps need not know how fast the machine could multiply."""

import pytest

from sesame.engine import machine


@pytest.fixture(scope="session", autouse=True)
def unmeasured():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(machine, "matmul_limit", lambda *_: 1e12)
        yield
