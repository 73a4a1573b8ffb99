"""The examples with Hugging Face's Trainer and with Lightning.

Their packages are large: `make test-trainers` installs them, and `make test-deep` runs it.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import dcpcpp

EXAMPLES = Path(__file__).parents[2] / "examples" / "python"

pytestmark = pytest.mark.timeout(300)


def need(package: str) -> pytest.MarkDecorator:
    return pytest.mark.skipif(
        importlib.util.find_spec(package) is None,
        reason=f"{package} is not installed: `make test-trainers` installs it",
    )


def run(example: str, *arguments: object) -> None:
    done = subprocess.run(
        [sys.executable, str(EXAMPLES / example), *map(str, arguments)],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def require_same_tensors(a: Path, b: Path) -> None:
    theirs, ours = dcpcpp.open(a), dcpcpp.open(b)
    assert theirs.keys() == ours.keys()
    tensors = [key for key in theirs if theirs.is_tensor(key)]
    assert len(tensors) > 10
    for key in tensors:
        assert torch.equal(theirs[key], ours[key]), key


@need("accelerate")
@need("transformers")
def test_hugging_faces_trainer_goes_on_from_a_step(tmp_path: Path) -> None:
    run("trainer_callback.py", "--folder", tmp_path, "--steps", 8)
    steps = tmp_path / "checkpoint"
    shutil.move(steps / "step-8", tmp_path / "whole")
    run("trainer_callback.py", "--folder", tmp_path, "--steps", 8)
    require_same_tensors(tmp_path / "whole", steps / "step-8")
    assert dcpcpp.load_full(steps / "step-8", keys=["train_state"]) == {"train_state": {"step": 8}}


@need("pytorch_lightning")
def test_lightning_goes_on_from_an_epoch(tmp_path: Path) -> None:
    run("lightning_strategy.py", "--folder", tmp_path / "whole", "--epochs", 3)
    names = sorted(path.name for path in (tmp_path / "whole").iterdir())
    assert names == ["epoch=0-step=8.ckpt", "epoch=1-step=16.ckpt", "epoch=2-step=24.ckpt"]
    resume = tmp_path / "whole" / names[1]
    run("lightning_strategy.py", "--folder", tmp_path / "more", "--epochs", 3, "--resume", resume)
    assert [path.name for path in (tmp_path / "more").iterdir()] == names[2:]
    require_same_tensors(tmp_path / "whole" / names[2], tmp_path / "more" / names[2])
