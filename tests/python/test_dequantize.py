"""Quantized safetensors, read as floats: what torch's own reader makes of them."""

from __future__ import annotations

import json
import pathlib
from typing import Any

import pytest
import safetensors.torch
import torch
import torch.distributed as dist
import torch.distributed.checkpoint as stock
from torch.distributed.checkpoint.quantized_hf_storage import (
    QuantizedHuggingFaceStorageReader as StockReader,
)
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.tensor import Shard, distribute_tensor

import dcpcpp
from support.command_line import json_of
from support.ranks import run_on_ranks
from support.states import bits

BLOCK = 16
ROWS, COLUMNS = 70, 45  # neither a multiple of the block
BLOCKS = (3, 5, 4, 8)  # MXFP4: [experts, rows, groups, bytes]


def stored_tensors() -> dict[str, torch.Tensor]:
    draw = torch.Generator().manual_seed(11)
    weight = torch.randn(ROWS, COLUMNS, generator=draw) * 40
    scales = torch.rand(-(-ROWS // BLOCK), -(-COLUMNS // BLOCK), generator=draw) / 7
    packed = torch.randint(0, 256, BLOCKS, generator=draw, dtype=torch.uint8)
    exponents = torch.randint(90, 160, BLOCKS[:3], generator=draw, dtype=torch.uint8)
    return {
        "l.weight": weight.to(torch.float8_e4m3fn),
        "l.weight_scale_inv": scales,
        "l.bias": torch.arange(5.0),
        "mlp_blocks": packed,
        "mlp_scales": exponents,
    }


@pytest.fixture
def folder(tmp_path: pathlib.Path) -> pathlib.Path:
    tensors = stored_tensors()
    files = {"model-00001-of-00002.safetensors": {}, "model-00002-of-00002.safetensors": {}}
    names = list(files)
    for key, tensor in tensors.items():
        files[names["scale" in key]][key] = tensor
    for name, held in files.items():
        safetensors.torch.save_file(held, tmp_path / name, metadata={"format": "pt"})
    weight_map = {key: name for name, held in files.items() for key in held}
    index = {"metadata": {"total_size": 0}, "weight_map": weight_map}
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps(index))
    return tmp_path


def expected_mxfp4(target: torch.dtype) -> torch.Tensor:
    """As torch's `_dequantize_tensor_mxfp4`, without its reader."""
    tensors = stored_tensors()
    packed, exponents = tensors["mlp_blocks"], tensors["mlp_scales"]
    values = [0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0]
    table = torch.tensor([*values, *(-value for value in values)], dtype=target)
    low, high = table[(packed & 15).long()], table[(packed >> 4).long()]
    both = torch.stack([low, high], dim=-1).reshape(*BLOCKS[:3], BLOCKS[3] * 2)
    torch.ldexp(both, (exponents.int() - 127).unsqueeze(-1), out=both)
    return both.reshape(*BLOCKS[:2], -1)


def reader_of(kind: Any, folder: pathlib.Path, target: torch.dtype) -> Any:
    return kind(str(folder), target_dtype=target, block_size=BLOCK)


@pytest.mark.parametrize("target", [torch.float32, torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("into", [torch.float32, torch.bfloat16], ids=str)
def test_block_scales_give_torchs_own_numbers(
    folder: pathlib.Path, target: torch.dtype, into: torch.dtype
) -> None:
    loaded = {
        library: {"l.weight": torch.zeros(ROWS, COLUMNS, dtype=into)} for library in (stock, dcpcpp)
    }
    stock.load(loaded[stock], storage_reader=reader_of(StockReader, folder, target))
    ours = reader_of(dcpcpp.QuantizedHuggingFaceStorageReader, folder, target)
    dcpcpp.load(loaded[dcpcpp], storage_reader=ours)
    assert bits(loaded[dcpcpp]["l.weight"]) == bits(loaded[stock]["l.weight"])


@pytest.mark.parametrize("target", [torch.float32, torch.bfloat16], ids=str)
def test_mxfp4_gives_torchs_numbers(folder: pathlib.Path, target: torch.dtype) -> None:
    reader = reader_of(dcpcpp.QuantizedHuggingFaceStorageReader, folder, target)
    checkpoint = dcpcpp.open(storage_reader=reader)
    assert checkpoint.shape("mlp_blocks") == (3, 5, 64)
    assert checkpoint.dtype("mlp_blocks") == target
    whole = expected_mxfp4(target)
    assert bits(checkpoint.get("mlp_blocks")) == bits(whole)
    # Parts that begin and end within a group, and within a byte.
    for part in ((slice(1, 3), slice(2, 4), slice(7, 40)), (2, slice(0, 5), slice(63, 64))):
        assert bits(checkpoint.get("mlp_blocks", part)) == bits(whole[part])
    assert torch.equal(checkpoint.get("l.bias"), torch.arange(5.0))


def test_quantized_files_are_compared_as_they_are_stored(
    folder: pathlib.Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    other = tmp_path_factory.mktemp("other")
    tensors = stored_tensors()
    safetensors.torch.save_file(tensors, other / "model.safetensors")
    assert json_of("diff", folder, other, "--values")["status"] == "equal"
    tensors["l.weight"].view(torch.uint8)[3, 4] ^= 1
    tensors["l.weight_scale_inv"][0, 1] += 0.5
    tensors["mlp_scales"][0, 0, 0] += 2
    safetensors.torch.save_file(tensors, other / "model.safetensors")
    found = json_of("diff", folder, other, "--values", code=1)
    differing = {value["key"]: value["elements"] for value in found["values"]}
    assert differing == {"l.weight": 1, "l.weight_scale_inv": 1, "mlp_scales": 1}
    # Floats that were made of them are other tensors.
    floats = {**tensors, "l.weight": tensors["l.weight"].float()}
    safetensors.torch.save_file(floats, other / "model.safetensors")
    (form,) = json_of("diff", folder, other, code=1)["forms"]
    assert (form["a"]["dtype"], form["b"]["dtype"]) == ("float8_e4m3fn", "float32")


def test_torchs_reader_in_our_load_is_ours(folder: pathlib.Path) -> None:
    loaded = {"mlp_blocks": torch.zeros(3, 5, 64)}
    report = dcpcpp.LoadReport()
    reader = reader_of(StockReader, folder, torch.float32)
    dcpcpp.load(loaded, storage_reader=reader, report=report)
    assert bits(loaded["mlp_blocks"]) == bits(expected_mxfp4(torch.float32))
    packed = BLOCKS[0] * BLOCKS[1] * BLOCKS[2]
    assert report.nbytes_read == packed * BLOCKS[3] + packed  # and their scales


def test_our_reader_works_in_torchs_load(folder: pathlib.Path) -> None:
    loaded = {"l.weight": torch.zeros(ROWS, COLUMNS), "mlp_blocks": torch.zeros(3, 5, 64)}
    reader = reader_of(dcpcpp.QuantizedHuggingFaceStorageReader, folder, torch.float32)
    stock.load(loaded, storage_reader=reader)
    assert bits(loaded["mlp_blocks"]) == bits(expected_mxfp4(torch.float32))


def sharded(fill: float) -> dict[str, Any]:
    mesh = init_device_mesh("cpu", (dist.get_world_size(),))
    return {
        "l.weight": distribute_tensor(torch.full((ROWS, COLUMNS), fill), mesh, [Shard(1)]),
        "mlp_blocks": distribute_tensor(torch.full((3, 5, 64), fill), mesh, [Shard(1)]),
    }


def load_on_ranks(folder: pathlib.Path) -> dict[str, Any]:
    state = sharded(-1.0)
    reader = reader_of(dcpcpp.QuantizedHuggingFaceStorageReader, folder, torch.float32)
    dcpcpp.load(state, storage_reader=reader)
    return {key: value.full_tensor() for key, value in state.items()}


def test_ranks_read_their_parts(folder: pathlib.Path) -> None:
    alone = {"l.weight": torch.zeros(ROWS, COLUMNS)}
    stock.load(alone, storage_reader=reader_of(StockReader, folder, torch.float32))
    for loaded in run_on_ranks(2, load_on_ranks, folder):
        assert bits(loaded["l.weight"]) == bits(alone["l.weight"])
        assert bits(loaded["mlp_blocks"]) == bits(expected_mxfp4(torch.float32))


def test_the_plain_reader_leaves_them_as_they_are(folder: pathlib.Path) -> None:
    for key, tensor in stored_tensors().items():
        assert bits(dcpcpp.open(folder).get(key)) == bits(tensor), key


@pytest.mark.parametrize(
    ("tensors", "error", "words"),
    [
        (
            {
                "a.weight": torch.zeros(40, 40, dtype=torch.uint8),
                "a.weight_scale_inv": torch.ones(2, 3),
            },
            dcpcpp.CheckpointCorruptedError,
            r"scales of a\.weight have the shape \[2, 3\], and should have \[3, 3\]",
        ),
        (
            {"a.weight": torch.zeros(40, 40), "a.weight_scale_inv": torch.ones(3, 3)},
            NotImplementedError,
            r"a\.weight of type float32",
        ),
        (
            {"a_blocks": torch.zeros(4, dtype=torch.uint8), "a_scales": torch.zeros(1)},
            NotImplementedError,
            r"a_blocks of type uint8 and shape \[4\]",
        ),
    ],
)
def test_scales_that_do_not_fit_are_refused(
    tensors: dict[str, torch.Tensor], error: type[Exception], words: str, tmp_path: pathlib.Path
) -> None:
    safetensors.torch.save_file(tensors, tmp_path / "model.safetensors")
    reader = reader_of(dcpcpp.QuantizedHuggingFaceStorageReader, tmp_path, torch.float32)
    with pytest.raises(error, match=words):
        dcpcpp.open(storage_reader=reader)


def test_options_that_are_none_are_refused(tmp_path: pathlib.Path) -> None:
    with pytest.raises(ValueError, match="floating-point"):
        dcpcpp.QuantizedHuggingFaceStorageReader(tmp_path, target_dtype=torch.int32)
    with pytest.raises(ValueError, match="block_size"):
        dcpcpp.QuantizedHuggingFaceStorageReader(tmp_path, block_size=0)
