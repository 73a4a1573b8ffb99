"""Who is measured: each saves and loads a flat dict of tensors at a path."""

from __future__ import annotations

import dataclasses
import os
import shutil
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch.distributed.checkpoint import filesystem as stock_filesystem
from torch.distributed.checkpoint import state_dict_loader, state_dict_saver
from torch.distributed.checkpoint._extension import ZStandard

import dcpcpp
from dcpcpp.bench.meter import sync_file, sync_names
from dcpcpp.bench.raw import raw_read, raw_write
from dcpcpp.bench.states import Tensors, nbytes_of


@dataclass(frozen=True)
class Contestant:
    """Saves durably and loads; `name` says with which options."""

    name: str
    save: Callable[[Tensors, Path], float | None]
    load: Callable[[Tensors, Path], float | None] | None = None
    options: dict[str, Any] = field(default_factory=dict)
    files: str = ""  # contestants of the same read the same files
    is_ours: bool = False


def _quietly(call: Callable[[], Any]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        call()


def dcpcpp_contestant(threads: int = 1) -> Contestant:
    """This library with its defaults, or with `thread_count=threads`."""

    def save(state: Tensors, path: Path) -> None:
        writer = dcpcpp.FileSystemWriter(path, thread_count=threads)
        _quietly(lambda: dcpcpp.save(state, storage_writer=writer))
        sync_names(path)

    def load(state: Tensors, path: Path) -> None:
        _quietly(lambda: dcpcpp.load(state, checkpoint_id=path))

    name = "dcpcpp" if threads == 1 else f"dcpcpp, thread_count={threads}"
    return Contestant(name, save, load, {"thread_count": threads}, files=name, is_ours=True)


def verification_contestants() -> list[Contestant]:
    """This library's loads of one checkpoint, with checksums checked and not."""
    checked = dcpcpp_contestant()

    def load(state: Tensors, path: Path) -> None:
        reader = dcpcpp.FileSystemReader(path, verify=False)
        _quietly(lambda: dcpcpp.load(state, storage_reader=reader))

    return [checked, dataclasses.replace(checked, name="dcpcpp, verify=False", load=load)]


def compression_contestants() -> list[Contestant]:
    """Compression by this library and by stock DCP's extension, and none."""
    plain, stock = dcpcpp_contestant(), stock_contestant(1, "stock DCP, ZStandard()")

    def save(state: Tensors, path: Path) -> None:
        _quietly(lambda: dcpcpp.save(state, checkpoint_id=path, compression="zstd"))
        sync_names(path)

    def stock_save(state: Tensors, path: Path) -> None:
        writer = stock_filesystem.FileSystemWriter(path, _extensions=[ZStandard()])
        _quietly(lambda: state_dict_saver.save(state, storage_writer=writer))
        sync_names(path)

    return [
        dataclasses.replace(plain, save=save),
        dataclasses.replace(stock, save=stock_save),
        dataclasses.replace(plain, name="dcpcpp, not compressed", files="plain"),
    ]


def stock_contestant(threads: int, name: str) -> Contestant:
    """Stock DCP with `thread_count=threads`."""

    def save(state: Tensors, path: Path) -> None:
        writer = stock_filesystem.FileSystemWriter(path, thread_count=threads)
        _quietly(lambda: state_dict_saver.save(state, storage_writer=writer))
        sync_names(path)

    def load(state: Tensors, path: Path) -> None:
        reader = stock_filesystem.FileSystemReader(path)
        _quietly(lambda: state_dict_loader.load(state, storage_reader=reader))

    return Contestant(name, save, load, {"thread_count": threads})


def torch_contestant() -> Contestant:
    """torch.save, and torch.load with mmap."""

    def save(state: Tensors, path: Path) -> None:
        path.mkdir(parents=True)
        with (path / "state.pt").open("wb") as stream:
            torch.save(state, stream)
            stream.flush()
            os.fsync(stream.fileno())
        sync_names(path)

    def load(state: Tensors, path: Path) -> None:
        loaded = torch.load(path / "state.pt", mmap=True, weights_only=True)
        for key, tensor in state.items():
            tensor.copy_(loaded[key])

    return Contestant("torch.save / torch.load(mmap)", save, load)


def safetensors_contestant() -> Contestant:
    """The safetensors package."""
    from safetensors.torch import load_file, save_file

    def save(state: Tensors, path: Path) -> None:
        path.mkdir(parents=True)
        save_file(state, path / "model.safetensors")
        sync_file(path / "model.safetensors")
        sync_names(path)

    def load(state: Tensors, path: Path) -> None:
        loaded = load_file(path / "model.safetensors")
        for key, tensor in state.items():
            tensor.copy_(loaded[key])

    return Contestant("safetensors", save, load)


def raw_contestant(*, direct: bool, files: int = 1) -> Contestant:
    """As many bytes through plain I/O: the bar. It reads the data files that dcpcpp wrote.

    Not files of its own, because on a virtual disk two files of one size differ in speed.
    """

    def save(state: Tensors, path: Path) -> float:
        path.mkdir(parents=True)
        seconds = raw_write(path, nbytes_of(state), direct=direct, files=files)
        start = time.perf_counter()
        sync_names(path)
        return seconds + time.perf_counter() - start

    def load(state: Tensors, path: Path) -> float:
        names = sorted(file.name for file in path.glob("*.distcp"))
        return raw_read(path, names, nbytes_of(state), direct=direct)

    name = "raw device" if direct else "raw write(2)/read(2)"
    if files > 1:
        return Contestant(f"{name}, {files} files", save)
    return Contestant(name, save, load, files="dcpcpp")


def best_stock_threads(state: Tensors, folder: Path) -> int:
    """The thread_count with which stock DCP saves fastest here, by one trial each."""
    seconds: dict[int, float] = {}
    for threads in (1, 2, 4):
        path = folder / f"trial-{threads}"
        start = time.perf_counter()
        stock_contestant(threads, "trial").save(state, path)
        seconds[threads] = time.perf_counter() - start
        shutil.rmtree(path)
    return min(seconds, key=lambda threads: seconds[threads])


__all__ = [
    "Contestant",
    "best_stock_threads",
    "compression_contestants",
    "dcpcpp_contestant",
    "raw_contestant",
    "safetensors_contestant",
    "stock_contestant",
    "torch_contestant",
    "verification_contestants",
]
