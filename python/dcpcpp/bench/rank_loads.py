"""Loads of one replicated checkpoint by several ranks: started by torchrun, reports to a file.

Every rank wants all of the state, as in a DDP job that resumes. "each by itself" is dcpcpp with
what ranks of a host do together switched off; stock DCP reads the same files.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import shutil
import warnings
from collections.abc import Callable
from pathlib import Path
from unittest import mock

import torch
import torch.distributed as dist
from torch.distributed.checkpoint import state_dict_loader

import dcpcpp
from dcpcpp import _core
from dcpcpp.bench.measures import Outcome, in_turns, is_close
from dcpcpp.bench.meter import Samples, drop_page_cache, measure, warm_page_cache
from dcpcpp.bench.ranks import OURS, add_all_ranks, rank_arguments
from dcpcpp.bench.states import Tensors, empty_like, llama_like, nbytes_of, require_equal

Load = Callable[[Tensors, Path], None]


def _ours(state: Tensors, path: Path) -> None:
    dcpcpp.load(state, checkpoint_id=path)


def _alone(state: Tensors, path: Path) -> None:
    with mock.patch.object(_core, "load", functools.partial(_core.load, pool_reads=False)):
        dcpcpp.load(state, checkpoint_id=path)


def _stock(state: Tensors, path: Path) -> None:
    state_dict_loader.load(state, checkpoint_id=path)


LOADERS: dict[str, Load] = {
    OURS: _ours,
    f"{OURS}, each by itself": _alone,
    "stock DCP": _stock,
}


def _read_nbytes() -> int:
    """What this process has had read from storage so far (proc(5), read_bytes)."""
    for line in Path("/proc/self/io").read_text().splitlines():
        if line.startswith("read_bytes:"):
            return int(line.split()[1])
    raise RuntimeError("/proc/self/io has no read_bytes")


def _together(load: Load, state: Tensors, path: Path) -> None:
    load(state, path)
    dist.barrier()


def _measure(saved: Tensors, path: Path, repeats: int, often: int, *, cold: bool) -> Outcome:
    name = f"{'cold' if cold else 'warm'} load of replicas"
    outcome = Outcome(name, nbytes_of(saved), ranks=dist.get_world_size())
    outcome.samples = {name: Samples() for name in LOADERS}
    turns = in_turns(list(LOADERS), repeats, often, is_close)
    for repeat, name in (*[(-1, name) for name in LOADERS], *turns):
        state = empty_like(saved)
        if dist.get_rank() == 0:
            (drop_page_cache if cold else warm_page_cache)(path)
        dist.barrier()
        samples = Samples()
        before = _read_nbytes()
        call = functools.partial(_together, LOADERS[name], state, path)
        measure(call, samples, is_ours=name.startswith(OURS))
        of_all = torch.tensor(float(_read_nbytes() - before))
        dist.all_reduce(of_all)
        outcome.notes[f"bytes read, {name}"] = (
            f"{float(of_all) / outcome.nbytes:.3f} of the state's"
        )
        require_equal(state, saved)
        if repeat >= 0:
            add_all_ranks(outcome.samples[name], samples)
    return outcome


def main() -> None:
    """Measure cold and warm loads of a state that every rank holds."""
    arguments = rank_arguments().parse_args()
    warnings.filterwarnings("ignore")
    torch.set_num_threads(1)
    dist.init_process_group("gloo")
    path = arguments.folder / "replicas"
    saved = llama_like(arguments.nbytes)
    dcpcpp.save(saved, checkpoint_id=path)
    outcomes = [
        _measure(saved, path, arguments.repeats, arguments.often, cold=True),
        _measure(saved, path, arguments.repeats, 1, cold=False),
    ]
    if dist.get_rank() == 0:
        shutil.rmtree(path, ignore_errors=True)
        arguments.out.write_text(json.dumps([dataclasses.asdict(one) for one in outcomes]))
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
