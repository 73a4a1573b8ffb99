"""Saves by several ranks: started by torchrun, reports to the file that it is given."""

from __future__ import annotations

import argparse
import dataclasses
import functools
import json
import shutil
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch.distributed.checkpoint import filesystem as stock_filesystem
from torch.distributed.checkpoint import state_dict_saver
from torch.distributed.checkpoint.hf_storage import HuggingFaceStorageWriter as StockHfWriter
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.tensor import DTensor, Shard

import dcpcpp
from dcpcpp.bench.measures import Outcome, in_turns, is_close
from dcpcpp.bench.meter import Samples, drop_page_cache, measure, sync_file, sync_names
from dcpcpp.bench.raw import raw_write
from dcpcpp.bench.states import llama_like, nbytes_of

Save = Callable[[Path], float | None]

OURS = "dcpcpp"
LAYOUTS = ("native", "hf-fsdp", "hf-tp")
# Of tensor parallelism: what takes the parts of an activation is cut across its rows.
_CUT_ACROSS = ("attention.wo.weight", "feed_forward.w2.weight")


def _savers(state: dict[str, Any], local_nbytes: int) -> dict[str, Save]:
    rank = dist.get_rank()

    def stock(threads: int) -> Save:
        def save(path: Path) -> None:
            writer = stock_filesystem.FileSystemWriter(path, thread_count=threads)
            state_dict_saver.save(state, storage_writer=writer)
            sync_names(path)

        return save

    def ours(path: Path) -> None:
        dcpcpp.save(state, checkpoint_id=path)
        sync_names(path)

    def raw(path: Path) -> float:
        own = path / str(rank)
        own.mkdir(parents=True, exist_ok=True)
        return raw_write(own, local_nbytes, direct=True, before_start=dist.barrier)

    return {
        OURS: ours,
        "stock DCP, default": stock(1),
        "stock DCP, thread_count=2": stock(2),
        "raw device": raw,
    }


def _hf_savers(state: dict[str, Any], native: dict[str, Save]) -> dict[str, Save]:
    """Safetensors, beside the native save of the same state."""

    def ours(path: Path) -> None:
        dcpcpp.save(state, storage_writer=dcpcpp.HuggingFaceStorageWriter(path))
        sync_names(path)

    def stock(path: Path) -> None:
        writer = StockHfWriter(
            str(path),
            save_distributed=True,
            enable_consolidation=True,
            thread_count_consolidation=2,
        )
        state_dict_saver.save(state, storage_writer=writer)
        if dist.get_rank() == 0:
            for file in path.glob("*.safetensors"):
                sync_file(file)
        sync_names(path)

    return {
        OURS: ours,
        "dcpcpp, native format": native[OURS],
        "stock DCP, consolidated": stock,
        "raw device": native["raw device"],
    }


def _written_nbytes() -> int:
    """What this process has had written to storage so far (proc(5), write_bytes)."""
    for line in Path("/proc/self/io").read_text().splitlines():
        if line.startswith("write_bytes:"):
            return int(line.split()[1])
    raise RuntimeError("/proc/self/io has no write_bytes")


def _placement(key: str, layout: str) -> Shard:
    return Shard(1 if layout == "hf-tp" and key.endswith(_CUT_ACROSS) else 0)


def _together(save: Save, path: Path) -> float | None:
    """A save that ends when all ranks have ended, but by its own clock, if it has one."""
    own_seconds = save(path)
    dist.barrier()
    return own_seconds


def add_all_ranks(samples: Samples, own: Samples) -> None:
    """The slowest rank's time and the largest one's memory count, and the CPU time of all."""
    for values, value, op in (
        (samples.seconds, own.seconds, dist.ReduceOp.MAX),
        (samples.cpu_seconds, own.cpu_seconds, dist.ReduceOp.SUM),
        (samples.extra_rss_mib, own.extra_rss_mib, dist.ReduceOp.MAX),
    ):
        of_all = torch.tensor(value)
        dist.all_reduce(of_all, op)
        values.append(float(of_all))


def rank_arguments() -> argparse.ArgumentParser:
    """What a program that measures several ranks is told."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--nbytes", type=int, required=True)
    parser.add_argument("--repeats", type=int, required=True)
    parser.add_argument("--often", type=int, default=1, help="rounds of those that are close")
    return parser


def main() -> None:
    """Measure durable saves of a state that is sharded over the ranks."""
    parser = rank_arguments()
    parser.add_argument("--layout", choices=LAYOUTS, default="native")
    arguments = parser.parse_args()
    warnings.filterwarnings("ignore")
    torch.set_num_threads(1)
    dist.init_process_group("gloo")
    rank, world = dist.get_rank(), dist.get_world_size()
    mesh = init_device_mesh("cpu", (world,))
    shards = llama_like(arguments.nbytes // world)
    layout: str = arguments.layout
    state = {
        key: DTensor.from_local(value, mesh, [_placement(key, layout)])
        for key, value in shards.items()
    }
    savers = _savers(state, nbytes_of(shards))
    name = "durable save"
    if layout != "native":
        savers = _hf_savers(state, savers)
        name += f" of safetensors, {layout.removeprefix('hf-').upper()}"
    outcome = Outcome(name, nbytes_of(shards) * world, ranks=world)
    outcome.samples = {name: Samples() for name in savers}
    turns = in_turns(list(savers), arguments.repeats, arguments.often, is_close)
    warm_up = [(-1, name) for name in savers]
    for repeat, name in (*warm_up, *turns):
        path = arguments.folder / "save"
        if rank == 0:
            shutil.rmtree(path, ignore_errors=True)
            drop_page_cache(arguments.folder)
        dist.barrier()
        samples = Samples()
        written = _written_nbytes()
        measure(functools.partial(_together, savers[name], path), samples, is_ours=name == OURS)
        of_all = torch.tensor(float(_written_nbytes() - written))
        dist.all_reduce(of_all)
        outcome.notes[f"bytes written, {name}"] = (
            f"{float(of_all) / outcome.nbytes:.3f} of the state's"
        )
        if repeat >= 0:
            add_all_ranks(outcome.samples[name], samples)
    if rank == 0:
        shutil.rmtree(arguments.folder / "save", ignore_errors=True)
        arguments.out.write_text(json.dumps(dataclasses.asdict(outcome)))
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
