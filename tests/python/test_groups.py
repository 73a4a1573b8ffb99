"""Process groups that are special: without a CPU side, as one of NCCL alone; of others only."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torch.distributed as dist

import dcpcpp
from support import faults
from support.ranks import run_on_ranks

# gloo for device tensors only is such a group without a GPU: a collective of CPU tensors
# fails on it. Its rank, size, store and timeout are all that a save or load may use.
SCRIPT = """
dist.init_process_group("cuda:gloo", timeout=timedelta(seconds=60))
refused = ""
try:
    dist.all_reduce(torch.ones(1))
except RuntimeError as error:
    refused = str(error)

from dcpcpp._group import group_of
c = folder / "c"
state = {"own": {str(rank): torch.full((3,), float(rank))}, "shared": torch.arange(4.0), "step": 7}
saved = dcp.save(state, checkpoint_id=c)
loaded = {
    "own": {str(rank): torch.zeros(3)}, "shared": torch.zeros(4), "step": 0
}
dcp.load(loaded, checkpoint_id=c)
failures = {}
try:
    dcp.load({f"nope-{rank}" if rank else "shared": torch.zeros(4)}, checkpoint_id=c)
except dcp.CheckpointException as error:
    failures = {failed: str(cause) for failed, (cause, _) in error.failures.items()}
tell(
    refused=refused,
    keys=sorted(saved.state_dict_metadata),
    own=loaded["own"][str(rank)].tolist(),
    shared=loaded["shared"].tolist(),
    step=loaded["step"],
    failures=failures,
    devices=[str(device) for device in dist.group.WORLD._device_types],
    timeout=group_of(dist.group.WORLD, "foreground").timeout,
)
"""


@pytest.mark.timeout(120)
def test_a_group_without_a_cpu_side_saves_and_loads(tmp_path: Path) -> None:
    ranks = faults.run_ranks(SCRIPT, 2, tmp_path)
    for rank in range(2):
        told = ranks.told(rank)
        assert told["devices"] == ["cuda"]
        assert "No backend type associated with device type cpu" in told["refused"]
        assert told["keys"] == ["own.0", "own.1", "shared", "step"]
        assert told["own"] == [rank] * 3
        assert told["shared"] == [0, 1, 2, 3]
        assert told["step"] == 7
        assert told["failures"] == {"1": "Missing key in checkpoint state_dict: nope-1."}
        assert told["timeout"] == 60


def call_from_outside_of_the_group(path: str) -> None:
    group = dist.new_group([0])
    if dist.get_rank() == 0:
        return
    for call in (dcpcpp.save, dcpcpp.load):
        with pytest.raises(ValueError, match="Invalid process group specified"):
            call({"w": torch.ones(1)}, checkpoint_id=path, process_group=group)


def test_a_rank_outside_of_the_group_is_told_so(tmp_path: Path) -> None:
    run_on_ranks(2, call_from_outside_of_the_group, str(tmp_path / "c"))
    assert list(tmp_path.iterdir()) == []
