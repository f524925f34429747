"""A run with checkpoints on a store of its own, made once."""

import pytest
from report_folders import write_run_with_weights

from sesame.data.store import TokenStore


@pytest.fixture(scope="session")
def weights(tmp_path_factory):
    """(run, its token store)"""
    folder = tmp_path_factory.mktemp("weights")
    return write_run_with_weights(folder), TokenStore.open(folder / "data")
