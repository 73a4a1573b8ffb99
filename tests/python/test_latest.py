"""latest: the newest step of a run that was committed, or that is whole."""

from __future__ import annotations

import logging
import shutil
from pathlib import Path

import pytest

import dcpcpp
from support import damage, faults
from support.damage import flip_bit


@pytest.fixture(scope="module")
def originals(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return damage.make_originals(tmp_path_factory.mktemp("originals"))


@pytest.fixture
def run(originals: Path, tmp_path: Path) -> Path:
    """A run with steps 2, 9 and 10."""
    for step, written_by in (("2", "dcpcpp"), ("9", "torch"), ("10", "dcpcpp")):
        shutil.copytree(originals / written_by, tmp_path / "run" / f"step-{step}")
    return tmp_path / "run"


def test_the_latest_step_is_the_newest_that_was_committed(
    run: Path, caplog: pytest.LogCaptureFixture
) -> None:
    assert dcpcpp.latest(run) == run / "step-10"
    assert dcpcpp.latest(str(run)) == run / "step-10"
    (run / "step-11").mkdir()
    (run / "step-12-tmp").mkdir()
    (run / "notes.txt").write_text("mine")
    with caplog.at_level(logging.WARNING, logger="dcpcpp"):
        assert dcpcpp.latest(run) == run / "step-10"
    (record,) = caplog.records
    assert record.getMessage().startswith(f"skipped {run / 'step-11'}: ")


def test_the_latest_step_that_passes_is_asked_for(
    run: Path, caplog: pytest.LogCaptureFixture
) -> None:
    flip_bit(run / "step-10" / "__0_0.distcp", 70_000, 3)
    assert dcpcpp.latest(run) == run / "step-10"
    with caplog.at_level(logging.WARNING, logger="dcpcpp"):
        assert dcpcpp.latest(run, verify=True) == run / "step-9"
    assert "CRC-32" in caplog.text
    for sidecar in (run / "step-2").glob(".dcpcpp-*"):
        sidecar.unlink()
    (run / "step-9" / "__0_0.distcp").unlink()
    assert dcpcpp.latest(run, verify=True) is None


def test_a_run_that_has_not_begun_has_no_latest_step(tmp_path: Path) -> None:
    assert dcpcpp.latest(tmp_path) is None
    assert dcpcpp.latest(tmp_path / "nosuch") is None


def test_neither_needs_torch(run: Path) -> None:
    done = faults.run_python(
        """
        import sys
        sys.modules["torch"] = None  # imports of it fail
        import dcpcpp
        step = dcpcpp.latest(sys.argv[1], verify=True)
        print(step.name, dcpcpp.verify(step).ok)
        """,
        run,
    )
    assert done.stdout == "step-10 True\n", done.stderr
