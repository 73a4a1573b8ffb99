"""`dcpcpp bench --async`, on a state that is too small to say anything of speed."""

from __future__ import annotations

import json
import math
import os
import pathlib
import signal

import pytest

from dcpcpp.bench import async_suite
from dcpcpp.bench.async_contestants import is_installed
from support.command_line import command

FULL_COPIES = ["dcpcpp", "dcpcpp, PROCESS", "stock DCP, THREAD", "stock DCP, PROCESS, shared"]
FENCED = [name for name in ("dcpcpp, with a fence", "torch_checkpointing") if is_installed(name)]
NAMES = {
    "async save: the call, with a full copy made before it returns": ["one memcpy", *FULL_COPIES],
    "async save: until it is on the disk": ["dcpcpp.save", *FULL_COPIES],
    "training step beside an async save": [*FULL_COPIES, *FENCED, "raw device"],
    "async save of 2,000 tensors: the call, with a fence": FENCED,
    "async save of 2,000 tensors: from the call's end until the fence opens": FENCED,
    "the first async save: the call, with a full copy": [
        *("dcpcpp", "dcpcpp, after prewarm", "stock DCP, THREAD")
    ],
}


@pytest.mark.timeout(300)
def test_async_saves_are_measured_beside_stock(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(async_suite, "_ALONE_SECONDS", 0.1)
    report = tmp_path / "async.json"
    done = command(
        *("bench", "--async", "--gib", "0.01", "--repeats", "1", "--dir", tmp_path / "disk"),
        *("--json", report),
    )
    assert done.exit_code == 0, done.output
    outcomes = {
        outcome["measure"]: outcome for outcome in json.loads(report.read_text())["outcomes"]
    }
    assert list(outcomes) == list(NAMES)
    for measure, names in NAMES.items():
        taken = outcomes[measure].get("seconds") or outcomes[measure]["steps"]
        assert list(taken) == names
        for name in names:
            assert name in done.output
            (value,) = taken[name]
            for times in [[value]] if "seconds" in outcomes[measure] else value:
                assert times
                assert all(0 <= seconds < math.inf for seconds in times)


@pytest.mark.timeout(120)
@pytest.mark.parametrize(
    ("end", "advice"),
    [(signal.SIGKILL, "it was killed, .*smaller --gib"), (signal.SIGTERM, "what it printed")],
)
def test_a_contestant_that_ends_is_named(
    tmp_path: pathlib.Path, end: signal.Signals, advice: str
) -> None:
    with async_suite._processes(["dcpcpp"], 1 << 20) as workers:
        worker = workers["dcpcpp"]
        os.kill(worker._process.pid, end)
        worker._process.wait()
        with pytest.raises(
            RuntimeError, match=f"contestant dcpcpp ended with status -{end:d}; {advice}"
        ):
            worker.ask(do="save", path=str(tmp_path / "c"))


def test_a_slowdown_is_of_the_mean_step_and_has_an_interval() -> None:
    steps = {"some": [([1.0, 1.0], [1.1, 1.3]), ([1.0, 1.0], [1.2, 1.2])]}
    slower, low, high = async_suite.Slowdown("steps", steps).percent("some")
    assert slower == pytest.approx(20.0)
    assert low == pytest.approx(20.0)
    assert high == pytest.approx(20.0)
    assert async_suite.Slowdown("steps", steps).lost("some") == pytest.approx(0.4)


@pytest.mark.parametrize("what", ["--async", "--plan"])
def test_a_plot_of_what_is_not_drawn_is_a_usage_error(tmp_path: pathlib.Path, what: str) -> None:
    done = command("bench", what, "--plot", tmp_path / "bench.png", "--dir", tmp_path / "disk")
    assert done.exit_code == 2
    assert "--plot" in done.output
