"""What fails on one rank is known to all, under that rank's number."""

from __future__ import annotations

from typing import Any

import pytest

from support import faults

SCENES = """
start()
c = folder / "c"
told = {}

def attempt(name, call):
    try:
        call()
    except dcp.CheckpointException as error:
        told[name] = {r: [type(e).__name__, str(e)] for r, (e, _) in error.failures.items()}
        told[name + ": type"] = [kind.__name__ for kind in type(error).__mro__]
    except (RuntimeError, ValueError, TypeError) as error:  # before the ranks met
        told[name] = {rank: [type(error).__name__, str(error)]}
    else:
        told[name] = {}

def state(value):
    return {"shared": torch.full((70_000,), value), f"own-{rank}": value, "x": torch.zeros(3)}

class NotHarmless:
    pass

class FailingPlanner(dcp.DefaultSavePlanner):
    def create_local_plan(self):
        if rank == 1:
            raise LookupError("planner of rank 1")
        return super().create_local_plan()

def failing_stateful():
    class Failing:
        def state_dict(self):
            raise ZeroDivisionError("state of rank 1")
        def load_state_dict(self, state):
            pass
    return Failing()

def check_whole(name, value):
    got = state(0.0)
    dcp.load(got, checkpoint_id=c)
    told[name] = bool((got["shared"] == value).all()) and got[f"own-{rank}"] == value

dcp.save(state(1.0), checkpoint_id=c)
before = sorted(path.name for path in c.iterdir())

# Saves over the one that is there.
attempt("not picklable", lambda: dcp.save(
    state(2.0) | ({"f": lambda: 1} if rank == 1 else {}), checkpoint_id=c))
attempt("all fail", lambda: dcp.save({"f": lambda: 1}, checkpoint_id=c))
attempt("stateful fails", lambda: dcp.save(
    state(2.0) | {"s": failing_stateful() if rank == 1 else 3}, checkpoint_id=c))
attempt("planner fails", lambda: dcp.save(
    state(2.0), checkpoint_id=c, planner=FailingPlanner()))
attempt("exists", lambda: dcp.save(
    state(2.0), storage_writer=dcp.FileSystemWriter(c, overwrite=False)))
before_chdir = os.getcwd()
os.chdir("/proc" if rank == 1 else folder)  # the same path is another directory then
attempt("no directory", lambda: dcp.save(state(2.0), checkpoint_id="/proc/self/cwd/c"))
os.chdir(before_chdir)
attempt("write fails", lambda: dcp.save(
    state(2.0), storage_writer=dcp.FsspecWriter("broken://x")))
attempt("no storage to save to", lambda: dcp.save(
    state(2.0), checkpoint_id="nosuch://x" if rank == 1 else c))
attempt("coordinator without storage", lambda: dcp.save(
    state(2.0), checkpoint_id="nosuch://x" if rank == 0 else c))
attempt("wrong option", lambda: dcp.save(
    state(2.0), checkpoint_id=c, compression="lz4" if rank == 1 else None))
attempt("key that is no text", lambda: dcp.save(
    state(2.0) | ({"\\ud800": 1} if rank == 1 else {}), checkpoint_id=c))
attempt("third party fails", lambda: dcp.save(
    state(2.0), storage_writer=dcp.FsspecWriter("broken://own")))
dist.barrier()
told["files"] = before == sorted(path.name for path in c.iterdir())
check_whole("old is whole", 1.0)

# Loads.
attempt("missing key", lambda: dcp.load(
    state(0.0) | ({"nope": torch.zeros(1)} if rank == 1 else {}), checkpoint_id=c))
attempt("wrong shape", lambda: dcp.load({"x": torch.zeros(3 + rank)}, checkpoint_id=c))
attempt("no checkpoint", lambda: dcp.load({"x": torch.zeros(3)}, checkpoint_id=folder / "none"))
attempt("no storage to load from", lambda: dcp.load(
    state(0.0), checkpoint_id="nosuch://x" if rank == 1 else c))
attempt("coordinator cannot read", lambda: dcp.load(
    state(0.0), checkpoint_id="nosuch://x" if rank == 0 else c))
unusable = dcp.FileSystemReader(c)
unusable.path = 5 if rank == 1 else c
attempt("wrong path", lambda: dcp.load(state(0.0), storage_reader=unusable))

dcp.save({f"own-{rank}": NotHarmless() if rank == 1 else 1}, checkpoint_id=folder / "o")
got = {f"own-{rank}": None}
attempt("object refused", lambda: dcp.load(got, checkpoint_id=folder / "o"))
told["object refused: state"] = got[f"own-{rank}"] is None

dist.barrier()
if rank == 0:
    (data,) = c.glob("__1_*")
    content = bytearray(data.read_bytes())
    content[len(content) // 2] ^= 1
    data.write_bytes(content)
dist.barrier()
# Only rank 1 reads the damaged file.
key = f"own-{rank}"
attempt("damage", lambda: dcp.load({key: 0.0}, checkpoint_id=c))

# The group is as good as before.
dcp.save(state(3.0), checkpoint_id=c)
check_whole("new is whole", 3.0)
tell(**told)
"""

BROKEN_FSSPEC = """
import fsspec
from fsspec.implementations.memory import MemoryFileSystem

class BucketError(Exception):
    pass

class Broken(MemoryFileSystem):
    protocol = "broken"
    store = {}
    def _open(self, path, mode="rb", **kwargs):
        if rank == 1 and "w" in mode and "own" in path:
            raise BucketError("no such tenant")
        if rank == 1 and "w" in mode:
            raise OSError(5, "the bucket is on fire", path)
        return super()._open(path, mode, **kwargs)

fsspec.register_implementation("broken", Broken)
"""


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """What each of two ranks saw."""
    folder = tmp_path_factory.mktemp("ranks")
    ranks = faults.run_ranks(BROKEN_FSSPEC + SCENES, 2, folder)
    return [ranks.told(rank) for rank in range(2)]


FAILURES: dict[str, dict[str, tuple[str, str]]] = {
    "not picklable": {"1": ("AttributeError", "<lambda>")},
    "all fail": {"0": ("AttributeError", "<lambda>"), "1": ("AttributeError", "<lambda>")},
    "stateful fails": {"1": ("ZeroDivisionError", "state of rank 1")},
    "planner fails": {"1": ("LookupError", "planner of rank 1")},
    "exists": {"0": ("RuntimeError", "already exists")},
    "no directory": {"1": ("FileNotFoundError", "/proc/self/cwd/c")},
    "write fails": {"1": ("OSError", "the bucket is on fire")},
    "third party fails": {"1": ("StorageError", "BucketError: no such tenant")},
    "no storage to save to": {"1": ("RuntimeError", "Cannot detect")},
    "coordinator without storage": {"0": ("RuntimeError", "Cannot detect")},
    "wrong option": {"1": ("ValueError", "compression must be")},
    "key that is no text": {"1": ("ValueError", "the key '\\ud800' is not Unicode text")},
    "no storage to load from": {"1": ("RuntimeError", "Cannot detect")},
    "coordinator cannot read": {"0": ("RuntimeError", "Cannot detect")},
    "wrong path": {"1": ("TypeError", "not int")},
    "missing key": {"1": ("RuntimeError", "Missing key in checkpoint state_dict: nope.")},
    "wrong shape": {"1": ("ValueError", "Size mismatch")},
    "no checkpoint": {"0": ("FileNotFoundError", "none")},
    "object refused": {"1": ("UnpicklingError", "'own-1' is not loaded")},
    "damage": {"1": ("CheckpointCorruptedError", "own-1")},
}


@pytest.mark.parametrize("scene", FAILURES)
def test_every_rank_learns_which_rank_failed_and_why(
    told: list[dict[str, Any]], scene: str
) -> None:
    for rank in range(2):
        seen = told[rank][scene]
        assert list(seen) == list(FAILURES[scene]), f"on rank {rank}: {seen}"
        for failed, (kind, text) in FAILURES[scene].items():
            assert text in seen[failed][1]
            # An exception of a class that is not built in keeps its name only.
            assert kind == seen[failed][0] or (
                seen[failed][0] == "RuntimeError" and seen[failed][1].startswith(f"{kind}: ")
            )


def test_failed_saves_leave_the_old_checkpoint_and_no_files(told: list[dict[str, Any]]) -> None:
    assert all(seen["old is whole"] and seen["files"] for seen in told)


def test_the_kind_of_damage_is_known_on_all_ranks(told: list[dict[str, Any]]) -> None:
    for seen in told:
        assert "CheckpointCorruptedError" in seen["damage: type"]
        assert "Exception" in seen["missing key: type"]


def test_nothing_is_put_into_the_state_where_another_rank_failed(
    told: list[dict[str, Any]],
) -> None:
    assert all(seen["object refused: state"] for seen in told)


def test_the_group_works_after_all_these_failures(told: list[dict[str, Any]]) -> None:
    assert all(seen["new is whole"] for seen in told)
