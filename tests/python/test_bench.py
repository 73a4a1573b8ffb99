"""`dcpcpp bench`, on a state that is too small to say anything of speed."""

from __future__ import annotations

import json
import pathlib
import subprocess
import sys

import pytest
from typer.testing import CliRunner

from dcpcpp.cli import app


@pytest.mark.timeout(300)
def test_measures_are_printed_and_written_as_json_and_as_a_plot(tmp_path: pathlib.Path) -> None:
    report, plot = tmp_path / "bench.json", tmp_path / "bench.png"
    command = [
        *(sys.executable, "-m", "dcpcpp", "bench", "--dir", str(tmp_path / "disk")),
        *("--gib", "0.01", "--repeats", "1", "--small-count", "50"),
        *("--measure", "save", "--measure", "small", "--json", str(report), "--plot", str(plot)),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    outcomes = json.loads(report.read_text())["outcomes"]
    small = "50 tensors of 4 KiB"
    assert [outcome["measure"] for outcome in outcomes] == [
        *("durable save", f"durable save, {small}", f"warm load, {small}")
    ]
    names = list(outcomes[0]["samples"])
    for who in ("dcpcpp", "stock DCP, default", "torch.save", "safetensors", "raw device"):
        assert any(name.startswith(who) for name in names), names
    for outcome in outcomes:
        assert outcome["measure"] in done.stdout
        for name, samples in outcome["samples"].items():
            assert name in done.stdout
            (seconds,) = samples["seconds"]
            assert seconds > 0
    assert plot.read_bytes().startswith(b"\x89PNG")
    assert list((tmp_path / "disk").iterdir()) == []


@pytest.mark.parametrize("size", ["-1", "0", "nan", "inf", "much"])
def test_a_size_that_is_none_is_a_usage_error(tmp_path: pathlib.Path, size: str) -> None:
    done = CliRunner().invoke(app, ["bench", "--dir", str(tmp_path / "disk"), "--gib", size])
    assert done.exit_code == 2
    assert "--gib" in done.output
    assert not (tmp_path / "disk").exists()
