"""Fixtures of all Python tests."""

from __future__ import annotations

import pathlib
import warnings
from collections.abc import Iterator

import pytest
from hypothesis import settings

from support.ranks import close_pools

# The same examples in every run, so that a failure belongs to a change;
# --hypothesis-profile=default draws new ones.
settings.register_profile("dcpcpp", derandomize=True, deadline=None)
settings.load_profile("dcpcpp")


@pytest.fixture(scope="session", autouse=True)
def _no_process_is_left_behind() -> Iterator[None]:
    yield
    close_pools()


@pytest.fixture(autouse=True)
def _quiet_single_process() -> Iterator[None]:
    """Keep what every save of one process, or over another, says out of the summary."""
    with warnings.catch_warnings():
        for said in ("torch.distributed is", "Detected an existing", "TypedStorage is"):
            warnings.filterwarnings("ignore", message=said)
        yield


@pytest.fixture(scope="session")
def golden() -> pathlib.Path:
    """The folder of checkpoints that named versions of stock torch wrote."""
    return pathlib.Path(__file__).parents[1] / "golden"
