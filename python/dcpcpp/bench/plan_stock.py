"""How long stock DCP plans a save of many ranks: prints JSON.

The state is Llama 3 70B with AdamW's, sharded flat by FSDP2: of each rank the items that
torch's planner makes of DTensors, 2,892 of them, with their paths. All ranks' plans are pickled
first, as `gather_object` sends them; then one thread does what the coordinator does.
"""

from __future__ import annotations

import argparse
import itertools
import json
import pickle
import time
from pathlib import Path

import torch
from torch.distributed.checkpoint.default_planner import DefaultSavePlanner
from torch.distributed.checkpoint.metadata import (
    ChunkStorageMetadata,
    MetadataIndex,
    TensorProperties,
)
from torch.distributed.checkpoint.planner import (
    SavePlan,
    TensorWriteData,
    WriteItem,
    WriteItemType,
)

from dcpcpp import _core

_Shape = list[int]


def _write_item(key: str, begin: _Shape, sizes: _Shape, shape: _Shape) -> WriteItem:
    offsets = torch.Size(begin)
    return WriteItem(
        index=MetadataIndex(key, offsets),
        type=WriteItemType.SHARD if shape else WriteItemType.TENSOR,
        tensor_data=TensorWriteData(
            chunk=ChunkStorageMetadata(offsets=offsets, sizes=torch.Size(sizes)),
            properties=TensorProperties(dtype=torch.float32),
            size=torch.Size(shape),
        ),
    )


def local_plan(tensors: list[tuple[str, _Shape]], rank: int, ranks: int) -> SavePlan:
    """What `rank` would send: its rows, as torch.chunk cuts them, of each tensor and moment."""
    items: list[WriteItem] = []
    paths: dict[str, tuple[str | int, ...]] = {}
    for name, shape in tensors:
        rows = -(-shape[0] // ranks)
        first = min(rows * rank, shape[0])
        sizes = [min(rows * (rank + 1), shape[0]) - first, *shape[1:]]
        begin = [first, *[0] * (len(shape) - 1)]
        state = ("optim", "state", name)
        for path in (("model", name), (*state, "exp_avg"), (*state, "exp_avg_sq")):
            key = ".".join(path)
            items.append(_write_item(key, begin, sizes, shape))
            paths[key] = path
        key = ".".join((*state, "step"))
        items.append(_write_item(key, [], [], []))
        paths[key] = (*state, "step")
    return SavePlan(items, planner_data=paths)


def _peak_nbytes() -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return 1024 * int(line.split()[1])
    raise LookupError("no VmHWM in /proc/self/status")


def measure(ranks: int) -> dict[str, float]:
    """Seconds of the processor by step, the bytes of the messages, and the peak of memory."""
    torch.set_num_threads(1)
    tensors = _core.simulated_tensors("llama3-70b")
    messages = [pickle.dumps(local_plan(tensors, rank, ranks)) for rank in range(ranks)]
    nbytes = sum(map(len, messages))
    laps = [time.process_time()]
    plans = [pickle.loads(messages.pop(0)) for _ in range(ranks)]
    laps.append(time.process_time())
    answers, _ = DefaultSavePlanner().create_global_plan(plans)
    laps.append(time.process_time())
    for answer in answers:
        pickle.dumps(answer)
    laps.append(time.process_time())
    read, plan, write = (end - begin for begin, end in itertools.pairwise(laps))
    return {
        "read": read,
        "plan": plan,
        "write": write,
        "message_nbytes": nbytes,
        "peak_nbytes": _peak_nbytes(),
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--ranks", type=int, required=True)
    print(json.dumps(measure(parser.parse_args().ranks)))
