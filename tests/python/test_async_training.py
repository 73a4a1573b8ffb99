"""The example of a training loop that does not wait for its checkpoints."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import dcpcpp

EXAMPLE = Path(__file__).parents[2] / "examples" / "python" / "async_training.py"


def run(folder: Path, steps: int) -> str:
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2"]
    done = subprocess.run(
        [*command, str(EXAMPLE), "--folder", str(folder), "--steps", str(steps)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.timeout(180)
def test_training_goes_on_where_its_last_async_save_was(tmp_path: Path) -> None:
    assert "steps 1 to 6" in run(tmp_path, 6)
    assert dcpcpp.latest(tmp_path, verify=True) == tmp_path / "step-5"
    assert "steps 6 to 10" in run(tmp_path, 10)
    assert dcpcpp.latest(tmp_path, verify=True) == tmp_path / "step-10"
