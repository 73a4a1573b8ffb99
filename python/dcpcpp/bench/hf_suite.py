"""What `dcpcpp bench --hf` measures: saves, loads and conversions to safetensors."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch.distributed.checkpoint import state_dict_loader
from torch.distributed.checkpoint.hf_storage import HuggingFaceStorageReader as StockReader
from torch.distributed.checkpoint.quantized_hf_storage import (
    QuantizedHuggingFaceStorageReader as StockQuantizedReader,
)

import dcpcpp
from dcpcpp.bench.contestants import Contestant
from dcpcpp.bench.conversions import measure_conversions
from dcpcpp.bench.measures import Outcome, Progress, measure_loads
from dcpcpp.bench.raw import raw_read
from dcpcpp.bench.states import Tensors, llama_like, nbytes_of
from dcpcpp.bench.suite import OFTEN_ON_DISK, measure_ranks

_FILES = 4  # of the model, as published ones have several
_SCALED = 128  # rows and columns that share a scale
# Stock's reader of quantized weights takes several seconds for a GiB.
_MAX_NBYTES_QUANTIZED = 1 << 30


def _names() -> list[str]:
    return [f"model-{n:05}-of-{_FILES:05}.safetensors" for n in range(1, _FILES + 1)]


def _write_model(stored: Tensors, path: Path) -> None:
    """As a published model: several files, and an index."""
    path.mkdir(parents=True)
    keys = list(stored)
    weight_map = {key: _names()[i * _FILES // len(keys)] for i, key in enumerate(keys)}
    for name in _names():
        held = {key: stored[key] for key in keys if weight_map[key] == name}
        save_file(held, path / name, metadata={"format": "pt"})
    index = {"metadata": {"total_size": nbytes_of(stored)}, "weight_map": weight_map}
    (path / "model.safetensors.index.json").write_text(json.dumps(index))


def _reading(
    name: str, save: Callable[[Tensors, Path], None], make_reader: Callable[[Path], Any], load: Any
) -> Contestant:
    def run(state: Tensors, path: Path) -> None:
        with warnings.catch_warnings():  # of a load in one process
            warnings.simplefilter("ignore")
            load(state, storage_reader=make_reader(path))

    return Contestant(name, save, run, files="model", is_ours=load is dcpcpp.load)


def _readers(save: Callable[[Tensors, Path], None], ours: Any, stocks: Any) -> list[Contestant]:
    """Loads with a reader of ours, and of stock's with one thread and with one for each file."""
    stock = state_dict_loader.load
    return [
        _reading("dcpcpp", save, ours, dcpcpp.load),
        _reading("stock DCP, default", save, lambda path: stocks(str(path)), stock),
        _reading(
            f"stock DCP, thread_count={_FILES}",
            save,
            lambda path: stocks(str(path), thread_count=_FILES),
            stock,
        ),
    ]


def _safetensors(save: Callable[[Tensors, Path], None]) -> Contestant:
    def load(state: Tensors, path: Path) -> None:
        for name in _names():
            for key, tensor in load_file(path / name).items():
                state[key].copy_(tensor)

    return Contestant("safetensors", save, load, files="model")


def _raw(save: Callable[[Tensors, Path], None]) -> Contestant:
    def load(state: Tensors, path: Path) -> float:
        nbytes = sum((path / name).stat().st_size for name in _names())
        return raw_read(path, _names(), nbytes, direct=True)

    return Contestant("raw device", save, load, files="model")


def plain_contestants() -> list[Contestant]:
    """Everybody who loads a model of several files."""

    def save(state: Tensors, path: Path) -> None:
        _write_model(state, path)

    readers = _readers(save, dcpcpp.HuggingFaceStorageReader, StockReader)
    return [*readers, _safetensors(save), _raw(save)]


def quantized(state: Tensors) -> tuple[Tensors, Tensors]:
    """The matrices of `state` with block scales: as they are stored, and what they stand for."""
    stored: Tensors = {}
    meant: Tensors = {}
    for key, tensor in state.items():
        if tensor.dim() != 2:
            continue
        weight = (tensor * 100).to(torch.float8_e4m3fn)
        scales = torch.rand([-(-size // _SCALED) for size in tensor.shape])
        whole = scales.repeat_interleave(_SCALED, 0).repeat_interleave(_SCALED, 1)
        stored[key] = weight
        stored[f"{key}_scale_inv"] = scales
        meant[key] = (weight.float() * whole[: tensor.shape[0], : tensor.shape[1]]).bfloat16()
    return stored, meant


def quantized_contestants(stored: Tensors) -> list[Contestant]:
    """Those who make floats of 8-bit weights with block scales."""

    def save(state: Tensors, path: Path) -> None:
        _write_model(stored, path)

    return _readers(save, dcpcpp.QuantizedHuggingFaceStorageReader, StockQuantizedReader)


@dataclass(frozen=True)
class HfSuite:
    """Which saves, loads and conversions to measure, where and of what size.

    Attributes:
        folder: on the disk to measure; created if absent.
        nbytes: size of the Llama-like state, and of the model that is converted.
        repeats: of each measure.
    """

    folder: Path
    nbytes: int
    repeats: int

    def run(self, say: Progress) -> list[Outcome]:
        """Take the measures; `say` is told which one is at work."""
        torch.set_num_threads(1)
        self.folder.mkdir(parents=True, exist_ok=True)
        return [*self._saves(say), *self._loads(say), self._conversions(say)]

    def _saves(self, say: Progress) -> list[Outcome]:
        return [
            measure_ranks(ranks, self.nbytes, self.folder, self.repeats, say, layout)
            for ranks, layout in ((1, "hf-fsdp"), (2, "hf-fsdp"), (2, "hf-tp"))
        ]

    def _conversions(self, say: Progress) -> Outcome:
        return measure_conversions(self.nbytes, self.folder, self.repeats, say, OFTEN_ON_DISK)

    def _loads(self, say: Progress) -> list[Outcome]:
        state = llama_like(self.nbytes)
        outcomes = [
            measure_loads(
                f"{'cold' if cold else 'warm'} load of safetensors",
                state,
                plain_contestants(),
                self.folder,
                self.repeats,
                say,
                cold=cold,
                often=OFTEN_ON_DISK if cold else 1,
            )
            for cold in (True, False)
        ]
        stored, meant = quantized(llama_like(min(self.nbytes, _MAX_NBYTES_QUANTIZED)))
        outcomes.append(
            measure_loads(
                "warm load of FP8 with block scales",
                meant,
                quantized_contestants(stored),
                self.folder,
                self.repeats,
                say,
                cold=False,
            )
        )
        return outcomes
