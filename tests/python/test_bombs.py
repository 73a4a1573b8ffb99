"""R23: small files that ask for much are refused in little time and memory."""

from __future__ import annotations

import contextlib
import json
import subprocess
from pathlib import Path

import pytest

from support import bombs, faults, safetensors_bombs
from support.planting import make_template
from support.scoreboard import ONE_SECOND, SUBJECTS, Subject, report

MAX_SECONDS = 0.1 * ONE_SECOND
MAX_MIB = 64
STOCK_SECONDS = 30  # after which it counts as hung

Figures = tuple[float, float, str]  # seconds, MiB and the error

# Loads argv[4:], of format argv[3], in a process of its own, each argv[1] times; a line for
# each tells how many seconds and MiB it took, and the error.
MEASURE = """
import json, resource, sys, time, warnings
from pathlib import Path
warnings.simplefilter("ignore")
import torch
import torch.distributed.checkpoint as stock
import dcpcpp
torch.set_num_threads(1)
module = dcpcpp if sys.argv[2] == "dcpcpp" else stock
if module is stock:  # some bombs would take all of the machine
    resource.setrlimit(resource.RLIMIT_AS, (8 << 30, 8 << 30))

def load(directory):
    state = {"w": torch.zeros(2, 3)}
    if sys.argv[3] == "native":
        state["step"] = 0
        source = {"checkpoint_id": directory}
    else:
        source = {"storage_reader": module.HuggingFaceStorageReader(directory)}
    begun = time.perf_counter()
    error = ""
    try:
        module.load(state, **source)
    except BaseException as caught:
        error = str(caught)[-300:] or repr(caught)
    return time.perf_counter() - begun, error

def kib(key):
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(key))

template, *directories = sys.argv[4:]
assert load(template)[1] == ""  # the imports that it takes are done
for directory in directories:
    Path("/proc/self/clear_refs").write_text("5")  # VmHWM begins anew
    before = kib("VmRSS")
    # The least of a few: others use this machine, too.
    seconds, error = min(load(directory) for _ in range(int(sys.argv[1])))
    print(json.dumps([directory, seconds, (kib("VmHWM") - before) / 1024, error]), flush=True)
"""


def measure(
    subject: Subject, kind: str, template: Path, directories: list[Path]
) -> dict[str, Figures]:
    """Seconds, MiB and the error of each directory; one that hangs or kills is not there."""
    if subject == "dcpcpp":
        done = [faults.run_python(MEASURE, 3, subject, kind, template, *directories)]
    else:
        done = []
        for directory in directories:
            with contextlib.suppress(subprocess.TimeoutExpired):
                done.append(
                    faults.run_python(
                        MEASURE, 1, subject, kind, template, directory, timeout=STOCK_SECONDS
                    )
                )
    lines = [json.loads(line) for process in done for line in process.stdout.splitlines()]
    return {directory: (seconds, mib, error) for directory, seconds, mib, error in lines}


def fault_of(figures: Figures | None) -> str:
    """What is wrong with them, empty if nothing is."""
    if figures is None:
        return "hung, or died"
    seconds, mib, error = figures
    if seconds > MAX_SECONDS or mib > MAX_MIB or not error:
        return f"{seconds:.3f} s, {mib:.0f} MiB, {error or 'loaded'}"
    return ""


def report_and_require(
    what: str, subject: Subject, planted: dict[str, Path], measured: dict[str, Figures]
) -> None:
    faults_found = {
        name: fault
        for name, path in planted.items()
        if (fault := fault_of(measured.get(str(path))))
    }
    report(
        "R23",
        what,
        subject=subject,
        count=len(planted),
        bad=len(faults_found),
        seed=0,
        note=(
            f"at most {max(s for s, _, _ in measured.values()) * 1000:.0f} ms, "
            f"{max(mib for _, mib, _ in measured.values()):.0f} MiB"
        ),
    )
    assert subject == "stock" or faults_found == {}


@pytest.mark.row("R23")
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("subject", SUBJECTS)
def test_bombs_are_refused_in_little_time_and_memory(tmp_path: Path, subject: Subject) -> None:
    template = make_template(tmp_path / "template")
    bombs_by_name = bombs.plant(template, tmp_path / "planted")
    if subject == "stock":  # which reads no file of checksums
        bombs_by_name = {n: path for n, path in bombs_by_name.items() if "checksums" not in n}
    for path in (tmp_path / "planted").rglob("*"):
        assert path.is_dir() or path.stat().st_size <= bombs.MIB + 100
    measured = measure(subject, "native", template, list(bombs_by_name.values()))
    assert len(bombs_by_name) >= 30
    report_and_require("bombs of at most 1 MiB", subject, bombs_by_name, measured)


@pytest.mark.row("R23")
@pytest.mark.timeout(900)
@pytest.mark.parametrize("subject", SUBJECTS)
def test_bombs_of_safetensors_are_refused_as_well(tmp_path: Path, subject: Subject) -> None:
    template = safetensors_bombs.make_template(tmp_path / "template")
    planted = safetensors_bombs.plant(tmp_path / "planted")
    for path in (tmp_path / "planted").rglob("*.*"):
        assert path.stat().st_size <= bombs.MIB + 100
    measured = measure(subject, "safetensors", template, list(planted.values()))
    report_and_require("bombs of at most 1 MiB, safetensors", subject, planted, measured)
