"""Tensors on a mesh of 2 x 2 x 2 ranks, to and from any placements, with stock torch too."""

from __future__ import annotations

from pathlib import Path

import pytest

from support import faults

SCRIPT = """
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.tensor import Replicate, Shard, distribute_tensor
import torch.distributed.checkpoint as stock

start()
mesh = init_device_mesh("cpu", (2, 2, 2), mesh_dim_names=("replicate", "shard", "tensor"))
whole = {
    "uneven": torch.arange(7 * 5, dtype=torch.float32).reshape(7, 5),
    "short": torch.arange(3.0),  # some ranks hold nothing of it
    "cube": torch.arange(24.0).reshape(2, 3, 4),
}
layouts = [
    (Replicate(), Shard(0), Shard(1)),  # HSDP and tensor parallelism
    (Replicate(), Shard(0), Shard(0)),
    (Shard(0), Shard(0), Shard(0)),
    (Shard(0), Replicate(), Replicate()),
    (Shard(1), Shard(0), Replicate()),
]

def placed(layout, fill=None):
    tensors = {}
    for key, value in whole.items():
        fitting = [p if p.is_replicate() or p.dim < value.ndim else Replicate() for p in layout]
        value = value if fill is None else torch.full_like(value, fill)
        tensors[key] = distribute_tensor(value, mesh, fitting)
    return tensors

wrong = []
for number, layout in enumerate(layouts):
    dcp.save(placed(layout), checkpoint_id=folder / f"ours-{number}")
    stock.save(placed(layout), checkpoint_id=folder / f"stock-{number}")
    for target in layouts:
        for library, saver in ((dcp, "ours"), (dcp, "stock"), (stock, "ours")):
            state = placed(target, -1.0)
            library.load(state, checkpoint_id=folder / f"{saver}-{number}")
            expected = placed(target)
            wrong += [
                f"{key} of {saver}, {layout} to {target}, by {library.__name__}"
                for key in whole
                if not torch.equal(state[key].to_local(), expected[key].to_local())
            ]
tell(wrong=wrong)
dist.barrier()
"""


@pytest.mark.timeout(240)
def test_eight_ranks_in_three_dimensions_reshard(tmp_path: Path) -> None:
    ranks = faults.run_ranks(SCRIPT, 8, tmp_path, timeout=200)
    assert [ranks.told(rank)["wrong"] for rank in range(8)] == [[]] * 8
