"""Safetensors headers and indexes of libdcp are, byte by byte, what others write."""

from __future__ import annotations

import json
import random
import subprocess
from pathlib import Path
from typing import Any

import pytest
import safetensors
import safetensors.torch
import torch

from support import cpp_build

TYPES = [
    dtype
    for name in [
        "bool",
        "float4_e2m1fn_x2",
        "uint8",
        "int8",
        "float8_e5m2",
        "float8_e4m3fn",
        "float8_e8m0fnu",
        "float8_e4m3fnuz",
        "float8_e5m2fnuz",
        "int16",
        "uint16",
        "float16",
        "bfloat16",
        "int32",
        "uint32",
        "float32",
        "complex64",
        "float64",
        "int64",
        "uint64",
    ]
    if (dtype := getattr(torch, name, None)) is not None
]
SHAPES = [(), (1,), (2, 3), (0,), (4, 0), (3, 1, 2)]
NAMES = ["w", "a.b", 'quote"', "back\\slash", "line\n", "\x00\x1f\x7f", "é", "😀", "/", ""]


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return cpp_build.test_program("dcp_write_safetensors", tmp_path_factory.mktemp("build"))


def ask(program: Path, *orders: dict[str, Any]) -> list[dict[str, Any]]:
    """What the program answers to each order."""
    lines = "".join(json.dumps(order) + "\n" for order in orders)
    said = subprocess.run([program], input=lines, capture_output=True, text=True, check=True)
    return [json.loads(line) for line in said.stdout.splitlines()]


def bytes_of(tensor: torch.Tensor) -> bytes:
    if tensor.numel() == 0:
        return b""
    flat = tensor.reshape(tensor.numel()).view(torch.uint8)
    return bytes(flat.tolist())


def random_tensor(draw: random.Random, dtype: torch.dtype, shape: tuple[int, ...]) -> torch.Tensor:
    numel = 1
    for size in shape:
        numel *= size
    nbytes = numel * dtype.itemsize
    limit = 2 if dtype == torch.bool else 256
    content = torch.tensor([draw.randrange(limit) for _ in range(nbytes)], dtype=torch.uint8)
    if nbytes == 0:
        return torch.empty(shape, dtype=dtype)
    return content.view(dtype).reshape(shape)


def order_of(
    tensors: dict[str, torch.Tensor], metadata: dict[str, str] | None, alignment: int = 8
) -> dict[str, Any]:
    return {
        "tensors": [
            [name, str(tensor.dtype).removeprefix("torch."), list(tensor.shape)]
            for name, tensor in tensors.items()
        ],
        "metadata": metadata or {},
        "data_alignment": alignment,
    }


def file_of(answer: dict[str, Any], tensors: dict[str, torch.Tensor]) -> bytes:
    """The file that begins as the program says."""
    return bytes.fromhex(answer["head"]) + b"".join(
        bytes_of(tensors[name]) for name in answer["order"]
    )


@pytest.mark.parametrize("dtype", TYPES, ids=str)
def test_every_type_is_written_as_by_safetensors(program: Path, dtype: torch.dtype) -> None:
    draw = random.Random(0)
    shapes = SHAPES[1:] if "float4" in str(dtype) else SHAPES
    tensors = {f"t{shape}": random_tensor(draw, dtype, shape) for shape in shapes}
    (answer,) = ask(program, order_of(tensors, {"format": "pt"}))
    assert file_of(answer, tensors) == safetensors.torch.save(tensors, {"format": "pt"})


def test_files_of_all_types_are_written_as_by_safetensors(program: Path) -> None:
    draw = random.Random(1)
    states = []
    for _ in range(300):
        tensors = {}
        for number in range(draw.randrange(12)):
            dtype, shape = draw.choice(TYPES), draw.choice(SHAPES[1:])
            name = draw.choice(NAMES) + draw.choice(NAMES) + str(number)
            tensors[name] = random_tensor(draw, dtype, shape)
        metadata = draw.choice([None, {draw.choice(NAMES): draw.choice(NAMES)}])
        states.append((tensors, metadata))
    answers = ask(program, *(order_of(*state) for state in states))
    for (tensors, metadata), answer in zip(states, answers, strict=True):
        assert file_of(answer, tensors) == safetensors.torch.save(tensors, metadata)


def test_a_scalar_of_four_bits_is_refused_here_and_there(program: Path) -> None:
    if not hasattr(torch, "float4_e2m1fn_x2"):
        pytest.skip("this torch has no float4_e2m1fn_x2")
    scalar = torch.zeros(1, dtype=torch.uint8).view(torch.float4_e2m1fn_x2).reshape(())
    (answer,) = ask(program, order_of({"t": scalar}, None))
    assert "no type or shape" in answer["refusal"]
    with pytest.raises(Exception, match=r"."):
        safetensors.torch.save({"t": scalar})


@pytest.mark.parametrize("name", ["complex128", "complex32", "quint8", "bits8"])
def test_types_that_safetensors_lacks_are_refused(program: Path, name: str) -> None:
    order = {"tensors": [["t", name, [1]]], "metadata": {}, "data_alignment": 8}
    (answer,) = ask(program, order)
    assert "no type or shape" in answer["refusal"]


def test_data_at_a_page_is_read_by_safetensors(program: Path) -> None:
    draw = random.Random(2)
    tensors = {str(dtype): random_tensor(draw, dtype, (2, 2)) for dtype in TYPES}
    metadata = {"b": "2", "a": "1", "c": "é"}
    (answer,) = ask(program, order_of(tensors, metadata, 4096))
    assert len(answer["head"]) == 2 * 4096
    read = dict(safetensors.deserialize(file_of(answer, tensors)))
    assert {name: bytes(entry["data"]) for name, entry in read.items()} == {
        name: bytes_of(tensor) for name, tensor in tensors.items()
    }


def test_two_keys_of_metadata_are_sorted(program: Path, tmp_path: Path) -> None:
    metadata = {"b": "2", "a": "1", "c": "é"}
    (answer,) = ask(program, order_of({}, metadata))
    file = tmp_path / "x.safetensors"
    file.write_bytes(file_of(answer, {}))
    with safetensors.safe_open(file, framework="pt") as opened:
        assert opened.metadata() == metadata
    assert b'{"a":"1","b":"2","c":' in file.read_bytes()


def test_an_index_is_what_python_writes(program: Path) -> None:
    draw = random.Random(3)
    indexes = [
        {
            draw.choice(NAMES) + draw.choice(NAMES): f"é-{draw.randrange(3)}.safetensors"
            for _ in range(draw.randrange(6))
        }
        for _ in range(100)
    ]
    totals = {"total_size": 7, "total_parameters": 2**40}
    answers = ask(program, *({"index": index, **totals} for index in indexes))
    for index, answer in zip(indexes, answers, strict=True):
        document = {"metadata": totals, "weight_map": index}
        # As transformers 5 does.
        assert answer["index"] == json.dumps(document, indent=2, sort_keys=True) + "\n"
