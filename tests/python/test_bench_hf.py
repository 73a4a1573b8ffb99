"""`dcpcpp bench --hf`, on a model that is too small to say anything of speed."""

from __future__ import annotations

import json
import math
import pathlib
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from dcpcpp.bench import conversions, hf_suite
from dcpcpp.bench.conversion_worker import MAKERS, OURS, READS, STOCK, UNMAPPED, WRITES
from dcpcpp.bench.measures import Outcome
from dcpcpp.bench.meter import Samples
from dcpcpp.bench.states import HEADS, KV_HEADS, llama_model
from dcpcpp.bench.stock_conversion import to_hugging_face
from support.command_line import command
from support.llama import permuted


def test_conversions_are_measured_beside_stock_and_the_raw_device(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Saves and loads take minutes; test_bench.py has them, in other formats.
    monkeypatch.setattr(hf_suite.HfSuite, "_saves", lambda *_: [])
    monkeypatch.setattr(hf_suite.HfSuite, "_loads", lambda *_: [])
    monkeypatch.setattr(hf_suite, "OFTEN_ON_DISK", 1)
    report, disk = tmp_path / "hf.json", tmp_path / "disk"
    done = command(
        *("bench", "--hf", "--gib", "0.002", "--repeats", "1", "--dir", disk, "--json", report)
    )
    assert done.exit_code == 0, done.output
    (outcome,) = json.loads(report.read_text())["outcomes"]
    assert outcome["measure"] == "conversion of DCP to safetensors"
    assert outcome["nbytes"] >= 0.002 * 2**30
    assert list(outcome["samples"]) == list(MAKERS)
    for name, samples in outcome["samples"].items():
        assert name in done.output
        for values in samples.values():
            (value,) = values
            assert 0 < value < math.inf, name
    bars = {bar["measure"]: bar for bar in outcome["bars"]}
    for name in (OURS, UNMAPPED):
        assert bars[f"{name}: of the slower of reads and writes"]["bar"] == 0.7
        peak = bars[f"{name}: peak RSS"]
        # Less than a process that has torch: what is measured is not this one.
        assert 0.02 < peak["values"][0] < 0.15 < peak["bar"] == 1.0
    assert bars[f"{STOCK}: peak RSS"]["bar"] is None
    assert "what is asked for" in done.output
    assert list(disk.iterdir()) == []


def test_the_device_is_the_slower_of_reads_and_writes() -> None:
    seconds = {name: [4.0, 5.0, 6.0] for name in MAKERS}
    seconds[READS], seconds[WRITES] = [1.0, 2.0, 3.0], [2.0, 4.0, 4.0]
    outcome = Outcome("conversion", 1)
    outcome.samples = {name: Samples(taken) for name, taken in seconds.items()}
    ratio, peak, *_ = conversions._bars(outcome, {name: [1024.0, 2048.0] for name in MAKERS})
    assert (ratio.median, ratio.holds) == (4.0 / 5.0, True)
    assert (peak.values, peak.holds) == ([2.0], False)  # the largest counts


def test_the_rules_of_the_rival_are_torchtitans() -> None:
    native = llama_model(1 << 20)
    made = to_hugging_face(native)
    assert len(made) == len(native)
    for key, name, heads in (("wq", "q_proj", HEADS), ("wk", "k_proj", KV_HEADS)):
        rows = native[f"layers.0.attention.{key}.weight"]
        expected = permuted(rows, heads)
        assert torch.equal(made[f"model.layers.0.self_attn.{name}.weight"], expected)
        assert not torch.equal(expected, rows)


@pytest.mark.parametrize("is_wrong", ["a value", "a name"])
def test_a_contestant_that_writes_something_else_ends_the_bench(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch, is_wrong: str
) -> None:
    def convert(_name: str, _source: pathlib.Path, destination: pathlib.Path) -> dict[str, Any]:
        state = to_hugging_face(llama_model(1 << 20))
        if is_wrong == "a value":
            state["lm_head.weight"][0, 0] += 1
        else:
            state.pop("lm_head.weight")
        destination.mkdir()
        save_file(state, destination / "model.safetensors")
        return dict.fromkeys(("seconds", "cpu_seconds", "extra_rss_mib", "peak_rss_mib"), 1.0) | {
            "cold_by": "nothing"
        }

    monkeypatch.setattr(conversions, "_convert", convert)
    monkeypatch.setattr(conversions, "MAKERS", {OURS: None})
    message = "lm_head.weight was not loaded as" if is_wrong == "a value" else "has not written the"
    with pytest.raises(AssertionError, match=message):
        conversions.measure_conversions(1 << 20, tmp_path, 1, lambda _: None)
    assert list(tmp_path.iterdir()) == []
