"""What a save or a load adds to the process is bounded, for tensors of every kind and objects."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

MIB = 1 << 20

# In a process of its own, whose memory nobody else uses.
PREAMBLE = """
import json, sys, warnings
from pathlib import Path
warnings.simplefilter("ignore")
import torch, dcpcpp

def mib(field):
    status = Path("/proc/self/status").read_text()
    return int(status.partition(field + ":")[2].split()[0]) / 1024

def added_by(call, **arguments):
    Path("/proc/self/clear_refs").write_text("5")  # forgets VmHWM
    before = mib("VmRSS")
    call(checkpoint_id=sys.argv[1] + "/c", **arguments)
    return mib("VmHWM") - before

small = {"w": torch.ones(9), "o": (1, torch.ones(9))}
dcpcpp.save(small, checkpoint_id=sys.argv[1] + "/warm-up")
dcpcpp.load(small, checkpoint_id=sys.argv[1] + "/warm-up")
"""


def measured(script: str, directory: Path) -> Any:
    """What `script`, which runs after PREAMBLE, prints."""
    command = [sys.executable, "-c", PREAMBLE + script, str(directory)]
    return json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


@pytest.mark.parametrize("compression", [None, "zstd"])
def test_a_large_object_is_there_once_beside_its_pickle(
    tmp_path: Path, compression: str | None
) -> None:
    # The pickle of 300 MiB, and the object itself on loading: torch makes these, too.
    save, load = measured(
        f"""
state = {{"o": (torch.randint(256, (300 << 20,), dtype=torch.uint8),)}}
save = added_by(dcpcpp.save, state_dict=state, compression={compression!r})
del state
print(json.dumps([save, added_by(dcpcpp.load, state_dict={{"o": None}})]))
""",
        tmp_path,
    )
    assert 290 < save < 300 + 256
    assert 590 < load < 600 + 256


def test_many_objects_are_decoded_one_after_the_other(tmp_path: Path) -> None:
    load = measured(
        """
state = {str(i): (torch.full((40 << 20,), i, dtype=torch.uint8),) for i in range(10)}
dcpcpp.save(state, checkpoint_id=sys.argv[1] + "/c")
empty = dict.fromkeys(state)
del state
print(added_by(dcpcpp.load, state_dict=empty))
""",
        tmp_path,
    )
    assert 390 < load < 400 + 256
