"""`dcpcpp prune`, `layout`, `cp` and `reshard`; --debug, bars and shell completion."""

from __future__ import annotations

import io
import sys
import time
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

import dcpcpp
from dcpcpp import _progress
from dcpcpp.cli import app
from support import faults
from support.command_line import command, json_of
from support.states import ramp


def model() -> dict[str, torch.Tensor]:
    return {"layers.0": ramp(6, 4), "layers.1": ramp(6, 4), "scale": torch.tensor(2.0)}


@pytest.fixture
def place(tmp_path: Path) -> Path:
    dcpcpp.save({**model(), "step": 7}, checkpoint_id=tmp_path / "step-7")
    return tmp_path / "step-7"


def require_model(path: Path) -> None:
    state = {key: torch.zeros_like(tensor) for key, tensor in model().items()}
    dcpcpp.load(state, checkpoint_id=path)
    for key, tensor in model().items():
        assert torch.equal(state[key], tensor)


def steps_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_prune_keeps_the_newest_and_the_pinned_steps(tmp_path: Path) -> None:
    for step in range(1, 6):
        dcpcpp.save({"optimizer": torch.ones(2)}, checkpoint_id=tmp_path / f"step-{step}")
    (tmp_path / "step-2" / ".dcpcpp.pin").touch()
    plan = json_of("prune", tmp_path, "--keep", "2", "--dry-run")
    assert [step["step"] for step in plan["removed"]] == [3, 1]
    assert [(step["step"], step["reason"]) for step in plan["kept"]] == [
        (5, "newest"),
        (4, "newest"),
        (2, "pinned"),
    ]
    assert plan["not_removed"] == []
    assert len(steps_in(tmp_path)) == 5
    lines = command("prune", tmp_path, "--keep", "2").stdout.splitlines()
    assert lines[0].split() == ["step-5", "kept", "one", "of", "the", "newest"]
    assert lines[2].split() == ["step-3", "removed"]
    assert lines[-1] == "2 steps removed, 3 kept"
    assert steps_in(tmp_path) == ["step-2", "step-4", "step-5"]


def test_prune_leaves_links_and_does_not_count_them(tmp_path: Path) -> None:
    for step in (1, 2, 3):
        dcpcpp.save({"optimizer": torch.ones(2)}, checkpoint_id=tmp_path / "run" / f"step-{step}")
    dcpcpp.save({"optimizer": torch.ones(2)}, checkpoint_id=tmp_path / "other")
    (tmp_path / "run" / "step-4").symlink_to("../other")
    done = json_of("prune", tmp_path / "run", "--keep", "2")
    assert [step["step"] for step in done["removed"]] == [1]
    assert [(step["step"], step["reason"]) for step in done["kept"]] == [
        (4, "linked"),
        (3, "newest"),
        (2, "newest"),
    ]
    assert (tmp_path / "run" / "step-4" / ".metadata").exists()


def test_prune_knows_a_full_step_by_the_states(tmp_path: Path) -> None:
    dcpcpp.save({"model.a": ramp(4), "optim.a": ramp(4)}, checkpoint_id=tmp_path / "step-1")
    for step in (2, 3):
        dcpcpp.save({"model.a": ramp(4)}, checkpoint_id=tmp_path / f"step-{step}")
    for arguments in ([], ["--dry-run"], ["--state", "optimizer"]):
        done = command("prune", tmp_path, "--keep", "2", *arguments)
        assert done.exit_code == 2
        assert "--state" in done.stderr
    plan = json_of("prune", tmp_path, "--keep", "2", "--state", "other", "--state", "optim")
    assert plan["removed"] == []
    assert plan["kept"][2]["reason"] == "newest full"
    plan = json_of("prune", tmp_path, "--keep", "2", "--state", "model")
    assert [step["step"] for step in plan["removed"]] == [1]


def test_prune_says_what_is_wrong(tmp_path: Path) -> None:
    assert command("prune", tmp_path, "--keep", "1").exit_code == 2
    assert command("prune", tmp_path).exit_code == 2
    done = command("prune", tmp_path / "nowhere", "--keep", "2")
    assert done.exit_code == 2
    assert done.stderr == f"dcpcpp: error: there is no folder {tmp_path / 'nowhere'}\n"


def test_layout_tells_files_ranks_and_chunks(place: Path) -> None:
    found = json_of("layout", place)
    assert found["files"][0]["name"] == "__0_0.distcp"
    assert found["files"][0]["keys"] == 4
    assert found["ranks"][0]["nbytes"] == found["files"][0]["nbytes"]
    assert (found["file_imbalance"], found["rank_imbalance"]) == (1.0, 1.0)
    chunks = {chunk["key"]: chunk for chunk in found["chunks"]}
    assert chunks["layers.1"]["offsets"] == [0, 0]
    assert chunks["layers.1"]["sizes"] == [6, 4]
    assert chunks["step"]["sizes"] is None
    lines = command("layout", place, "layers.*").stdout.splitlines()
    assert lines[0].split() == ["file", "rank", "size", "items", "keys"]
    assert lines[2].startswith("1 file; the largest has 1.00 times the mean")
    assert [line.split()[0] for line in lines[5:]] == ["key", "layers.0", "layers.1"]


def test_cp_copies_what_loads_and_replaces_nothing(place: Path, tmp_path: Path) -> None:
    (place / "config.json").write_text("{}")
    copied = json_of("cp", place, tmp_path / "copy")
    assert copied["files"] == len(list(place.iterdir()))
    assert steps_in(tmp_path / "copy") == steps_in(place)
    assert copied["not_copied"] == []
    require_model(tmp_path / "copy")
    again = command("cp", place, tmp_path / "copy")
    assert again.exit_code == 2
    assert "remove it first" in again.stderr
    data = bytearray((place / "__0_0.distcp").read_bytes())
    data[100] ^= 1
    (place / "__0_0.distcp").write_bytes(data)
    assert command("cp", place, tmp_path / "other").exit_code == 1
    assert steps_in(tmp_path / "other") == []


def test_cp_names_what_stays_behind(place: Path, tmp_path: Path) -> None:
    (tmp_path / "shared.json").write_text("{}")
    (place / "tokenizer.json").symlink_to("../shared.json")
    lines = command("cp", place, tmp_path / "copy").stdout.splitlines()
    assert lines[0].startswith("tokenizer.json is not copied: ")
    (left,) = json_of("cp", place, tmp_path / "again")["not_copied"]
    assert left["name"] == "tokenizer.json"


def test_reshard_cuts_rows_for_ranks(place: Path, tmp_path: Path) -> None:
    done = json_of("reshard", place, tmp_path / "new", "--ranks", "4")
    assert (done["tensors"], done["objects"]) == (3, 1)
    require_model(tmp_path / "new")
    chunks = json_of("layout", tmp_path / "new", "layers.0")["chunks"]
    assert [(chunk["file"], chunk["sizes"]) for chunk in chunks] == [
        (f"__{rank}_0.distcp", [2, 4]) for rank in range(3)
    ]
    assert command("reshard", place, tmp_path / "new", "--ranks", "0").exit_code == 2
    assert dcpcpp.verify(tmp_path / "new").ok


def test_conversions_and_cleaning_tell_in_json(place: Path, tmp_path: Path) -> None:
    target = tmp_path / "hf"
    told = json_of("convert", place, target, "--to", "safetensors", "--exclude", "step")
    assert told.pop("seconds") > 0
    names = {"source": str(place), "destination": str(target)}
    assert told == {**names, "tensors": 3, "objects": 0, "nbytes": 196}
    told = json_of("consolidate", target, tmp_path / "whole")
    assert (told["tensors"], told["nbytes"]) == (3, 196)
    (target / f".dcpcpp-{'0' * 32}.0.shard").write_bytes(b"left")
    leftovers = [{"name": f".dcpcpp-{'0' * 32}.0.shard", "nbytes": 4}]
    for options, found in ((["--dry-run"], leftovers), ([], leftovers), ([], [])):
        told = json_of("clean", target, *options)
        assert told == {"path": str(target), "dry_run": bool(options), "leftovers": found}


def test_debug_shows_where_an_error_comes_from(tmp_path: Path) -> None:
    for options in ([], ["--debug"]):
        done = faults.run_python(
            f"""
            import sys
            sys.argv = ["dcpcpp", *{options!r}, "info", {str(tmp_path)!r}]
            from dcpcpp.cli import main
            main()
            """
        )
        assert done.returncode == (1 if options else 2)
        assert ("Traceback" in done.stderr) == bool(options)


def test_shells_complete_the_commands() -> None:
    environment = {
        "_DCPCPP_COMPLETE": "complete_bash",
        "COMP_WORDS": "dcpcpp la",
        "COMP_CWORD": "1",
    }
    done = CliRunner().invoke(app, [], env=environment, prog_name="dcpcpp")
    assert done.stdout.split() == ["layout"]
    assert "--install-completion" in command("--help").stdout


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize("delay", [0.0, 60.0])
def test_a_bar_is_shown_on_a_terminal_after_a_while(
    delay: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_progress, "DELAY", delay)
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setenv("TERM", "xterm")
    with _progress.bar("copy") as tell:
        tell(1_000_000, 4_000_000)
    assert ("copy" in terminal.getvalue()) == (delay == 0)
    deadline = time.monotonic() + 30
    with _progress.waiting("[looking]"):
        while delay == 0 and "[looking]" not in terminal.getvalue():
            assert time.monotonic() < deadline
    assert delay == 0 or terminal.getvalue() == ""
