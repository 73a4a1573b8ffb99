"""What one rank, or the coordinator, finds wrong is raised on all ranks, with its name."""

from __future__ import annotations

import dataclasses
import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

import dcpcpp
from support import faults
from support.states import ramp

pytestmark = pytest.mark.filterwarnings("ignore:torch.distributed is")

# Two ranks load from every directory that the test has damaged, then save what cannot be.
SCENES = """
import resource
from torch.distributed.checkpoint.metadata import (
    ChunkStorageMetadata, MetadataIndex, TensorProperties)
from torch.distributed.checkpoint.planner import TensorWriteData, WriteItem, WriteItemType
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.tensor import DTensor, Shard

start()
mesh = init_device_mesh("cpu", (2,))
told = {}

def attempt(name, call):
    try:
        call()
    except dcp.CheckpointException as error:
        told[name] = {
            "kinds": [kind.__name__ for kind in type(error).__mro__],
            "text": str(error),
            "failures": {r: [type(e).__name__, str(e)] for r, (e, _) in error.failures.items()},
        }
    else:
        told[name] = "nothing was raised"

def template():
    sharded = DTensor.from_local(torch.full((32, 8), -1.0), mesh, [Shard(0)])
    return {"model": {"w": sharded, "v": torch.full((8,), -1.0)}, "step": None}

def load(path):
    state = template()
    if path.name == "another shape":
        state["model"]["v"] = torch.full((8 + rank,), -1.0)
    if path.name == "a missing key" and rank == 1:
        state["model"]["nope"] = torch.full((8,), -1.0)
    try:
        dcp.load(state, checkpoint_id=path)
    finally:
        values = [state["model"]["w"].to_local(), state["model"]["v"]]
        told[path.name + ": untouched"] = state["step"] is None and all(
            bool((value == -1).all()) for value in values)

for path in sorted((folder / "damaged").iterdir()):
    attempt(path.name, lambda: load(path))
attempt("no directory", lambda: load(folder / "no directory"))

class Rows:
    "Rows of a 6 x 4 tensor, as each rank says."
    def __init__(self, first, count):
        self.offsets, self.part = torch.Size([first, 0]), torch.ones(count, 4)
    def __create_write_items__(self, fqn, _):
        chunk = ChunkStorageMetadata(self.offsets, self.part.size())
        properties = TensorProperties.create_from_tensor(self.part)
        data = TensorWriteData(chunk=chunk, properties=properties, size=torch.Size([6, 4]))
        return [WriteItem(
            index=MetadataIndex(fqn, self.offsets), type=WriteItemType.SHARD, tensor_data=data)]
    def __create_chunk_list__(self):
        return [ChunkStorageMetadata(self.offsets, self.part.size())]
    def __get_tensor_shard__(self, index):
        return self.part

c = folder / "c"
dcp.save({"old": torch.ones(3)}, checkpoint_id=c)
before = sorted(path.name for path in c.iterdir())
attempt("rows that overlap", lambda: dcp.save(
    {"rows": Rows(2 * rank, 4), "x": Rows(3 * rank, 3)}, checkpoint_id=c))
attempt("rows that leave a gap", lambda: dcp.save({"rows": Rows(4 * rank, 2)}, checkpoint_id=c))
attempt("rows that stick out", lambda: dcp.save({"rows": Rows(4 * rank, 4)}, checkpoint_id=c))

if rank == 1:  # whose disk takes files of 8 MiB only
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
    resource.setrlimit(resource.RLIMIT_FSIZE, (8 << 20, hard))
own = {f"own-{rank}": torch.full((12 << 20,), rank, dtype=torch.uint8)}
attempt("a disk that takes no more", lambda: dcp.save(own, checkpoint_id=c))
if rank == 1:
    resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
dist.barrier()
got = {"old": torch.zeros(3)}
dcp.load(got, checkpoint_id=c)
told["old is whole"] = bool((got["old"] == 1).all())
told["files"] = before == sorted(path.name for path in c.iterdir())
tell(**told)
dist.barrier()
"""


class Touches:
    """Unpickles into a call that makes a file."""

    def __init__(self, canary: Path) -> None:
        self._canary = canary

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (f"touch {self._canary}",)


def edited(edit: Callable[[Any], object]) -> Callable[[Path], None]:
    def damage(path: Path) -> None:
        metadata = faults.read_metadata(path)
        edit(metadata)
        faults.write_metadata(path, metadata)

    return damage


def resized(metadata: Any, rows: int) -> None:
    """Say that the only chunk of model.w has so many rows of its 64."""
    stored = metadata.state_dict_metadata["model.w"]
    (chunk,) = stored.chunks
    stored.chunks = [dataclasses.replace(chunk, sizes=torch.Size([rows, 8]))]


def doubled(metadata: Any) -> None:
    """Say that rows 8 to 64 of model.w are there a second time."""
    stored = metadata.state_dict_metadata["model.w"]
    (chunk,) = stored.chunks
    again = dataclasses.replace(chunk, offsets=torch.Size([8, 0]), sizes=torch.Size([56, 8]))
    stored.chunks = [chunk, again]
    (index,) = [index for index in metadata.storage_data if index.fqn == "model.w"]
    second = dataclasses.replace(index, offset=again.offsets, index=1)
    metadata.storage_data[second] = metadata.storage_data[index]


def cut(name: str, nbytes: int) -> Callable[[Path], None]:
    return lambda path: (path / name).write_bytes((path / name).read_bytes()[:-nbytes])


def flipped(path: Path) -> None:
    data = path / "__0_0.distcp"
    faults.flip_byte(data, data.read_bytes().index(ramp(64, 8)[40:].numpy().tobytes()))


def linked(path: Path) -> None:
    outside = path.parent.parent / "elsewhere"
    (path / "__0_0.distcp").rename(outside)
    (path / "__0_0.distcp").symlink_to(outside)


CORRUPT = "CheckpointCorruptedError"
# What is done to the directory; the failed ranks, the type and the words of the error.
DAMAGED: dict[str, tuple[Callable[[Path], Any], list[str], str, list[str]]] = {
    "a cut .metadata": (cut(".metadata", 20), ["0"], CORRUPT, ["{path}/.metadata"]),
    "a .metadata that calls": (
        lambda path: (path / ".metadata").write_bytes(
            pickle.dumps(Touches(path.parent.parent / "canary"), protocol=4)
        ),
        ["0"],
        CORRUPT,
        ["{path}/.metadata"],
    ),
    "an unknown dtype": (
        lambda path: (path / ".metadata").write_bytes(
            (path / ".metadata").read_bytes().replace(b"float32", b"float99")
        ),
        ["0"],
        "NotImplementedError",
        ["float99"],
    ),
    "chunks that overlap": (edited(doubled), ["0", "1"], CORRUPT, ["model.w"]),
    "a missing chunk": (edited(lambda m: resized(m, 30)), ["0", "1"], CORRUPT, ["model.w"]),
    "a path that leaves": (
        lambda path: faults.point_at(path, "../elsewhere.distcp"),
        ["0", "1"],
        "ValueError",
        ["../elsewhere.distcp", "model.w"],
    ),
    "a link to elsewhere": (linked, ["0", "1"], "ValueError", ["{path}", "__0_0.distcp"]),
    "a cut data file": (cut("__0_0.distcp", 2000), ["0", "1"], CORRUPT, ["__0_0.distcp"]),
    "no data file": (
        lambda path: (path / "__0_0.distcp").unlink(),
        ["0", "1"],
        "FileNotFoundError",
        ["{path}/__0_0.distcp"],
    ),
    "a flipped bit": (flipped, ["0", "1"], CORRUPT, ["__0_0.distcp", "model.w"]),
    "another shape": (lambda path: None, ["1"], "ValueError", ["Size mismatch", "model.v"]),
    "a missing key": (lambda path: None, ["1"], "RuntimeError", ["Missing key", "model.nope"]),
}
# The same of what is not there, and of saves.
OTHERS: dict[str, tuple[list[str], str, list[str]]] = {
    "no directory": (["0"], "FileNotFoundError", ["no directory"]),
    "rows that overlap": (["0"], "ValueError", ["rows"]),
    "rows that leave a gap": (["0"], "ValueError", ["rows"]),
    "rows that stick out": (["1"], "ValueError", ["rows"]),
    "a disk that takes no more": (["1"], "OSError", ["/c/__1_"]),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("ranks")


@pytest.fixture(scope="module")
def told(folder: Path) -> list[dict[str, Any]]:
    """What each of two ranks saw."""
    for name, (damage, *_) in DAMAGED.items():
        path = folder / "damaged" / name
        state = {"model": {"w": ramp(64, 8), "v": ramp(8)}, "step": 7}
        dcpcpp.save(state, checkpoint_id=path)
        faults.forget_checksums(path)
        damage(path)
    ranks = faults.run_ranks(SCENES, 2, folder)
    return [ranks.told(rank) for rank in range(2)]


EXPECTED = {name: expected[1:] for name, expected in DAMAGED.items()} | OTHERS


@pytest.mark.parametrize("name", EXPECTED)
def test_all_ranks_raise_and_name_who_failed_at_what(
    told: list[dict[str, Any]], folder: Path, name: str
) -> None:
    ranks, kind, words = EXPECTED[name]
    for seen in (of_rank[name] for of_rank in told):
        assert seen != "nothing was raised"
        assert list(seen["failures"]) == ranks, seen
        assert (CORRUPT in seen["kinds"]) == (kind == CORRUPT)
        if name in DAMAGED:
            assert f"in a load from {folder / 'damaged' / name}" in seen["text"]
        for rank, (type_name, cause) in seen["failures"].items():
            assert type_name == kind, seen
            for word in words:
                text = word.format(path=folder / "damaged" / name)
                assert text in cause
                assert text in seen["text"]
            assert f"(RANK {rank})" in seen["text"]
    assert told[0][name]["failures"] == told[1][name]["failures"]


def test_nothing_is_loaded_where_the_plan_fails(told: list[dict[str, Any]]) -> None:
    for name in DAMAGED:
        # What is wrong with data is seen when others are in their place already.
        if name not in ("a flipped bit", "a cut data file"):
            assert all(of_rank[f"{name}: untouched"] for of_rank in told), name


def test_no_code_of_a_checkpoint_is_run(told: list[dict[str, Any]], folder: Path) -> None:
    assert told
    assert not (folder / "canary").exists()


def test_failed_saves_of_ranks_leave_the_old_checkpoint(told: list[dict[str, Any]]) -> None:
    assert all(of_rank["old is whole"] and of_rank["files"] for of_rank in told)
