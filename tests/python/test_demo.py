"""`make demo`: what it runs, and what that prints."""

from __future__ import annotations

import os
import pathlib
import re
import shlex
import subprocess
import sys

ROOT = pathlib.Path(__file__).parents[2]


def demo_command() -> list[str]:
    """What `make demo` runs last, once everything is built."""
    bin_folder = pathlib.Path(sys.executable).parent
    command = ["make", "--dry-run", "--no-print-directory", "demo", f"BIN={bin_folder}"]
    recipes = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    return shlex.split(recipes.splitlines()[-1])


def test_the_demo_resumes_on_other_numbers_of_ranks_and_prints_its_table(
    tmp_path: pathlib.Path,
) -> None:
    environment = {**os.environ, "DEMO_DIR": str(tmp_path), "COLUMNS": "100"}
    done = subprocess.run(
        demo_command(), cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Traceback" not in done.stderr, done.stderr
    for ranks in (2, 1, 4):
        assert f"Resuming on {ranks} rank(s)" in done.stdout
    assert done.stdout.count("ok the state is equal, bit for bit") == 3
    assert done.stdout.count("ok the losses of steps 4, 5, 6 are equal, bit for bit") == 1
    assert len(re.findall(r"ok the losses agree to \S+ \(bar: 1e-5\)", done.stdout)) == 2
    assert "ok stock loads what dcpcpp saved" in done.stdout
    assert "ok dcpcpp loads what stock saved" in done.stdout
    assert re.search(r"\d+ tensors, \d+ MB, one process, median of \d+", done.stdout)
    rows = [
        [cell.strip() for cell in line.strip("│").split("│")]
        for line in done.stdout.splitlines()
        if line.startswith("│")
    ]
    assert [row[0] for row in rows] == [
        f"{what}, {who}"
        for what in ("durable save", "load, cold", "load, warm")
        for who in ("dcpcpp", "stock DCP")
    ]
    for what, seconds, speed, ratio in rows:
        assert float(seconds) > 0
        assert float(speed) >= 0
        assert float(ratio) > 0 if what.endswith("dcpcpp") else ratio == ""
    assert list(tmp_path.iterdir()) == []
