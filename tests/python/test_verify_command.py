"""The command `dcpcpp verify`."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import dcpcpp
from support import damage
from support.damage import copy_of, flip_bit, place


@pytest.fixture(scope="module")
def originals(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return damage.make_originals(tmp_path_factory.mktemp("originals"))


def command(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    line = [sys.executable, "-m", "dcpcpp", "verify", *map(str, arguments)]
    return subprocess.run(line, capture_output=True, text=True, timeout=60, check=False)


def test_the_command_tells_a_whole_checkpoint(originals: Path) -> None:
    done = command(originals / "dcpcpp")
    assert (done.returncode, done.stderr) == (0, "")
    verdict, summary = done.stdout.splitlines()
    assert verdict == f"{originals / 'dcpcpp'}: whole"
    assert summary.startswith("3 tensors, 2 objects, 1 file, written by dcpcpp; checked ")
    assert summary.endswith(" GB/s)")


def test_the_command_prints_a_line_for_each_damage(originals: Path, tmp_path: Path) -> None:
    directory = copy_of(originals, "torch", tmp_path)
    for key in ("large", "model.bias"):
        path, offset, length = place(directory, key)
        flip_bit(path, offset + length // 2, 1)
    done = command(directory)
    assert (done.returncode, done.stderr) == (1, "")
    *damages, verdict, summary = done.stdout.splitlines()
    assert len(damages) == 2
    for line in damages:
        assert line.startswith(f"damaged: {path} [offset=")
    assert any(" large: " in line for line in damages)
    assert any(" model.bias: " in line for line in damages)
    assert verdict == f"{directory}: 2 damages in 2 keys"
    assert "written by torch" in summary


def test_the_command_prints_json_of_a_stable_schema(originals: Path, tmp_path: Path) -> None:
    directory = copy_of(originals, "dcpcpp", tmp_path)
    report = json.loads(command(directory, "--json").stdout)
    assert report.pop("seconds") > 0
    assert report.pop("nbytes") > 5_000_000
    assert report == {
        "schema": 1,
        "path": str(directory),
        "format": "dcp",
        "status": "clean",
        "written_by": "dcpcpp",
        "save_id": dcpcpp.verify(directory).save_id,
        "files": 1,
        "tensors": 3,
        "objects": 2,
        "damages": [],
    }
    (directory / "__0_0.distcp").unlink()
    done = command(directory, "--json")
    report = json.loads(done.stdout)
    assert done.returncode == 1
    assert report["status"] == "damaged"
    assert report["damages"][0] == {
        "key": "large",
        "path": str(directory / "__0_0.distcp"),
        "byte_offset": None,
        "nbytes": None,
        "message": "the file is missing",
    }


def test_the_command_checks_a_torch_file(tmp_path: Path) -> None:
    path = tmp_path / "model.pt"
    weight = torch.arange(100_000.0)
    torch.save({"weight": weight, "tied": weight, "bias": torch.ones(7), "step": 3}, path)
    done = command(path)
    assert (done.returncode, done.stderr) == (0, "")
    verdict, summary = done.stdout.splitlines()
    assert verdict == f"{path}: whole"
    counts = "3 tensors, 1 object, 1 file, with the CRC-32s of its archive; checked "
    assert summary.startswith(counts)
    data = path.read_bytes()
    flip_bit(path, data.index(weight[-9:].numpy().tobytes()), 1)
    done = command(path, "--json")
    assert (done.returncode, done.stderr) == (1, "")
    report = json.loads(done.stdout)
    assert (report["format"], report["written_by"]) == ("torch", None)
    assert {found["key"] for found in report["damages"]} == {"weight", "tied"}
    assert all("does not match its CRC-32" in found["message"] for found in report["damages"])
    path.write_bytes(b"something else")
    done = command(path)
    assert (done.returncode, done.stdout) == (2, "")
    assert "no archive of torch.save" in done.stderr


@pytest.mark.parametrize("arguments", [[], ["nosuch"], ["."], ["--nosuch"], ["nosuch", "--json"]])
def test_what_cannot_be_checked_is_exit_code_2(
    arguments: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    done = command(*arguments)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr
    assert "Traceback" not in done.stderr
