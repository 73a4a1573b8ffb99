"""R19, R23: objects that would crash a reader, or take its memory or time, are refused.

They are decoded in processes of their own, with limits: a defect here kills the process.
"""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest

from support import faults, hostile_objects, object_values
from support.mutations import PickleMutator
from support.scoreboard import ONE_SECOND, report, trials

MAX_SECONDS = 0.1 * ONE_SECOND
MAX_MIB = 64
CPU_SECONDS = 60

# Decodes each file of argv[3:] and looks at the result; a line for each has its number, the
# seconds, the MiB that the process has grown, and the error.
DECODE = """
import json, resource, sys, time, warnings
from pathlib import Path
warnings.simplefilter("ignore")
import numpy, torch
from dcpcpp import _objects
cpu_seconds, mib, *paths = sys.argv[1:]
torch.set_num_threads(1)

def kib(key):
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(key))

registered = [numpy.ndarray, numpy.dtype, numpy._core.multiarray._reconstruct]
registered += [numpy._core.multiarray.scalar, bytes, list, dict]
torch.serialization.add_safe_globals(registered)  # as torch's documentation says
_objects.decode(_objects.encode([numpy.arange(3), torch.ones(2)]), "o", allow_pickle=False)
limit = (kib("VmSize") << 10) + (int(mib) << 20)
resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
resource.setrlimit(resource.RLIMIT_CPU, (int(cpu_seconds),) * 2)
for number, path in enumerate(paths):
    data = Path(path).read_bytes()
    Path("/proc/self/clear_refs").write_text("5")
    before, begun, error = kib("VmRSS"), time.process_time(), ""
    try:
        value = _objects.decode(data, "the key", allow_pickle=False)
    except BaseException as caught:
        error = f"{type(caught).__name__}: {caught}"
    else:
        try:
            repr(value)
        except Exception:
            pass
    seconds = time.process_time() - begun
    print(json.dumps([number, seconds, (kib("VmHWM") - before) / 1024, error]), flush=True)
    value = None
"""


def decode(directory: Path, pickles: list[bytes]) -> list[tuple[float, float, str]]:
    """Seconds, MiB and the error of each; the list ends where the process died."""
    paths = [directory / f"{number:05}" for number in range(len(pickles))]
    for path, pickled in zip(paths, pickles, strict=True):
        path.write_bytes(hostile_objects.archive(pickled, bytes(24)))
    done = faults.run_python(DECODE, CPU_SECONDS, MAX_MIB * 8, *paths, timeout=10 * CPU_SECONDS)
    return [tuple(json.loads(line)[1:]) for line in done.stdout.splitlines()]


@pytest.mark.row("R23")
def test_objects_that_ask_for_memory_or_time_are_refused_at_once(tmp_path: Path) -> None:
    bombs = hostile_objects.bombs()
    results = decode(tmp_path, hostile_objects.pickled(bombs))
    assert len(results) == len(bombs), f"died of {list(bombs)[len(results)]}"
    slow = {
        name: result
        for name, result in zip(bombs, results, strict=True)
        if result[0] > MAX_SECONDS or result[1] > MAX_MIB or not result[2]
    }
    report("R23", "objects that unfold", count=len(bombs), bad=len(slow), seed=0)
    assert slow == {}


@pytest.mark.row("R19")
def test_objects_that_name_addresses_are_refused_even_if_numpy_is_registered(
    tmp_path: Path,
) -> None:
    cases = hostile_objects.memory_corruption()
    results = decode(tmp_path, hostile_objects.pickled(cases))
    lost = len(cases) - len(results)
    report("R19", "objects that name addresses", count=len(cases), bad=lost, seed=0)
    assert not lost, f"died of {list(cases)[len(results)]}"
    for name, (_, _, error) in zip(cases, results, strict=True):
        assert error.startswith("UnpicklingError: the object 'the key' is not loaded"), name
        assert "numpy" in error or "torch" in error, name
        assert "allow_pickle=True" in error, name


@pytest.mark.row("R19")
def test_mutated_objects_neither_crash_nor_take_much(tmp_path: Path) -> None:
    """Whatever is decoded is looked at, too: an address in it would end the process."""
    draw = random.Random(19)
    good = [object_values.pickled(value, 2) for value in object_values.values().values()]
    bad = hostile_objects.pickled(hostile_objects.memory_corruption())
    small = [pickled for pickled in [*good, *bad] if len(pickled) < 4000]
    words = [b"R", b"b", b"\x81", b"K\x01", b"\x85", b"cnumpy\ndtype\n", b"cnumpy\nndarray\n"]
    mutator = PickleMutator(small, words, draw)
    items = [mutator.next() for _ in range(trials(quick=2000, deep=20_000))]
    results = decode(tmp_path, items)
    worst = max(results)
    report(
        "R19",
        "objects, mutated pickles",
        count=len(items),
        bad=len(items) - len(results),
        seed=19,
        note=f"at most {worst[0] * 1000:.0f} ms",
    )
    assert len(results) == len(items), f"died of {tmp_path}/{len(results):05}"
    assert worst[0] < ONE_SECOND
    assert max(mib for _, mib, _ in results) < MAX_MIB
