"""The end of a process in which a save runs: it is finished, and nothing crashes."""

from __future__ import annotations

import math
import signal
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path
from typing import Any

import pytest
import torch

import dcpcpp
from support import faults

SAVES_IN_A_THREAD = """
import os, signal, sys, threading, time, warnings
warnings.simplefilter("ignore")
from pathlib import Path
import torch, dcpcpp
torch.set_num_threads(1)
folder = Path(sys.argv[1])
dcpcpp.save({"w": torch.zeros(9)}, checkpoint_id=folder / "first")

def start_saving():
    state = {"w": torch.arange(40_000_000)}
    save = lambda: dcpcpp.save(state, checkpoint_id=folder / "c")
    threading.Thread(target=save, daemon=True).start()
    while not list(folder.glob("c/__0_*")):
        time.sleep(0.001)
"""


def run(script: str, folder: Path) -> subprocess.CompletedProcess[str]:
    return faults.run_python(SAVES_IN_A_THREAD + textwrap.dedent(script), folder)


def is_saved(folder: Path) -> bool:
    state = {"w": torch.zeros(40_000_000, dtype=torch.int64)}
    dcpcpp.load(state, checkpoint_id=folder / "c")
    return torch.equal(state["w"], torch.arange(40_000_000))


@pytest.mark.timeout(120)
@pytest.mark.parametrize(
    ("end", "code"),
    [("", 0), ("sys.exit(3)", 3), ("raise ValueError('the end')", 1)],
    ids=["end of script", "sys.exit", "error"],
)
def test_the_interpreter_finishes_a_save_before_it_ends(
    tmp_path: Path, end: str, code: int
) -> None:
    done = run(f"start_saving()\n{end}", tmp_path)
    assert done.returncode == code, done.stderr
    assert "terminate" not in done.stderr
    assert is_saved(tmp_path)


@pytest.mark.timeout(120)
def test_ranks_finish_a_save_before_they_end(tmp_path: Path) -> None:
    script = """
    start()
    import threading
    state = {f"own-{rank}": torch.full((20_000_000,), float(rank))}
    threading.Thread(
        target=lambda: dcp.save(state, checkpoint_id=folder / "c"), daemon=True).start()
    while not list(folder.glob(f"c/__{rank}_*")):
        time.sleep(0.001)
    """
    faults.run_ranks(script, 2, tmp_path)
    state = {f"own-{rank}": torch.zeros(20_000_000) for rank in range(2)}
    dcpcpp.load(state, checkpoint_id=tmp_path / "c")
    assert all(bool((state[f"own-{rank}"] == rank).all()) for rank in range(2))


@pytest.mark.timeout(120)
def test_sigterm_with_a_time_of_grace(tmp_path: Path) -> None:
    script = """
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0 if dcpcpp.flush(60) else 1))
    start_saving()
    print("saving", flush=True)
    time.sleep(60)
    """
    program = SAVES_IN_A_THREAD + textwrap.dedent(script)
    command = [sys.executable, "-c", program, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "saving\n"
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0
    assert is_saved(tmp_path)


class Blocked:
    """A Stateful whose state_dict() waits for `go`, and may call something first."""

    def __init__(self) -> None:
        self.go = threading.Event()
        self.has_begun = threading.Event()
        self.seen: list[bool] = []

    def state_dict(self) -> dict[str, Any]:
        self.seen.append(dcpcpp.flush(60))
        self.has_begun.set()
        assert self.go.wait(60)
        return {"x": torch.ones(3)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Nothing to do."""


def test_flush_waits_for_the_saves_of_other_threads(tmp_path: Path) -> None:
    assert dcpcpp.flush()
    blocked = Blocked()
    save = threading.Thread(
        target=lambda: dcpcpp.save({"b": blocked}, checkpoint_id=tmp_path / "c")
    )
    save.start()
    assert blocked.has_begun.wait(60)
    begun = time.monotonic()
    assert not dcpcpp.flush(0.2)
    assert 0.2 <= time.monotonic() - begun < 10
    threading.Timer(0.3, blocked.go.set).start()
    assert dcpcpp.flush(math.inf)
    state = {"b.x": torch.zeros(3)}
    dcpcpp.load(state, checkpoint_id=tmp_path / "c")
    assert torch.equal(state["b.x"], torch.ones(3))
    save.join()


def test_flush_does_not_wait_for_the_save_that_it_interrupted(tmp_path: Path) -> None:
    blocked = Blocked()
    blocked.go.set()
    dcpcpp.save({"b": blocked}, checkpoint_id=tmp_path / "c")
    assert blocked.seen == [False]


def test_a_save_that_failed_is_not_waited_for(tmp_path: Path) -> None:
    with pytest.raises(dcpcpp.CheckpointException):
        dcpcpp.save({"f": lambda: 1}, checkpoint_id=tmp_path / "c")
    assert dcpcpp.flush(0.0)


FORKS_FROM_A_RANK = """
import os, threading
start()

def child(call):
    pid = os.fork()
    if pid == 0:
        try:
            call()
            os._exit(0)
        except RuntimeError as error:
            os._exit(7 if "forked from a rank" in str(error) else 8)
        except BaseException:
            os._exit(9)
    return os.waitpid(pid, 0)[1] >> 8

state = {f"own-{rank}": torch.full((20_000_000,), 1.0)}
if FIRST:
    dcp.save(state, checkpoint_id=folder / "first")
dcp.save, dcp.load  # imports torch's checkpoint package: a fork in an import hangs
saves = threading.Thread(target=lambda: dcp.save(state, checkpoint_id=folder / "c"))
saves.start()
small = {"x": torch.zeros(3)}
codes = [
    child(lambda: dcp.save(small, checkpoint_id=folder / f"child-{rank}")),
    child(lambda: dcp.load(small, checkpoint_id=folder / f"child-{rank}")),
    child(lambda: dcp.save(small, checkpoint_id=folder / f"alone-{rank}", no_dist=True)),
    child(lambda: dcp.flush() or 1 / 0),
]
saves.join()
dcp.save(state, checkpoint_id=folder / "after")
got = {f"own-{rank}": torch.zeros(20_000_000)}
dcp.load(got, checkpoint_id=folder / "c")
tell(codes=codes, right=torch.equal(got[f"own-{rank}"], state[f"own-{rank}"]))
dist.barrier()
"""


@pytest.mark.timeout(120)
@pytest.mark.parametrize("first", [True, False], ids=["after a save", "in the first save"])
def test_a_process_forked_from_a_rank_gets_an_error_and_disturbs_nobody(
    tmp_path: Path, first: bool
) -> None:
    """As a DataLoader forks, while a save runs in another thread."""
    ranks = faults.run_ranks(f"FIRST = {first}\n" + FORKS_FROM_A_RANK, 2, tmp_path)
    for rank in range(2):
        assert ranks.told(rank) == {"codes": [7, 7, 0, 0], "right": True}
