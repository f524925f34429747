"""Shapes in signatures are checked while the tests run: the hook must be in place before sesame is imported."""

import logging
from collections.abc import Iterator

import pytest
from jaxtyping import install_import_hook

install_import_hook("sesame", "beartype.beartype")


@pytest.fixture(autouse=True)
def the_log_is_left_as_it_was() -> Iterator[None]:
    """A command sets the level of the log, and several run in the process of the tests."""
    logger = logging.getLogger("sesame")
    before = logger.level, logging.getLogger().level
    yield
    logger.setLevel(before[0])
    logging.getLogger().setLevel(before[1])
