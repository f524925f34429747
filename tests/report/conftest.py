"""A run with checkpoints on a store of its own, and one with measurements, made once."""

import pytest
from report_folders import write_probes, write_run, write_run_with_weights

from sesame.data.store import TokenStore
from sesame.report.folders import open_folders
from sesame.report.probe_reading import cohorts


@pytest.fixture(scope="session")
def weights(tmp_path_factory):
    """(run, its token store)"""
    folder = tmp_path_factory.mktemp("weights")
    return write_run_with_weights(folder), TokenStore.open(folder / "data")


@pytest.fixture(scope="session")
def watched_run(tmp_path_factory):
    """The folder of a run with measurements."""
    folder = tmp_path_factory.mktemp("watched") / "run"
    write_run(folder)
    write_probes(folder)
    return folder


@pytest.fixture(scope="session")
def cohort(watched_run):
    return cohorts(open_folders([watched_run]).measured)[0]
