"""The training loops of examples/python that a CheckpointManager saves."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from support.command_line import command

EXAMPLES = Path(__file__).parents[2] / "examples" / "python"


def train(example: str, folder: Path) -> list[str]:
    """Train on two ranks up to step 8; what rank 0 printed."""
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2"]
    done = subprocess.run(
        [*command, str(EXAMPLES / example), "--folder", str(folder), "--steps", "8"],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


@pytest.mark.timeout(180)
@pytest.mark.parametrize("example", ["ddp_loop.py", "fsdp2_loop.py"])
def test_a_run_that_is_broken_off_ends_as_one_that_is_not(example: str, tmp_path: Path) -> None:
    losses = train(example, tmp_path)
    assert [line.partition(":")[0] for line in losses] == [f"step {i}" for i in range(1, 9)]
    steps = tmp_path / "checkpoint"
    shutil.move(steps / "step-8", tmp_path / "whole")
    assert train(example, tmp_path) == losses[4:]
    compared = command("diff", tmp_path / "whole", steps / "step-8", "--values")
    assert compared.exit_code == 0, compared.output
