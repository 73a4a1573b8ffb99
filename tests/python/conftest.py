"""Fixtures of all Python tests."""

from __future__ import annotations

import pathlib
import warnings
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import settings

import dcpcpp
from support import cpp_build
from support.forked_ranks import close_server
from support.ranks import close_pools

# The same examples in every run, so that a failure belongs to a change;
# --hypothesis-profile=default draws new ones.
settings.register_profile("dcpcpp", derandomize=True, deadline=None)
settings.load_profile("dcpcpp")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--row", help="only tests of this row of the reliability scoreboard")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    row = config.getoption("--row")
    if row is not None:
        items[:] = [
            item for item in items if any(row in mark.args for mark in item.iter_markers("row"))
        ]


@pytest.fixture(scope="session", autouse=True)
def _no_process_is_left_behind() -> Iterator[None]:
    yield
    close_pools()
    close_server()


@pytest.fixture(autouse=True)
def _quiet_single_process() -> Iterator[None]:
    """Keep what every save of one process, or over another, says out of the summary."""
    with warnings.catch_warnings():
        for said in (
            "torch.distributed is",
            "Detected an existing",
            "TypedStorage is",
            "the object .* which is not known to be harmless",
        ):
            warnings.filterwarnings("ignore", message=said)
        yield


@pytest.fixture
def no_save_is_left() -> Iterator[None]:
    """After the test: async saves have ended, and their errors were raised."""
    yield
    try:
        dcpcpp.flush()
    finally:
        dcpcpp.flush()


@pytest.fixture(scope="session")
def golden() -> pathlib.Path:
    """The folder of checkpoints that named versions of stock torch wrote."""
    return pathlib.Path(__file__).parents[1] / "golden"


@pytest.fixture(scope="session")
def s3_options() -> Iterator[dict[str, Any]]:
    """What s3fs needs to reach an S3 server on the loopback interface."""
    moto_server = pytest.importorskip("moto.server", reason="NO S3 TESTED: moto is missing")
    pytest.importorskip("s3fs", reason="NO S3 TESTED: s3fs is missing")
    server = moto_server.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    options: dict[str, Any] = {
        "key": "k",
        "secret": "s",
        "client_kwargs": {"endpoint_url": f"http://{host}:{port}"},
    }
    fsspec = pytest.importorskip("fsspec")
    fsspec.filesystem("s3", **options).mkdir("bucket")
    yield options
    server.stop()


@pytest.fixture(scope="session")
def libdcp_prefix(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """Where libdcp is installed."""
    folder = tmp_path_factory.mktemp("installed")
    cpp_build.install(cpp_build.build_tree(folder / "build"), folder / "prefix")
    return folder / "prefix"


@pytest.fixture(scope="session")
def cpp_examples(
    libdcp_prefix: pathlib.Path, tmp_path_factory: pytest.TempPathFactory
) -> pathlib.Path:
    """The folder of examples/cpp and their tests, built with find_package(dcp)."""
    return cpp_build.build_examples(
        tmp_path_factory.mktemp("examples"),
        [
            f"-DCMAKE_PREFIX_PATH={libdcp_prefix}",
            f"-DEXAMPLES_CONFORMANCE_DIR={cpp_build.REPOSITORY / 'tests' / 'cpp'}",
        ],
    )
