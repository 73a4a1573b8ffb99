"""Conversions of bad input, under memory limits, killed, and from command lines."""

from __future__ import annotations

import os
import pathlib
import pickle
import re
import shutil
import subprocess
import sys
import textwrap
from typing import Any

import pytest
import torch
import torch.distributed.checkpoint as stock
from torch.distributed.checkpoint import format_utils as stock_utils

import dcpcpp
from dcpcpp import format_utils
from support.states import ramp, require_equal


def load_torch(path: pathlib.Path) -> Any:
    return torch.load(path, weights_only=True)


class Canary:
    def __init__(self, path: pathlib.Path) -> None:
        self._path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (f"touch {self._path}",)


def test_no_code_of_a_file_is_run(tmp_path: pathlib.Path) -> None:
    canary = tmp_path / "canary"
    torch.save({"w": ramp(3), "x": Canary(canary)}, tmp_path / "m.pt")
    with pytest.raises(dcpcpp.CheckpointCorruptedError, match="may be an attack"):
        dcpcpp.convert(tmp_path / "m.pt", tmp_path / "dcp")
    stock.save({"w": ramp(3), "x": Canary(canary)}, checkpoint_id=tmp_path / "dcp", no_dist=True)
    with pytest.raises(dcpcpp.CheckpointCorruptedError, match="may be an attack"):
        dcpcpp.convert(tmp_path / "dcp", tmp_path / "new.pt")
    assert not canary.exists()
    assert not (tmp_path / "new.pt").exists()


def test_objects_of_other_classes_are_copied_and_not_loaded(tmp_path: pathlib.Path) -> None:
    state = {"path": pathlib.PurePosixPath("/a"), "w": ramp(2)}
    torch.save(state, tmp_path / "m.pt")
    dcpcpp.convert(tmp_path / "m.pt", tmp_path / "dcp")
    dcpcpp.convert(tmp_path / "dcp", tmp_path / "again.pt")
    with pytest.raises(pickle.UnpicklingError):
        load_torch(tmp_path / "again.pt")
    assert torch.load(tmp_path / "again.pt", weights_only=False)["path"] == state["path"]


def test_bad_torch_files_are_told_by_their_kind(tmp_path: pathlib.Path) -> None:
    file = tmp_path / "m.pt"
    torch.save({"w": ramp(100, 100)}, file)
    whole = file.read_bytes()
    file.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(dcpcpp.CheckpointCorruptedError, match=r"m\.pt"):
        dcpcpp.convert(file, tmp_path / "dcp")
    at = len(whole) // 2
    file.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
    with pytest.raises(dcpcpp.CheckpointCorruptedError, match="CRC-32"):
        dcpcpp.convert(file, tmp_path / "dcp")
    torch.save({"w": ramp(3)}, file, _use_new_zipfile_serialization=False)
    with pytest.raises(ValueError, match=r"before 1\.6"):
        dcpcpp.convert(file, tmp_path / "dcp")
    torch.save([ramp(3)], file)
    with pytest.raises(ValueError, match="not a dict"):
        dcpcpp.convert(file, tmp_path / "dcp")
    torch.save({"a": {"b": 1}, "a.b": 2}, file)
    with pytest.raises(ValueError, match=r"duplicated flatten key a\.b"):
        dcpcpp.convert(file, tmp_path / "dcp")
    torch.save({"s": torch.eye(2).to_sparse()}, file)
    with pytest.raises(NotImplementedError, match=r"s: .*only torch can rebuild"):
        dcpcpp.convert(file, tmp_path / "dcp")
    with pytest.raises(FileNotFoundError):
        dcpcpp.convert(tmp_path / "none.pt", tmp_path / "dcp")
    with pytest.raises(ValueError, match="are the same"):
        dcpcpp.convert(file, file)
    assert not (tmp_path / "dcp" / ".metadata").exists()


def test_quantized_tensors_are_carried_over(tmp_path: pathlib.Path) -> None:
    state = {"q": torch.quantize_per_tensor(torch.randn(4, 3), 0.1, 2, torch.qint8), "w": ramp(2)}
    dcpcpp.save(state, checkpoint_id=tmp_path / "dcp")
    dcpcpp.convert(tmp_path / "dcp", tmp_path / "new", dtype="float16")
    loaded = dcpcpp.load_full(tmp_path / "new", allow_pickle=True)
    assert torch.equal(loaded["q"].int_repr(), state["q"].int_repr())


def test_damage_is_found_and_nothing_is_published(tmp_path: pathlib.Path) -> None:
    stock.save({"w": ramp(3000, 1000)}, checkpoint_id=tmp_path / "dcp", no_dist=True)
    (file,) = (tmp_path / "dcp").glob("*.distcp")
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
    (tmp_path / "m.pt").write_bytes(b"old")
    for target in ("m.pt", "new"):
        with pytest.raises(dcpcpp.CheckpointCorruptedError, match=r"\bw\b"):
            dcpcpp.convert(tmp_path / "dcp", tmp_path / target)
    assert (tmp_path / "m.pt").read_bytes() == b"old"
    assert not (tmp_path / "new" / ".metadata").exists()
    assert list(tmp_path.glob("*.partial")) == []


SLOW = """
    import sys, time
    import dcpcpp
    dcpcpp.convert(sys.argv[1], sys.argv[2], progress=lambda done, total: (
        print(done, flush=True), time.sleep(3600 if done else 0)))
"""


@pytest.mark.parametrize("target", ["m.pt", "new"])
def test_a_kill_in_the_middle_leaves_what_was_there(target: str, tmp_path: pathlib.Path) -> None:
    old = {"w": ramp(3)}
    dcpcpp.save({"w": torch.ones(64 << 20, dtype=torch.uint8)}, checkpoint_id=tmp_path / "dcp")
    dcpcpp.save(old, checkpoint_id=tmp_path / "old")
    dcpcpp.convert(tmp_path / "old", tmp_path / target)
    line = [sys.executable, "-c", textwrap.dedent(SLOW), tmp_path / "dcp", tmp_path / target]
    with subprocess.Popen(line, stdout=subprocess.PIPE, text=True) as running:
        assert running.stdout is not None
        while running.stdout.readline().strip() == "0":
            pass
        running.kill()
    path = tmp_path / target
    require_equal(load_torch(path) if target == "m.pt" else dcpcpp.load_full(path), old)
    dcpcpp.convert(tmp_path / "old", path)
    require_equal(load_torch(path) if target == "m.pt" else dcpcpp.load_full(path), old)


MEASURED = """
    import pathlib, re, sys
    import dcpcpp
    dcpcpp.convert(sys.argv[1], sys.argv[2], to=(sys.argv[3:] or [None])[0])
    print(re.search(r"VmHWM:\\s*(\\d+)", pathlib.Path("/proc/self/status").read_text())[1])
"""


@pytest.mark.parametrize("writer", ["dcpcpp", "stock"])
def test_memory_does_not_grow_with_the_state(writer: str, tmp_path: pathlib.Path) -> None:
    rows = 1 << 18
    state = {"large": torch.ones(rows, 1024), **{f"w{i}": torch.ones(2048, 1024) for i in range(8)}}
    save = stock.save if writer == "stock" else dcpcpp.save
    save(state, checkpoint_id=tmp_path / "dcp")
    del state
    line = [sys.executable, "-c", textwrap.dedent(MEASURED)]
    steps = [("dcp", "m.pt"), ("m.pt", "new")] + [("new", "hf")] * (writer == "stock")
    for source, target in steps:
        done = subprocess.run(
            [*line, tmp_path / source, tmp_path / target, *(["safetensors"] * (target == "hf"))],
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        assert int(done.stdout) < 640 << 10  # KiB, of 1.1 GiB
        if source == "dcp":
            shutil.rmtree(tmp_path / source)
    metadata = stock.FileSystemReader(tmp_path / "new").read_metadata()
    assert len(metadata.state_dict_metadata["large"].chunks) == 1


def command(*arguments: str | pathlib.Path) -> subprocess.CompletedProcess[str]:
    line = [sys.executable, "-m", *map(str, arguments)]
    return subprocess.run(line, capture_output=True, text=True, timeout=60, check=False)


def test_the_command_converts(tmp_path: pathlib.Path) -> None:
    dcpcpp.save({"w": ramp(10), "step": 1}, checkpoint_id=tmp_path / "dcp")
    done = command("dcpcpp", "convert", tmp_path / "dcp", tmp_path / "m.pt", "--dtype", "bfloat16")
    assert (done.returncode, done.stderr) == (0, "")
    assert re.match(r".*m\.pt: 1 tensor, 1 object, 20 bytes in ", done.stdout)
    assert load_torch(tmp_path / "m.pt")["w"].dtype == torch.bfloat16
    done = command("dcpcpp", "convert", tmp_path / "m.pt", tmp_path / "x.pt", "--to", "dcp")
    assert done.returncode == 0
    assert dcpcpp.load_full(tmp_path / "x.pt")["step"] == 1


@pytest.mark.parametrize("options", [["--to", "onnx"], ["--dtype", "int32"], ["--dtype", "nope"]])
def test_the_command_refuses_wrong_options(options: list[str], tmp_path: pathlib.Path) -> None:
    dcpcpp.save({"w": ramp(10)}, checkpoint_id=tmp_path / "dcp")
    done = command("dcpcpp", "convert", tmp_path / "dcp", tmp_path / "new", *options)
    assert done.returncode == 2
    assert done.stderr.startswith("dcpcpp: error: ")
    assert "Traceback" not in done.stderr


def test_converting_needs_no_torch(tmp_path: pathlib.Path) -> None:
    dcpcpp.save({"w": ramp(10)}, checkpoint_id=tmp_path / "dcp")
    code = """
        import sys
        sys.modules["torch"] = None  # imports of it fail
        import dcpcpp
        dcpcpp.convert(sys.argv[1], sys.argv[2])
    """
    line = [sys.executable, "-c", textwrap.dedent(code), tmp_path / "dcp", tmp_path / "m.pt"]
    done = subprocess.run(line, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    require_equal(load_torch(tmp_path / "m.pt"), {"w": ramp(10)})


def test_torchs_command_line_works(tmp_path: pathlib.Path) -> None:
    state = {"model": {"w": ramp(3)}, "groups": [{"lr": 0.5, "ids": [1, 2]}]}
    torch.save(state, tmp_path / "m.pt")
    utils = "dcpcpp.format_utils"
    done = command(utils, "torch_to_dcp", tmp_path / "m.pt", tmp_path / "dcp")
    assert (done.returncode, done.stderr) == (0, "")
    assert "using method: 'torch_to_dcp'" in done.stdout
    done = command(utils, "dcp_to_torch", tmp_path / "dcp", tmp_path / "again.pt")
    assert (done.returncode, done.stderr) == (0, "")
    require_equal(load_torch(tmp_path / "again.pt"), state)
    done = command(utils, "dcp_to_torch", tmp_path / "none", tmp_path / "x.pt")
    assert done.returncode == 0
    assert "Skipping conversion" in done.stdout
    assert command(utils, "nonsense", "a", "b").returncode == 2


def test_torchs_functions_are_ours_when_patched(tmp_path: pathlib.Path) -> None:
    theirs = stock_utils.dcp_to_torch_save
    with dcpcpp.patch_torch():
        assert stock_utils.dcp_to_torch_save is format_utils.dcp_to_torch_save
        assert stock_utils.torch_save_to_dcp is format_utils.torch_save_to_dcp
    assert stock_utils.dcp_to_torch_save is theirs
    assert dcpcpp.format_utils is format_utils
    assert format_utils.BroadcastingTorchSaveReader is stock_utils.BroadcastingTorchSaveReader
    with pytest.raises(AttributeError, match="nonsense"):
        _ = format_utils.nonsense
