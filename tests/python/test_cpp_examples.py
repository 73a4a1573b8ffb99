"""examples/cpp, built against an installed libdcp, and what PyTorch makes of it."""

from __future__ import annotations

import ctypes
import os
import pathlib
import re
import subprocess
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch.distributed.checkpoint import state_dict_loader, state_dict_saver
from torch.distributed.checkpoint._nested_dict import flatten_state_dict
from torch.distributed.checkpoint.state_dict import get_state_dict
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor

from support import cpp_build
from support.ranks import run_on_ranks

HEADERS = sorted((cpp_build.REPOSITORY / "include" / "dcp").glob("*.h"))


@pytest.fixture(scope="module")
def fsdp_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """A checkpoint that stock PyTorch wrote, and the tensors in it, whole."""
    folder = tmp_path_factory.mktemp("fsdp")
    run_on_ranks(2, _train_and_save_with_stock, folder)
    return folder


def _train_and_save_with_stock(folder: pathlib.Path) -> None:
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(6, 5), torch.nn.Linear(5, 3))
    for layer in model:
        fully_shard(layer)
    fully_shard(model)
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.1)
    model(torch.randn(4, 6)).sum().backward()
    optimizer.step()
    model_state, optimizer_state = get_state_dict(model, optimizer)
    state = {
        "model": model_state,
        "optim": optimizer_state,
        "half": torch.arange(6, dtype=torch.bfloat16).reshape(2, 3),
        "step": 7,
        "rate": 0.1,
        "name": "tiny",
    }
    state_dict_saver.save(state, checkpoint_id=folder / "checkpoint")
    flat, _ = flatten_state_dict(state)
    whole = {
        key: value.full_tensor() if isinstance(value, DTensor) else value
        for key, value in flat.items()
    }
    if torch.distributed.get_rank() == 0:
        torch.save(whole, folder / "whole.pt")


def _run_without_python(program: pathlib.Path, *arguments: str | pathlib.Path) -> str:
    """Run a program with no Python and no torch in its process or environment."""
    linked = cpp_build.run("ldd", program)
    assert not re.search("python|torch", linked), linked
    finished = subprocess.run(
        [str(program), *map(str, arguments)], env={}, capture_output=True, text=True, timeout=60
    )
    assert finished.returncode == 0, finished.stderr
    return finished.stdout


def _fnv1a(tensor: torch.Tensor) -> str:
    value = 0xCBF29CE484222325
    contiguous = tensor.detach().contiguous()
    for byte in ctypes.string_at(contiguous.data_ptr(), contiguous.nbytes):
        value = (value ^ byte) * 0x100000001B3 % 2**64
    return f"{value:016x}"


def _line(key: str, value: Any) -> str:
    """What list_and_load prints of a leaf that it can show."""
    if isinstance(value, torch.Tensor):
        dtype = str(value.dtype).removeprefix("torch.")
        return f"tensor {key} {dtype} {list(value.shape)} {_fnv1a(value)}"
    return f"object {key} {value:.17g}" if type(value) is float else f"object {key} {value}"


def _check_listing(printed: str, folder: pathlib.Path) -> None:
    whole = torch.load(folder / "whole.pt")
    lines = printed.splitlines()
    assert len(lines) == len(whole) + 1
    assert any("optim.state." in line for line in lines)
    for key, value in whole.items():
        if isinstance(value, torch.Tensor | int | float | str | None):
            assert _line(key, value) in lines
    assert "half bfloat16 [2, 3]" in printed
    assert lines[-1] == "resharded over 3 ranks: the same bytes"


def test_the_storages_of_the_examples_pass_the_conformance_suites(
    cpp_examples: pathlib.Path,
) -> None:
    said = cpp_build.run(cpp_examples / "tests" / "examples_test")
    assert "All tests passed" in said


def test_cpp_lists_and_loads_what_fsdp2_wrote(
    cpp_examples: pathlib.Path, fsdp_checkpoint: pathlib.Path
) -> None:
    printed = _run_without_python(
        cpp_examples / "list_and_load", fsdp_checkpoint / "checkpoint", "3"
    )
    _check_listing(printed, fsdp_checkpoint)


def test_a_cpp_trainer_saves_the_weights_of_a_step_while_it_goes_on(
    cpp_examples: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    printed = _run_without_python(cpp_examples / "async_save", tmp_path, "5")
    assert [line.partition(":")[0] for line in printed.splitlines()] == ["step 2", "step 4"]
    for step in (2, 4):
        state = {"weight": torch.zeros(1000, 1000), "bias": torch.tensor(0.0), "step": 0}
        state_dict_loader.load(state, checkpoint_id=tmp_path / f"step-{step}")
        assert torch.equal(state["weight"], torch.full((1000, 1000), float(step)))
        assert state["bias"].item() == step
        assert state["step"] == step


def test_a_cpp_trainer_that_is_killed_has_its_checkpoint(
    cpp_examples: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    killed, committed = _run_without_python(cpp_examples / "saver_trainer", tmp_path).splitlines()
    assert killed == "the trainer of step 3 was killed by signal 9"
    assert "step 3 was committed" in committed
    assert [path.name for path in tmp_path.iterdir()] == ["step-3"]
    state = {"weights": torch.zeros(1 << 22)}
    state_dict_loader.load(state, checkpoint_id=tmp_path / "step-3")
    assert bool((state["weights"] == 3).all())


@pytest.mark.parametrize("ranks", [1, 2, 5])
def test_stock_torch_loads_what_cpp_wrote(
    cpp_examples: pathlib.Path, tmp_path: pathlib.Path, ranks: int
) -> None:
    _run_without_python(cpp_examples / "write_for_torch", tmp_path / "checkpoint", str(ranks))
    state = {
        "model": {
            "weight": torch.zeros(12, 5),
            "bias": torch.zeros(5, dtype=torch.bfloat16),
        },
        "optim": {"betas": None},
        "step": 0,
    }
    state_dict_loader.load(state, checkpoint_id=tmp_path / "checkpoint")
    expected = torch.arange(60.0).reshape(12, 5)
    assert torch.equal(state["model"]["weight"], expected)
    assert torch.equal(state["model"]["bias"], torch.arange(5).bfloat16() / 2)
    assert state["optim"]["betas"] == (0.9, 0.999)
    assert state["step"] == 100


def test_safetensors_loads_the_model_that_cpp_ranks_wrote(
    cpp_examples: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    printed = _run_without_python(cpp_examples / "write_hugging_face", tmp_path, "3")
    assert printed.endswith("4 ranks read the same weights\n")
    files = sorted(tmp_path.glob("model-*-of-*.safetensors"))
    assert len(files) > 1
    tensors = {key: value for file in files for key, value in load_file(file).items()}
    assert len(tensors) == 21
    wave = 0.1 * torch.sin(len("lm_head.weight") + 12.9898 * torch.arange(101 * 32.0).double())
    assert torch.equal(tensors["lm_head.weight"], wave.float().reshape(101, 32))


def test_a_program_says_what_is_wrong(cpp_examples: pathlib.Path, tmp_path: pathlib.Path) -> None:
    finished = subprocess.run(
        [cpp_examples / "list_and_load", tmp_path / "nothing"], capture_output=True, text=True
    )
    assert finished.returncode == 1
    assert re.search(r"nothing.*No such file or directory", finished.stderr)


def test_the_static_library_needs_no_libdcp_at_run_time(
    libdcp_prefix: pathlib.Path, fsdp_checkpoint: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    options = [f"-DCMAKE_PREFIX_PATH={libdcp_prefix}", "-DEXAMPLES_STATIC=ON"]
    built = cpp_build.build_examples(tmp_path / "build", options, "list_and_load")
    program = built / "list_and_load"
    assert "libdcp" not in cpp_build.run("ldd", program)
    printed = _run_without_python(program, fsdp_checkpoint / "checkpoint", "3")
    _check_listing(printed, fsdp_checkpoint)


def test_pkg_config_is_enough_to_build_with(
    libdcp_prefix: pathlib.Path, fsdp_checkpoint: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    # Installed anywhere: the .pc file finds its prefix by itself.
    moved = tmp_path / "elsewhere"
    prefix_files = cpp_build.run("cp", "-a", libdcp_prefix, moved)
    assert prefix_files == ""
    program = cpp_build.compile_with_pkg_config(
        cpp_build.EXAMPLES / "list_and_load.cc", moved, tmp_path / "list_and_load"
    )
    assert str(moved) in cpp_build.run("ldd", program)
    printed = _run_without_python(program, fsdp_checkpoint / "checkpoint", "3")
    _check_listing(printed, fsdp_checkpoint)


def test_pkg_config_links_the_static_library_too(
    libdcp_prefix: pathlib.Path, fsdp_checkpoint: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    moved = tmp_path / "static"
    cpp_build.run("cp", "-a", libdcp_prefix, moved)
    for shared in moved.glob("lib/libdcp.so*"):
        shared.unlink()
    program = cpp_build.compile_with_pkg_config(
        cpp_build.EXAMPLES / "list_and_load.cc", moved, tmp_path / "list_and_load", "--static"
    )
    assert "libdcp" not in cpp_build.run("ldd", program)
    printed = _run_without_python(program, fsdp_checkpoint / "checkpoint", "3")
    _check_listing(printed, fsdp_checkpoint)


def test_every_public_header_compiles_alone(
    libdcp_prefix: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    flags = cpp_build.pkg_config(libdcp_prefix, "--cflags")
    compilers = []
    for header in HEADERS:
        source = tmp_path / f"{header.stem}.cc"
        # Twice: a header without a guard does not survive that.
        source.write_text(f'#include "dcp/{header.name}"\n' * 2)
        command = ["c++", "-fsyntax-only", "-Wall", "-Wextra", "-Werror", *flags, str(source)]
        compilers.append((header, command))
    for batch in range(0, len(compilers), _cores()):
        started = [
            (header, subprocess.Popen(command, stderr=subprocess.PIPE, text=True))
            for header, command in compilers[batch : batch + _cores()]
        ]
        for header, process in started:
            _, errors = process.communicate(timeout=120)
            assert process.returncode == 0, f"{header.name}: {errors}"


def _cores() -> int:
    return len(os.sched_getaffinity(0))


@pytest.mark.parametrize("header", HEADERS, ids=lambda header: header.name)
def test_a_public_header_includes_std_and_dcp_alone(header: pathlib.Path) -> None:
    allowed = r"dcp/\w+\.h|absl/status/\w+\.h" if header.name == "status.h" else r"dcp/\w+\.h"
    for line in header.read_text().splitlines():
        if not line.startswith("#include"):
            continue
        # The standard library's headers have neither a folder nor an ending.
        assert re.fullmatch(rf'#include (<\w+>|"({allowed})")', line), line
