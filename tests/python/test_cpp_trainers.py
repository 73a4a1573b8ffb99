"""The trainers of examples/cpp: killed, resumed on other ranks, and loaded by PyTorch."""

from __future__ import annotations

import pathlib
import re
import subprocess

import pytest
import torch
from torch.distributed.checkpoint import state_dict_loader

from support import cpp_build


def _mpirun(ranks: int, *command: str | pathlib.Path) -> subprocess.CompletedProcess[str]:
    """Run processes of Open MPI, as root and on fewer cores if need be."""
    options = ["--oversubscribe", "--allow-run-as-root", "-n", str(ranks)]
    return subprocess.run(
        ["mpirun", *options, *map(str, command)], capture_output=True, text=True, timeout=90
    )


def _final_loss(finished: subprocess.CompletedProcess[str]) -> float:
    assert finished.returncode == 0, finished.stderr
    (loss,) = re.findall(r"step 200: loss (\S+)", finished.stdout)
    return float(loss)


def _check_that_torch_loads_step_200(folder: pathlib.Path, printed: str) -> None:
    weights = {"w1": torch.zeros(32, 2), "b1": torch.zeros(32)}
    weights |= {"w2": torch.zeros(32), "b2": torch.zeros(1)}
    moments = {name: {"exp_avg": torch.zeros_like(value)} for name, value in weights.items()}
    state = {"model": weights, "optim": moments, "step": 0}
    state_dict_loader.load(state, checkpoint_id=folder / "step-200")
    assert state["step"] == 200
    assert all(moment["exp_avg"].any() for moment in moments.values())
    place = torch.tensor([48.87 / 90, 2.33 / 180])
    hidden = torch.tanh(weights["w1"] @ place + weights["b1"])
    predicted = (weights["w2"] @ hidden + weights["b2"]).item()
    (paris,) = re.findall(r"Paris .*: (\S+) hours", printed)
    assert predicted == pytest.approx(float(paris), abs=1e-3)


def test_an_mpi_trainer_that_was_killed_goes_on_with_other_ranks(
    cpp_examples: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    trainer = cpp_examples / "mpi_trainer"
    undisturbed = _final_loss(_mpirun(4, trainer, tmp_path / "undisturbed"))
    killed = _mpirun(4, trainer, tmp_path / "killed", "200", "130")
    assert killed.returncode != 0
    resumed = _mpirun(3, trainer, tmp_path / "killed")
    assert re.search(r"resumed from step (50|100)\n", resumed.stdout)
    # Sums of other ranks' parts are rounded otherwise.
    assert _final_loss(resumed) == pytest.approx(undisturbed, rel=0.01)
    _check_that_torch_loads_step_200(tmp_path / "killed", resumed.stdout)


@pytest.fixture
def without_gpus(
    tmp_path: pathlib.Path, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, str]:
    """An environment in which CUDA, with two devices, and NCCL are the tests' stand-ins."""
    targets = ("dcp_stand_in_driver", "dcp_stand_in_nccl")
    built = cpp_build.build_tree(tmp_path_factory.mktemp("stand-ins"), *targets) / "tests" / "cpp"
    libraries = tmp_path / "libraries"
    libraries.mkdir()
    (libraries / "libcuda.so.1").symlink_to(built / "device" / "libdcp_stand_in_driver.so")
    (libraries / "libnccl.so.2").symlink_to(built / "nccl" / "libdcp_stand_in_nccl.so")
    return {"LD_LIBRARY_PATH": str(libraries), "TMPDIR": str(tmp_path)}


def test_an_nccl_trainer_that_was_killed_goes_on_with_other_ranks(
    cpp_examples: pathlib.Path, tmp_path: pathlib.Path, without_gpus: dict[str, str]
) -> None:
    def train(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [str(cpp_examples / "nccl_trainer"), str(tmp_path / "checkpoints"), *arguments]
        return subprocess.run(command, env=without_gpus, capture_output=True, text=True, timeout=90)

    too_many = train("3")
    assert too_many.returncode == 77
    assert "skipped: it needs NCCL and 3 GPU(s), and this machine has 2" in too_many.stderr
    killed = train("2", "200", "130")
    assert killed.returncode == 1
    resumed = train("1")
    assert re.search(r"resumed from step (50|100)\n", resumed.stdout)
    assert _final_loss(resumed) == pytest.approx(7.322, rel=0.01)
    _check_that_torch_loads_step_200(tmp_path / "checkpoints", resumed.stdout)
