"""Saves and loads where the system forbids io_uring, or most locked memory.

The same bytes and results, and one line in the log that says what serves and why. The
C++ tests with the tag [R25] forbid more, and look at the files more closely.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from support import faults
from support.forbidden import FORBID
from support.scoreboard import report

RESTRICTED = (
    FORBID
    + """
import ctypes, hashlib, json, logging, pathlib, resource, struct, sys, warnings
warnings.simplefilter("ignore")
import torch, dcpcpp
from dcpcpp import _config

def lock_little():
    "64 KiB, and nobody may lock more, not even root."
    resource.setrlimit(resource.RLIMIT_MEMLOCK, (65536, 65536))
    libc = ctypes.CDLL(None, use_errno=True)
    header, nothing = struct.pack("Ii", 0x20080522, 0), bytes(24)
    assert libc.syscall(126, ctypes.c_char_p(header), ctypes.c_char_p(nothing)) == 0  # capset

path, restriction = pathlib.Path(sys.argv[1]), sys.argv[2]
if restriction == "EPERM":
    forbid(IO_URING_SETUP, fails_with(1))
elif restriction == "ENOSYS":
    forbid(IO_URING_SETUP, fails_with(38))
elif restriction == "memlock":
    lock_little()

said = []
handler = logging.Handler()
handler.emit = lambda record: said.append(record.getMessage())
logging.getLogger("dcpcpp").addHandler(handler)
logging.getLogger("dcpcpp").setLevel(logging.INFO)

state = {"w": torch.arange(3_000_000.0), "step": 7}
for _ in range(2):
    dcpcpp.save(state, checkpoint_id=path)
got = {"w": torch.zeros(3_000_000), "step": 0}
dcpcpp.load(got, checkpoint_id=path)
same = torch.equal(got["w"], state["w"]) and got["step"] == 7
files = {f.name: hashlib.sha256(f.read_bytes()).hexdigest() for f in path.glob("*.distcp")}
told = {"said": list(said), "refused": ""}
try:
    writer = dcpcpp.FileSystemWriter(path, io_engine="io_uring")
    dcpcpp.save(state, storage_writer=writer)
except dcpcpp.CheckpointException as error:
    told["refused"] = str(error.failures[0][0])
told |= {"same": same, "files": files, "engine": _config.config()["I/O engine"]}
print(json.dumps(told))
"""
)


@pytest.mark.row("R25")
def test_what_the_system_forbids_is_done_without_and_told_once(tmp_path: Path) -> None:
    def run(restriction: str) -> dict[str, Any]:
        done = faults.run_python(RESTRICTED, tmp_path / restriction, restriction)
        assert done.returncode == 0, done.stderr
        told: dict[str, Any] = json.loads(done.stdout)
        return told

    free = run("nothing")
    reasons = {"EPERM": "Operation not permitted", "ENOSYS": "Function not implemented"}
    for restriction in ("EPERM", "ENOSYS", "memlock"):
        told = run(restriction)
        assert told["same"]
        assert told["files"] == free["files"]
        said = [line for line in told["said"] if line.startswith("I/O engine: ")]
        assert len(said) == 1, told["said"]
        if restriction in reasons:
            assert said[0].startswith("I/O engine: threads (io_uring_setup: ")
            assert reasons[restriction] in said[0]
            assert told["engine"].startswith("threads (io_uring_setup: ")
            assert "io_uring was asked for and does not work here" in told["refused"]
    report(
        "R25", "from Python: io_uring EPERM, ENOSYS; little locked memory", count=3, bad=0, seed=0
    )
