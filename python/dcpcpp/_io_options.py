"""Options that the writers and readers share, for libdcp."""

from __future__ import annotations

import functools
import inspect
import os
from collections.abc import Collection, Sequence
from typing import Any

from torch.distributed.checkpoint import filesystem as torch_filesystem

from dcpcpp import _core

MIB = 1 << 20
_MIN_BUFFER_BYTES = 2 * MIB


def supported(function: Any, arguments: dict[str, Any]) -> dict[str, Any]:
    """Those of `arguments` that this torch's `function` takes."""
    known = _parameters(function)
    return {name: value for name, value in arguments.items() if name in known}


@functools.cache
def _parameters(function: Any) -> frozenset[str]:
    return frozenset(inspect.signature(function).parameters)


def storage_timeout() -> float:
    """Seconds after which a save gives up storage that does not answer.

    DCPCPP_STORAGE_TIMEOUT, or 300; 0: it never does.

    Raises:
        ValueError: it is not 0, nor a number from 1 to 86400.
    """
    text = os.environ.get("DCPCPP_STORAGE_TIMEOUT", "300")
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if seconds != 0 and not 1 <= seconds <= 86400:
        raise ValueError(
            f"DCPCPP_STORAGE_TIMEOUT must be 0, or from 1 to 86400 seconds, not {text!r}"
        )
    return seconds


def make_io_options(
    io_engine: str,
    direct_io: bool,
    io_threads: int,
    max_buffer_bytes: int,
    max_write_rate: float | None = None,
    io_nice: int = 0,
    io_cpus: Collection[int] | None = None,
) -> Any:
    if io_threads < 0:
        raise ValueError(f"io_threads is a number of threads, or 0, not {io_threads}")
    if max_buffer_bytes < _MIN_BUFFER_BYTES:
        raise ValueError(
            f"max_buffer_bytes is at least {_MIN_BUFFER_BYTES}, two transfers of 1 MiB, not "
            f"{max_buffer_bytes}"
        )
    if not 0 <= io_nice <= 19:
        raise ValueError(f"io_nice is from 0 to 19, not {io_nice}")
    if unusable := set(io_cpus or ()) - os.sched_getaffinity(0):
        raise ValueError(f"io_cpus are processors of this process, not {sorted(unusable)}")
    if max_write_rate is not None and not max_write_rate >= 1:
        raise ValueError(f"max_write_rate is bytes per second, at least 1, not {max_write_rate}")
    options = _core.IoOptions()
    options.max_write_rate = int(max_write_rate or 0)
    options.nice = io_nice
    options.cpus = sorted(set(io_cpus or ()))
    options.engine = io_engine
    options.direct_io = bool(direct_io)
    options.workers = io_threads
    options.max_buffer_nbytes = max_buffer_bytes
    options.stall_timeout_seconds = storage_timeout()
    return options


def default_threads(*, beside_training: bool = False) -> int:
    """This rank's share of the cores, by the variables that torchrun sets.

    One core less beside the training, which runs on it; one at least.
    """
    ranks = max(int(os.environ.get("LOCAL_WORLD_SIZE", "1")), 1)
    cores = len(os.sched_getaffinity(0)) // ranks - beside_training
    return min(max(cores, 1), 4)


def set_io(
    options: _core.FileSystemReaderOptions
    | _core.FileSystemWriterOptions
    | _core.HuggingFaceWriterOptions,
    io: _core.IoOptions,
    *,
    beside_training: bool = False,
) -> None:
    """Give a storage `io`, with as many threads as fit where it asks for none."""
    options.io = io
    options.io.workers = io.workers or default_threads(beside_training=beside_training)


def is_zstd(extensions: Sequence[Any]) -> bool:
    """Whether torch's `_extensions` are none, or exactly ZStandard.

    Raises:
        NotImplementedError: another extension, whose bytes only torch can make.
    """
    names = [type(extension).__name__ for extension in extensions]
    if names in ([], ["ZStandard"]):
        return bool(names)
    raise NotImplementedError(f"dcpcpp writes no stream extensions but ZStandard, not {names}")


def has_own_extensions(registry: Any) -> bool:
    """Whether an `ExtensionRegistry`, None for torch's default, knows more than torch's own."""
    return registry is not None and vars(registry) != vars(type(registry)())


def has_plain_files(storage: Any) -> bool:
    """Whether a writer's or reader's files are the machine's own, as torch makes them."""
    return type(getattr(storage, "fs", None)) is torch_filesystem.FileSystem


def core_file_system(fs: Any, rank: int) -> Any:
    """Libdcp's file system for a writer's or reader's `fs`; None for the machine's own."""
    if type(fs) is torch_filesystem.FileSystem:
        return None
    inner = getattr(fs, "fs", None)
    if type(fs).__module__ == "torch.distributed.checkpoint._fsspec_filesystem" and inner:
        from dcpcpp._fsspec import FsspecFileSystem

        return FsspecFileSystem(inner)
    from dcpcpp._torch_file_system import TorchFileSystem

    return TorchFileSystem(fs, rank)
