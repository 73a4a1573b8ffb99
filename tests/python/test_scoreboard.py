"""The reliability scoreboard: its page tells what was recorded, and each part has its time."""

from __future__ import annotations

import collections
import importlib
import json
import pathlib
from types import ModuleType

import pytest

ROOT = pathlib.Path(__file__).parents[2]
RESULTS = ROOT / "benchmarks" / "reliability.json"


@pytest.fixture
def scoreboard(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """tests/scoreboard/run.py."""
    monkeypatch.syspath_prepend(ROOT / "tests" / "scoreboard")
    return importlib.import_module("run")


def test_the_page_is_what_was_recorded(scoreboard: ModuleType) -> None:
    results = json.loads(RESULTS.read_text())
    assert scoreboard.PAGE.read_text() == scoreboard.render(scoreboard.ROWS, results)


def test_each_part_fits_into_its_time(scoreboard: ModuleType) -> None:
    results = json.loads(RESULTS.read_text())
    seconds: collections.Counter[str] = collections.Counter()
    for row in scoreboard.ROWS:
        seconds[row.part] += results.get(row.name, {}).get("seconds", 0)
    assert max(seconds.values()) <= scoreboard.MAX_SECONDS_OF_PART


def test_a_row_that_must_run_again_says_so(scoreboard: ModuleType) -> None:
    (row, *_) = scoreboard.ROWS
    line = {"row": row.name, "trial": "t", "subject": "dcpcpp", "count": 1, "bad": 0}
    result = {
        "lines": [{**line, "seed": 0, "note": ""}],
        "failures": [],
        "target": row.target,
        "commit": "c",
        "date": "d",
        "seconds": 1.0,
    }
    assert "TO BE RUN AGAIN" not in scoreboard.render([row], {row.name: result})
    result["target"] = "less"
    assert "TO BE RUN AGAIN" in scoreboard.render([row], {row.name: result})


def test_a_row_without_a_report_has_failed(scoreboard: ModuleType, tmp_path: pathlib.Path) -> None:
    silent = tmp_path / "silent.py"
    silent.write_text("")
    row = scoreboard.Row("R0", "none", "nothing", "nothing", scripts=(str(silent),))
    assert scoreboard.run(row, tmp_path, tmp_path, 60.0)["failures"] == ["nothing was reported"]
