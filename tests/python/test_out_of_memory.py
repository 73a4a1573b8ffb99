"""Saves and loads of a process that gets no more memory: an error, never a crash."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import pytest

from support import faults
from support.saving import HOWS, SUFFIX, How
from support.scoreboard import report, trials

LIMITED = """
import json, os, pathlib, resource, signal, sys, warnings
warnings.simplefilter("ignore")
import torch, dcpcpp

from support.saving import Way

path, count, way = pathlib.Path(sys.argv[1]), int(sys.argv[2]), Way(sys.argv[3])
state = {"w": torch.arange(4_000_000.0), "names": [str(i) for i in range(1000)]}
want = {"w": torch.zeros(4_000_000), "names": []}
dcpcpp.save(state, checkpoint_id=path)
dcpcpp.load(want, checkpoint_id=path)

def address_space():
    pages = int(pathlib.Path("/proc/self/statm").read_text().split()[0])
    return pages * resource.getpagesize()

def attempt(call, extra):
    "What `call` raises in a process that may grow by `extra` bytes, and keeps no buffers."
    reader, writer = os.pipe()
    if child := os.fork():
        os.close(writer)
        with os.fdopen(reader) as stream:
            name = stream.read()
        status = os.waitpid(child, 0)[1]
        return name if status == 0 else f"status {status}"
    signal.alarm(60)
    try:
        limit = address_space() + extra
        resource.setrlimit(resource.RLIMIT_AS, (limit, resource.RLIM_INFINITY))
        call()
        name = b"ok"
    except MemoryError:
        name = b"MemoryError"
    except dcpcpp.CheckpointException:
        name = b"CheckpointException"
    os.write(writer, name)
    os._exit(0)

ended, wrong = {}, []
for i in range(count):
    # A thread of Python's that finds no memory to begin with is waited for in Thread.start().
    least = 0 if way.how == "save" else 16 << 20
    extra = least + i * (256 << 20) // count
    state["w"] += 1
    saved = attempt(lambda: way.save(state, checkpoint_id=path), extra)
    loaded = attempt(lambda: dcpcpp.load(want, checkpoint_id=path), extra)
    dcpcpp.load(want, checkpoint_id=path)
    expected = state["w"] if saved == "ok" else state["w"] - 1
    if not torch.equal(want["w"], expected):
        wrong.append(extra)
    dcpcpp.save(state, checkpoint_id=path)  # with memory, the next one works
    for name in (saved, loaded):
        ended[name] = ended.get(name, 0) + 1
print(json.dumps({"ended": ended, "wrong": wrong}))
"""


@pytest.mark.row("R7")
@pytest.mark.timeout(900)
@pytest.mark.parametrize("how", HOWS)
def test_a_process_without_memory_gets_an_error(
    tmp_path: Path, how: How, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(Path(__file__).parent), *sys.path]))
    count = trials(quick=12 if how == "save" else 2, deep=200)
    done = faults.run_python(LIMITED, tmp_path / "c", count, how, timeout=600)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert not told["wrong"]
    assert told["ended"].get("ok")
    assert len(told["ended"]) > 1, "no call was short of memory"
    assert set(told["ended"]) <= {"ok", "MemoryError", "CheckpointException"}
    report(
        "R7",
        f"Python: saves and loads with little address space left (RLIMIT_AS){SUFFIX[how]}",
        count=2 * count,
        bad=len(told["wrong"]),
        seed=0,
        note=", ".join(f"{n} {name}" for name, n in told["ended"].items()),
    )
