"""`dcpcpp` and `python -m dcpcpp`; what the package says of its choices."""

from __future__ import annotations

import logging
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
import torch

import dcpcpp
from dcpcpp import _config, _core
from support import faults

SHARED_MEMORY = Path("/dev/shm")  # a tmpfs


def dcpcpp_command(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "dcpcpp", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.parametrize("arguments", [["--help"], ["-h"], []])
def test_help_lists_the_commands(arguments: list[str]) -> None:
    done = dcpcpp_command(*arguments)
    assert done.returncode == (0 if arguments else 2)
    assert "Traceback" not in done.stdout + done.stderr
    for word in ("Usage", "bench", "config", "--version"):
        assert word in done.stdout + done.stderr


def test_help_needs_neither_torch_nor_matplotlib() -> None:
    done = faults.run_python(
        """
        import sys
        sys.modules["torch"] = sys.modules["matplotlib"] = None  # imports of them fail
        sys.argv = ["dcpcpp", "bench", "--help"]
        from dcpcpp.cli import main
        main()
        """
    )
    assert done.returncode == 0, done.stderr
    assert "--repeats" in done.stdout


def test_the_version_is_the_packages() -> None:
    done = dcpcpp_command("--version")
    assert done.stdout == f"dcpcpp {dcpcpp.__version__}\n"


@pytest.mark.parametrize("arguments", [["nosuch"], ["--nosuch"], ["bench", "--measure", "nosuch"]])
def test_wrong_usage_is_one_message_and_exit_code_2(arguments: list[str]) -> None:
    done = dcpcpp_command(*arguments)
    assert done.returncode == 2
    assert "nosuch" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("error", "line", "code"),
    [
        (OSError(28, "No space left", "/c"), "/c: No space left", 2),
        (OSError(2, "open /c: No such file", "/c"), "open /c: No such file", 2),
        (ValueError("not\na size"), "not a size", 2),
        (ImportError("no fsspec"), "no fsspec", 2),
        (KeyError("no tensor w"), "no tensor w", 2),
        (dcpcpp.CheckpointCorruptedError("damaged, file /c"), "damaged, file /c", 1),
    ],
)
def test_an_error_is_one_line_and_an_exit_code(
    error: Exception,
    line: str,
    code: int,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from dcpcpp import cli

    def fail(directory: object) -> None:
        raise error

    monkeypatch.setattr(dcpcpp, "show_config", fail)
    monkeypatch.setattr(sys, "argv", ["dcpcpp", "config"])
    with pytest.raises(SystemExit) as info:
        cli.main()
    assert info.value.code == code
    assert capsys.readouterr().err == f"dcpcpp: error: {line}\n"


def test_config_tells_versions_the_engine_and_why(capsys: pytest.CaptureFixture[str]) -> None:
    dcpcpp.show_config()
    lines = dict(line.split(maxsplit=1) for line in capsys.readouterr().out.splitlines())
    assert lines["dcpcpp"] == dcpcpp.__version__
    assert lines["torch"] == torch.__version__
    engine, reason = _core.io_engine()
    assert lines["I/O"] == f"engine   {engine} ({reason})"
    assert lines["CUDA"]
    assert "I/O engine" in dcpcpp_command("config").stdout


def test_config_tells_whether_direct_io_serves_and_why(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert f"keeps files in memory), in {SHARED_MEMORY}" in direct_io_line(SHARED_MEMORY)
    available, reason = _core.direct_io(str(tmp_path))
    answer = f"{'yes' if available else 'no'} ({reason}), in {tmp_path}"
    assert direct_io_line(tmp_path) == f"direct I/O   {answer}"
    assert "not known" in direct_io_line(tmp_path / "nothing")
    dcpcpp.show_config(tmp_path)
    assert answer in capsys.readouterr().out
    assert dcpcpp_command("config", str(tmp_path / "nothing")).returncode == 2


def direct_io_line(directory: Path) -> str:
    return f"direct I/O   {_config.config(directory)['direct I/O']}"


def test_config_tells_how_safetensors_are_overwritten(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    directory = tmp_path / "checkpoint"
    directory.mkdir()
    (directory / "model.safetensors").write_bytes(b"x")
    (directory / "config.json").write_text("{}")
    before = sorted(tmp_path.rglob("*"))
    dcpcpp.show_config(directory)
    out = capsys.readouterr().out
    assert "overwrites of safetensors exchange of directories\n" in out
    (tmp_path / "link").symlink_to("checkpoint")
    assert "save id names (" in overwrite_of(tmp_path / "link")
    assert sorted(tmp_path.rglob("*")) == sorted([*before, tmp_path / "link"])
    (directory / "sub").mkdir()
    assert overwrite_of(directory) == "save id names (sub in it is no file)"
    assert "not known" in overwrite_of(tmp_path / "nothing")


def overwrite_of(directory: Path) -> str:
    return _config.config(directory)["overwrites of safetensors"]


def test_the_engine_that_was_asked_for_is_the_one_that_serves() -> None:
    assert _core.io_engine("threads") == ("threads", "threads were asked for")
    with pytest.raises(ValueError, match="io_engine must be"):
        _core.io_engine("nvme")


def test_choices_are_logged_once_for_each_wanted_engine(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_config, "_logged", set())
    engine, reason = _core.io_engine()
    with caplog.at_level(logging.INFO, logger="dcpcpp"):
        for _ in range(2):
            dcpcpp.save({"w": torch.zeros(3)}, checkpoint_id=tmp_path / "a")
            dcpcpp.load({"w": torch.zeros(3)}, checkpoint_id=tmp_path / "a")
        writer = dcpcpp.FileSystemWriter(tmp_path / "b", io_engine="threads")
        dcpcpp.save({"w": torch.zeros(3)}, storage_writer=writer)
    said = [record.getMessage() for record in caplog.records if record.name == "dcpcpp"]
    direct = _config._direct_io(tmp_path / "a")
    assert [line for line in said if not line.startswith("saved ")] == [
        f"I/O engine: {engine} ({reason}); CUDA: {_core.cuda()}",
        f"direct I/O: {direct}, in {tmp_path / 'a'}",
        f"I/O engine: threads (threads were asked for); CUDA: {_core.cuda()}",
    ]


def test_direct_io_that_is_refused_is_logged_once_for_each_file_system(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_config, "_logged", set())
    with tempfile.TemporaryDirectory(dir=SHARED_MEMORY) as folder:
        path = Path(folder) / "c"
        with caplog.at_level(logging.INFO, logger="dcpcpp"):
            for direct_io in (False, True, True):
                writer = dcpcpp.FileSystemWriter(path, direct_io=direct_io)
                dcpcpp.save({"w": torch.zeros(3)}, storage_writer=writer)
                dcpcpp.load(
                    {"w": torch.zeros(3)},
                    storage_reader=dcpcpp.FileSystemReader(path, direct_io=direct_io),
                )
    said = [record.getMessage() for record in caplog.records if record.name == "dcpcpp"]
    assert [line for line in said if line.startswith("direct I/O")] == [
        f"direct I/O: no (the file system keeps files in memory), in {path}"
    ]


def test_clean_shows_and_removes_what_a_killed_save_left(tmp_path: Path) -> None:
    dcpcpp.save({"w": torch.ones(3)}, checkpoint_id=tmp_path)
    (tmp_path / "__0_9.distcp").write_bytes(b"left over")
    (tmp_path / "notes.txt").write_text("mine")
    shown = dcpcpp_command("clean", "--dry-run", str(tmp_path))
    assert shown.returncode == 0, shown.stderr
    assert shown.stdout.split() == [
        "9",
        "B",
        "__0_9.distcp",
        "1",
        "file,",
        "9",
        "B",
        "left",
        "over",
    ]
    done = dcpcpp_command("clean", str(tmp_path))
    assert "1 file, 9 B removed" in done.stdout
    assert not (tmp_path / "__0_9.distcp").exists()
    assert (tmp_path / "notes.txt").exists()
    assert dcpcpp.clean(tmp_path) == []
    dcpcpp.load({"w": torch.zeros(3)}, checkpoint_id=tmp_path)


def test_clean_says_what_is_wrong(tmp_path: Path) -> None:
    done = dcpcpp_command("clean", str(tmp_path / "missing"))
    assert done.returncode == 2
    assert "missing" in done.stderr
    (tmp_path / ".metadata").write_bytes(b"no pickle")
    with pytest.raises(dcpcpp.CheckpointCorruptedError, match="nothing is removed"):
        dcpcpp.clean(tmp_path)
