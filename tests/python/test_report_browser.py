"""The page of `dcpcpp report` in a real browser: it draws itself, without errors or a network."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

import dcpcpp
from support.command_line import command
from support.states import ramp

BROWSER = shutil.which("chromium") or shutil.which("google-chrome")

pytestmark = pytest.mark.skipif(
    BROWSER is None, reason="there is neither chromium nor google-chrome (apt-get install chromium)"
)


def drawn(page: Path, width: int) -> tuple[str, list[str]]:
    """The document as the page's script leaves it, and what the console was told."""
    options = ("--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage")
    offline = "--host-resolver-rules=MAP * ~NOTFOUND"
    size = f"--window-size={width},900"
    log = "--enable-logging=stderr"
    done = subprocess.run(
        [str(BROWSER), *options, offline, size, log, "--dump-dom", page.as_uri()],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    return done.stdout, [line for line in done.stderr.splitlines() if "CONSOLE" in line]


@pytest.mark.parametrize("width", [1280, 500])
def test_a_browser_draws_all_of_a_page(tmp_path: Path, width: int) -> None:
    stats = dcpcpp.SaveStats()
    state = {"model": {"a": ramp(300, 400), "b": ramp(30)}}
    dcpcpp.save(state, checkpoint_id=tmp_path / "step-1", stats=stats)
    stats.write_trace(tmp_path / "0.json")
    page = tmp_path / "page.html"
    options = ("--verify", "--tensor", "model.a", "--compare", tmp_path / "step-1")
    trace = ("--trace", tmp_path / "0.json", "-o", page)
    assert command("report", tmp_path / "step-1", *options, *trace).exit_code == 0
    document, said = drawn(page, width)
    assert said == []
    titles = re.findall(r"<h2>(.*?)</h2>", document)
    assert titles == [
        *("Sizes", "Dtypes", "Ranks and files", "Integrity", "Time line of the save"),
        *("Histograms", "Comparison", "Tensors"),
    ]
    line = document.partition("<h2>Time line of the save</h2>")[2].partition("<h2>")[0]
    for phase in stats.phases:
        assert f"<td>{phase}</td>" in line
        assert f"<title>{phase}: " in line
