"""Conversions to safetensors in `dcpcpp bench --hf`, beside stock torch and the raw device."""

from __future__ import annotations

import json
import shutil
import statistics
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

from safetensors.torch import load_file

import dcpcpp
from dcpcpp.bench.bars import Measured
from dcpcpp.bench.conversion_worker import MAKERS, OURS, READS, STOCK, UNMAPPED, WRITES
from dcpcpp.bench.measures import Outcome, Progress, in_turns, is_close
from dcpcpp.bench.meter import Samples
from dcpcpp.bench.states import Tensors, llama_model, nbytes_of, require_equal
from dcpcpp.bench.stock_conversion import to_hugging_face

_OF_THE_DEVICE = 0.7
_PEAK_GIB = 1.0


def _convert(name: str, source: Path, destination: Path) -> dict[str, Any]:
    """What the process of a contestant reports."""
    command = [sys.executable, "-m", "dcpcpp.bench.conversion_worker", "--contestant", name]
    command += ["--source", str(source), "--destination", str(destination)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"the conversion by {name} failed:\n{done.stderr[-2000:]}")
    report: dict[str, Any] = json.loads(done.stdout)
    return report


def _require_written(name: str, directory: Path, expected: Tensors) -> None:
    written: Tensors = {}
    for file in directory.glob("*.safetensors"):
        written.update(load_file(file))
    if written.keys() != expected.keys():
        raise AssertionError(f"{name} has not written the tensors that were to be written")
    require_equal(written, expected)


def _bars(outcome: Outcome, peaks: dict[str, list[float]]) -> list[Measured]:
    median = {name: statistics.median(taken.seconds) for name, taken in outcome.samples.items()}
    device = max(median[READS], median[WRITES])
    found = []
    for name in (OURS, UNMAPPED):
        of_device = [device / seconds for seconds in outcome.samples[name].seconds]
        what = f"{name}: of the slower of reads and writes"
        found.append(Measured(what, "x", of_device, bar=_OF_THE_DEVICE, is_floor=True))
        largest = max(peaks[name]) / 1024
        found.append(Measured(f"{name}: peak RSS", "GiB", [largest], bar=_PEAK_GIB))
    theirs = max(peaks[STOCK]) / 1024
    return [*found, Measured(f"{STOCK}: peak RSS", "GiB", [theirs])]


def measure_conversions(
    nbytes: int, folder: Path, repeats: int, say: Progress, often: int = 1
) -> Outcome:
    """Durable conversions of a DCP checkpoint of one process, cold, each in a fresh process.

    What is written is compared each time. `often`: rounds of those that are close in each repeat.
    """
    native = llama_model(nbytes)
    mapped = to_hugging_face(native)
    expected = {OURS: mapped, STOCK: mapped, UNMAPPED: native}
    outcome = Outcome("conversion of DCP to safetensors", nbytes_of(native))
    outcome.samples = {name: Samples() for name in MAKERS}
    peaks: dict[str, list[float]] = {name: [] for name in MAKERS}
    source, destination = folder / "convert-dcp", folder / "convert-hf"
    try:
        with warnings.catch_warnings():  # of a save in one process
            warnings.simplefilter("ignore")
            shutil.rmtree(source, ignore_errors=True)
            dcpcpp.save(native, checkpoint_id=source)
        for repeat, name in in_turns(list(MAKERS), repeats, often, is_close):
            say(f"{outcome.measure}: {name}, {repeat + 1} of {repeats}")
            shutil.rmtree(destination, ignore_errors=True)
            report = _convert(name, source, destination)
            samples = outcome.samples[name]
            samples.seconds.append(report["seconds"])
            samples.cpu_seconds.append(report["cpu_seconds"])
            samples.extra_rss_mib.append(report["extra_rss_mib"])
            peaks[name].append(report["peak_rss_mib"])
            outcome.notes["cold by"] = report["cold_by"]
            if name in expected:
                _require_written(name, destination, expected[name])
    finally:
        shutil.rmtree(source, ignore_errors=True)
        shutil.rmtree(destination, ignore_errors=True)
    outcome.bars = _bars(outcome, peaks)
    return outcome


__all__ = ["measure_conversions"]
