"""A small checkpoint that is damaged and loaded thousands of times in one process."""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import os
import resource
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import torch

import dcpcpp
from support import formats
from support.formats import FORMATS, LIBRARIES, Format
from support.scoreboard import Subject
from support.states import blank, require_equal

Outcome = Literal["detected", "unharmed", "silent"]
METADATA = ".metadata"
STOCK_NBYTES = 2 << 30


def state_of(step: int, file_format: Format = "native") -> dict[str, Any]:
    """A few hundred KiB of several dtypes; no bit of a tensor is the same at another step.

    Safetensors have no place for what is no tensor.
    """
    draw = torch.Generator().manual_seed(step)

    def integers(*sizes: int) -> torch.Tensor:
        return torch.randint(0, 100, sizes, generator=draw)

    tensors = {
        "model": {
            "embed": torch.randn(150, 256, generator=draw),
            "left": torch.randn(64, 64, generator=draw),
            "right": torch.randn(64, 64, generator=draw),
            "half": torch.randn(31, 100, generator=draw).bfloat16(),
            "double": torch.randn(77, generator=draw, dtype=torch.float64),
            "norm": torch.rand(1, generator=draw),
        },
        "mask": integers(1000) > 50,
        "ids": integers(333) + step * 1000,
        "bytes": integers(5000).to(torch.uint8),
    }
    if file_format == "safetensors":
        return tensors
    config = {"name": f"run at step {step}", "rates": [step / 7, step / 3]}
    return tensors | {"step": step, "config": config}


_TEMPLATES = {file_format: state_of(0, file_format) for file_format in FORMATS}
_FILES = {
    "model.embed": 1,
    "model.left": 2,
    "model.right": 1,
    "model.half": 2,
    "model.double": 1,
    "model.norm": 2,
    "mask": 1,
    "ids": 2,
    "bytes": 2,
}


def save(
    subject: Subject, step: int, directory: Path, file_format: Format = "native", files: int = 2
) -> Path:
    """`state_of(step)` in one data file or two."""
    writer = formats.writer(subject, file_format, directory, _FILES if files == 2 else None)
    state = state_of(step, file_format)
    with warnings.catch_warnings(action="ignore"):
        LIBRARIES[subject].save(state, storage_writer=writer, no_dist=True)
    return directory


@dataclasses.dataclass
class Loader:
    """Loads checkpoints of `state_of` and judges what comes of it."""

    subject: Subject
    file_format: Format = "native"
    error: BaseException | None = None  # of the last load

    def load(self, directory: Path) -> dict[str, Any] | None:
        """What is in `directory`, or None if loading it fails, with `error` set."""
        state: dict[str, Any] = blank(_TEMPLATES[self.file_format])
        is_ours = self.subject == "dcpcpp"
        kind: type[BaseException] = dcpcpp.CheckpointException if is_ours else BaseException
        # Threads by the dozen would cost more than the load.
        reader = formats.reader(
            self.subject, self.file_format, directory, io_engine="threads", io_threads=1
        )
        self.error = None
        # One flipped bit makes stock DCP ask for more than any machine has.
        limit = little_memory(STOCK_NBYTES) if self.subject == "stock" else contextlib.nullcontext()
        try:
            with limit, warnings.catch_warnings(action="ignore"):
                LIBRARIES[self.subject].load(state, storage_reader=reader, no_dist=True)
        except KeyboardInterrupt:
            raise
        except kind as error:
            self.error = error
            return None
        return state

    def judge(self, directory: Path, expected: dict[str, Any]) -> Outcome:
        """Whether damage is detected, does no harm, or goes unnoticed."""
        loaded = self.load(directory)
        if loaded is None:
            return "detected"
        return "unharmed" if same(loaded, expected) else "silent"


def same(loaded: dict[str, Any], expected: dict[str, Any]) -> bool:
    """Whether both states are equal, bit by bit."""
    try:
        require_equal(loaded, expected)
    except AssertionError:
        return False
    return True


class Checkpoint:
    """A checkpoint whose files are changed and put back."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.files = {path.name: path.read_bytes() for path in sorted(directory.iterdir())}
        self.data_files = [
            name for name in self.files if name.endswith((".distcp", ".safetensors"))
        ]

    def path(self, name: str) -> Path:
        """Where the file `name` lies."""
        return self.directory / name

    def data_offset(self, name: str) -> int:
        """Where the tensors of a data file begin: in native ones, at once."""
        if not name.endswith(".safetensors"):
            return 0
        return 8 + int.from_bytes(self.files[name][:8], "little")

    def put(self, name: str, content: bytes) -> None:
        """Give a file another content."""
        self.path(name).write_bytes(content)

    def flip(self, name: str, bit: int) -> None:
        """Flip one bit, counted from the file's start. Twice: as it was."""
        with self.path(name).open("r+b", buffering=0) as file:
            old = os.pread(file.fileno(), 1, bit // 8)[0]
            os.pwrite(file.fileno(), bytes([old ^ 1 << bit % 8]), bit // 8)

    def restore(self) -> None:
        """Put all files back."""
        for path in self.directory.iterdir():
            if path.name not in self.files:
                path.unlink()
        for name, content in self.files.items():
            self.put(name, content)


def count(outcomes: collections.Counter[str]) -> str:
    """The outcomes, for the scoreboard."""
    return ", ".join(f"{number:,} {outcome}" for outcome, number in sorted(outcomes.items()))


@contextlib.contextmanager
def little_memory(nbytes: int) -> Iterator[None]:
    """Lets allocations fail beyond `nbytes` more than what the process has now."""
    before = resource.getrlimit(resource.RLIMIT_AS)
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + nbytes, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """Keeps torch from waking other threads for tensors this small."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
