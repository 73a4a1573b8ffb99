"""Tools of the tests that break things: damage, small disks, ranks that fail."""

from __future__ import annotations

import contextlib
import json
import os
import pickle
import signal
import socket
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch.distributed.checkpoint.metadata import Metadata

GOLDEN = Path(__file__).parents[2] / "golden" / "torch-2.13.0-py3.11"


def read_metadata(directory: Path) -> Metadata:
    """Torch's object of a `.metadata` that a test wrote itself."""
    metadata: Metadata = pickle.loads((directory / ".metadata").read_bytes())
    return metadata


def write_metadata(directory: Path, metadata: object) -> None:
    (directory / ".metadata").write_bytes(pickle.dumps(metadata, protocol=4))


def point_at(directory: Path, relative_path: str) -> None:
    """Make the metadata name one file as that of every item."""
    metadata = read_metadata(directory)
    for info in metadata.storage_data.values():
        info.relative_path = relative_path
    write_metadata(directory, metadata)


def forget_checksums(directory: Path) -> None:
    """Make a checkpoint of ours look like one of stock torch: items carry CRCs only."""
    metadata = read_metadata(directory)
    assert metadata.storage_meta is not None
    metadata.storage_meta.save_id = "stock"
    write_metadata(directory, metadata)


def flip_byte(path: Path, offset: int) -> None:
    data = bytearray(path.read_bytes())
    data[offset] ^= 0x40
    path.write_bytes(data)


def content(directory: Path) -> dict[str, bytes]:
    """Every file beneath `directory` and its bytes."""
    return {
        str(path.relative_to(directory)): path.read_bytes()
        for path in sorted(directory.rglob("*"))
        if path.is_file()
    }


def same(left: dict[str, Any], right: dict[str, Any]) -> bool:
    return left.keys() == right.keys() and all(
        torch.equal(value, right[key]) if isinstance(value, torch.Tensor) else value == right[key]
        for key, value in left.items()
    )


@contextlib.contextmanager
def small_disk(directory: Path, nbytes: int) -> Iterator[Path]:
    """A file system of its own with `nbytes`, at `directory`. Needs root."""
    directory.mkdir(exist_ok=True)
    mount = ["mount", "-t", "tmpfs", "-o", f"size={nbytes}", "tmpfs", str(directory)]
    subprocess.run(mount, check=True, capture_output=True)
    try:
        yield directory
    finally:
        subprocess.run(["umount", "-l", str(directory)], check=True, capture_output=True)


@contextlib.contextmanager
def maybe_small_disk(directory: Path, nbytes: int) -> Iterator[Path | None]:
    """The same; None where this process may not mount."""
    if can_mount(directory.parent):
        with small_disk(directory, nbytes) as disk:
            yield disk
    else:
        yield None


def can_mount(directory: Path) -> bool:
    try:
        with small_disk(directory / "probe", 1 << 20):
            return True
    except (OSError, subprocess.CalledProcessError):
        return False


def run_python(
    script: str, *args: object, timeout: float = 120
) -> subprocess.CompletedProcess[str]:
    """Run `script` in a process of its own."""
    command = [sys.executable, "-c", textwrap.dedent(script), *map(str, args)]
    return subprocess.run(command, capture_output=True, text=True, timeout=timeout, check=False)


_PRELUDE = """
import json, os, signal, sys, time, warnings
from datetime import timedelta
from pathlib import Path
warnings.simplefilter("ignore")
import torch
import torch.distributed as dist
torch.set_num_threads(1)
rank, world = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
folder = Path(os.environ["TEST_FOLDER"])

def start(seconds=60):
    dist.init_process_group("gloo", timeout=timedelta(seconds=seconds))

def tell(**fields):
    (folder / f"told-{rank}.json").write_text(json.dumps(fields))

import dcpcpp as dcp
"""


@dataclass
class Ranks:
    """Processes that run one script as the ranks of a job."""

    folder: Path
    processes: list[subprocess.Popen[str]] = field(default_factory=list)

    def wait(self, timeout: float) -> list[int]:
        """Exit codes; what is still running at the end of `timeout` is killed: None."""
        deadline = time.monotonic() + timeout
        codes = []
        for process in self.processes:
            try:
                process.wait(max(deadline - time.monotonic(), 0.1))
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
                codes.append(-signal.SIGALRM)
                continue
            codes.append(process.returncode)
        return codes

    def told(self, rank: int) -> dict[str, Any]:
        """What `rank` passed to tell()."""
        path = self.folder / f"told-{rank}.json"
        if not path.exists():
            raise AssertionError(f"rank {rank} told nothing:\n{self.errors(rank)}")
        fields: dict[str, Any] = json.loads(path.read_text())
        return fields

    def errors(self, rank: int) -> str:
        return (self.folder / f"stderr-{rank}").read_text()[-4000:]


def start_ranks(script: str, world_size: int, folder: Path) -> Ranks:
    """Start `script` as each rank; it may use what _PRELUDE defines."""
    program = folder / "script.py"
    program.write_text(_PRELUDE + textwrap.dedent(script))
    ranks = Ranks(folder)
    port = _free_port()
    for rank in range(world_size):
        variables = {
            "RANK": rank,
            "LOCAL_RANK": rank,
            "WORLD_SIZE": world_size,
            "LOCAL_WORLD_SIZE": world_size,
            "MASTER_ADDR": "127.0.0.1",
            "MASTER_PORT": port,
            "TEST_FOLDER": folder,
        }
        environment = {**os.environ, **{name: str(value) for name, value in variables.items()}}
        with (folder / f"stderr-{rank}").open("w") as stderr:
            ranks.processes.append(
                subprocess.Popen(
                    [sys.executable, str(program)], env=environment, stderr=stderr, text=True
                )
            )
    return ranks


def run_ranks(script: str, world_size: int, folder: Path, timeout: float = 120) -> Ranks:
    """Run `script` as each rank; every rank must end well."""
    ranks = start_ranks(script, world_size, folder)
    codes = ranks.wait(timeout)
    if any(codes):
        errors = "\n".join(f"rank {r}:\n{ranks.errors(r)}" for r in range(world_size))
        raise AssertionError(f"ranks ended with {codes}\n{errors}")
    return ranks


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
