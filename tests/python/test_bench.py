"""`dcpcpp bench`, on a state that is too small to say anything of speed."""

from __future__ import annotations

import dataclasses
import inspect
import json
import math
import pathlib
import subprocess
import sys

import pytest
from typer.testing import CliRunner

from dcpcpp.bench import contestants, measures, states
from dcpcpp.bench.command import MEASURES, bench
from dcpcpp.cli import app

SMALL = "50 tensors of 4 KiB"
# What each `--measure` prints, and who takes part.
PEERS = ("stock DCP", "torch.save", "safetensors", "raw")
OUTCOMES = {
    "save": {"durable save": PEERS},
    "load": {"cold load": PEERS, "warm load": PEERS},
    "verify": {
        "cold load, checked or not": ("dcpcpp, verify=False",),
        "warm load, checked or not": ("dcpcpp, verify=False",),
    },
    "ranks": {"durable save, 2 ranks": ("stock DCP, default", "stock DCP, thread", "raw")},
    "rank-loads": {
        "cold load of replicas, 4 ranks": ("dcpcpp, each by itself", "stock DCP"),
        "warm load of replicas, 4 ranks": ("dcpcpp, each by itself", "stock DCP"),
    },
    "tmpfs": {
        "save on tmpfs": (*PEERS, "dcpcpp, thread_count=2"),
        "load on tmpfs": (*PEERS, "dcpcpp, thread_count=2"),
    },
    "small": {f"durable save, {SMALL}": ("stock DCP",), f"warm load, {SMALL}": ("stock DCP",)},
    "zstd": {"durable save, zstd": ("stock DCP, ZS",), "warm load, zstd": ("stock DCP, ZS",)},
}
# How many rounds of each repeat are those of dcpcpp and the raw device.
OFTEN = {
    **dict.fromkeys(("durable save", "cold load", "durable save, 2 ranks"), 8),
    "cold load of replicas, 4 ranks": 8,
    "save on tmpfs": 4,
}


@pytest.mark.timeout(300)
@pytest.mark.parametrize("measure", MEASURES)
def test_a_measure_is_printed_and_written_as_json_and_as_a_plot(
    tmp_path: pathlib.Path, measure: str
) -> None:
    report, plot = tmp_path / "bench.json", tmp_path / "bench.png"
    command = [
        *(sys.executable, "-m", "dcpcpp", "bench", "--dir", str(tmp_path / "disk")),
        *("--gib", "0.01", "--repeats", "1", "--small-count", "50"),
        *("--measure", measure, "--json", str(report), "--plot", str(plot)),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    outcomes = json.loads(report.read_text())["outcomes"]
    titles = [
        outcome["measure"] + (f", {outcome['ranks']} ranks" if outcome["ranks"] > 1 else "")
        for outcome in outcomes
    ]
    assert titles == list(OUTCOMES[measure])
    for title, outcome in zip(titles, outcomes, strict=True):
        assert title in done.stdout
        assert outcome["nbytes"] > 0
        names = list(outcome["samples"])
        for who in ("dcpcpp", *OUTCOMES[measure][title]):
            assert any(name.startswith(who) for name in names), names
        for name, samples in outcome["samples"].items():
            is_close = name.startswith(("dcpcpp", "raw"))
            repeats = OFTEN.get(title, 1) if is_close else 1
            assert name in done.stdout
            assert len(samples["seconds"]) == repeats
            assert all(0 < seconds < math.inf for seconds in samples["seconds"])
            assert all(0 < seconds < math.inf for seconds in samples["cpu_seconds"])
            assert len(samples["cpu_seconds"]) == len(samples["extra_rss_mib"]) == repeats
    assert plot.read_bytes().startswith(b"\x89PNG")
    assert list((tmp_path / "disk").iterdir()) == []


def test_without_options_it_is_as_large_and_as_often_as_the_bars_ask_for() -> None:
    defaults = {
        name: parameter.default for name, parameter in inspect.signature(bench).parameters.items()
    }
    assert defaults["gib"] >= 2
    assert defaults["repeats"] >= 5
    assert defaults["small_count"] >= 100_000
    assert list(defaults["measure"]) == list(MEASURES) == list(OUTCOMES)


def test_a_contestant_that_loads_other_values_ends_the_bench(tmp_path: pathlib.Path) -> None:
    honest = contestants.dcpcpp_contestant()
    assert honest.load is not None
    load = honest.load

    def load_one_wrong(state: states.Tensors, path: pathlib.Path) -> float | None:
        seconds = load(state, path)
        next(iter(state.values())).view(-1)[0] += 1
        return seconds

    liar = dataclasses.replace(honest, load=load_one_wrong)
    state = states.small_tensors(3)
    with pytest.raises(AssertionError, match="was not loaded as it was saved"):
        measures.measure_loads("load", state, [liar], tmp_path, 1, lambda _: None, cold=False)


@pytest.mark.parametrize("size", ["-1", "0", "nan", "inf", "much"])
def test_a_size_that_is_none_is_a_usage_error(tmp_path: pathlib.Path, size: str) -> None:
    done = CliRunner().invoke(app, ["bench", "--dir", str(tmp_path / "disk"), "--gib", size])
    assert done.exit_code == 2
    assert "--gib" in done.output
    assert not (tmp_path / "disk").exists()
