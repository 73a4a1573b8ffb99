"""What an asynchronous save costs a training loop on a CUDA device.

Question: how long does the training loop stand still for a save of 2,000 tensors with a
fence, how near do the copies come to the device's pinned copy bandwidth, how much slower
are the next 10 steps, and do batched copies or the packing kernel serve better?

Method: one process, one device. A step is matrix products on the device and then an
optimizer's in-place update of all tensors behind `dcpcpp.fence`. The copy bandwidth is that
of one large `copy_` into pinned memory, measured in the same run. Both ways of copying take
turns, another one first each time; what is shown is minimum, median and maximum. What was
saved is loaded and compared with the tensors as they were at the call. Blocking is the
call, and what the wait at the fence is longer than the device's step that runs beside it.
The first of the next 10 steps begins when the call returns, so the copies are in it, and
whatever the fence waits for them.

    python benchmarks/gpu/async_cuda.py --json async_cuda.json
"""

from __future__ import annotations

import argparse
import json
import pathlib
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from typing import Any

import torch

import dcpcpp
from dcpcpp._config import config

METHODS = ("batched", "packed")
# The bars of the project: see README.md beside this file.
MAX_BLOCKING_SECONDS, MIN_RATE_SHARE, MAX_SLOWDOWN = 0.005, 0.9, 0.02


class Training:
    """A state on the device, and steps that compute and then change all of it."""

    def __init__(self, tensors: int, nbytes: int, products: int) -> None:
        # As in a model: most tensors are small, and most bytes are in the others.
        small = [4096 + 64 * i for i in range(tensors - tensors // 4)]
        large = (nbytes - sum(small)) // (4 * (tensors // 4))
        sizes = [size // 4 for size in small] + [large] * (tensors // 4)
        generator = torch.Generator("cuda").manual_seed(1)
        self.state = {
            f"layer.{i}.weight": torch.rand(size, device="cuda", generator=generator)
            for i, size in enumerate(sizes)
        }
        self.nbytes = sum(tensor.nbytes for tensor in self.state.values())
        parameters = [torch.nn.Parameter(tensor) for tensor in self.state.values()]
        for parameter in parameters:
            parameter.grad = torch.full_like(parameter, 1e-3)
        self.optimizer = torch.optim.SGD(parameters, lr=1.0, foreach=True)
        dcpcpp.fence(self.optimizer)
        self._factor = torch.rand(4096, 4096, device="cuda", generator=generator) / 4096
        self._products = products

    def compute(self) -> None:
        """What a forward and a backward are to the device."""
        value = self._factor
        for _ in range(self._products):
            value = value @ self._factor

    def step_seconds(self) -> float:
        """How long one step takes, until the device is done."""
        begin = time.perf_counter()
        self.compute()
        self.optimizer.step()
        torch.cuda.synchronize()
        return time.perf_counter() - begin


def pinned_rate(nbytes: int, repeats: int) -> list[float]:
    """Bytes a second of one copy into pinned memory."""
    source = torch.empty(nbytes, dtype=torch.uint8, device="cuda")
    target = torch.empty(nbytes, dtype=torch.uint8, pin_memory=True)
    rates = []
    for _ in range(repeats + 1):
        torch.cuda.synchronize()
        begin = time.perf_counter()
        target.copy_(source, non_blocking=True)
        torch.cuda.synchronize()
        rates.append(nbytes / (time.perf_counter() - begin))
    return rates[1:]


def stager_of(method: Any) -> dcpcpp.DefaultStager:
    """Stages in the background, into pinned memory."""
    options = dcpcpp.StagingOptions(
        use_pinned_memory=True,
        use_shared_memory=False,
        use_async_staging=True,
        use_non_blocking_copy=True,
    )
    return dcpcpp.DefaultStager(options, device_copies=method)


def measure_once(training: Training, method: str, place: pathlib.Path, steps: int) -> Any:
    """One save beside `steps` steps, after as many without one."""
    stager = stager_of(method)
    dcpcpp.prewarm(training.state, stager)
    before = [training.step_seconds() for _ in range(steps)]
    expected = {name: tensor.clone() for name, tensor in training.state.items()}
    torch.cuda.synchronize()
    stats = dcpcpp.SaveStats()
    begin = time.perf_counter()
    handle = dcpcpp.async_save(
        training.state, checkpoint_id=place, async_stager=stager, stats=stats
    )
    returned = time.perf_counter()
    training.compute()
    fence_begin = time.perf_counter()
    handle.wait_staged()
    fence = time.perf_counter() - fence_begin
    training.optimizer.step()
    torch.cuda.synchronize()
    # The first step is the one that the copies run beside; the others have the writing.
    after = [time.perf_counter() - returned]
    after += [training.step_seconds() for _ in range(steps - 1)]
    handle.upload_completion.result()
    require_saved(expected, place)
    call = returned - begin
    return {
        "call_s": call,
        "fence_s": fence,
        "blocking_s": call + max(0.0, fence - statistics.median(before)),
        "copy_bytes_per_s": training.nbytes / stats.phases["copy"],
        "slowdown": sum(after) / sum(before) - 1,
        "step_s": statistics.median(before),
    }


def require_saved(expected: dict[str, torch.Tensor], place: pathlib.Path) -> None:
    """Raise unless the checkpoint holds `expected`."""
    loaded = {name: torch.empty_like(tensor) for name, tensor in expected.items()}
    dcpcpp.load(loaded, checkpoint_id=place)
    for name, tensor in expected.items():
        if not torch.equal(loaded[name], tensor):
            raise SystemExit(f"{name} was not saved as it was at the call")


def measure(arguments: argparse.Namespace) -> dict[str, Any]:
    """All samples, by method and measure."""
    training = Training(arguments.tensors, arguments.mib << 20, arguments.products)
    samples: dict[str, list[Any]] = {method: [] for method in METHODS}
    rates = pinned_rate(min(training.nbytes, 1 << 30), arguments.repeats)
    with tempfile.TemporaryDirectory(dir=arguments.dir, prefix="dcpcpp-gpu-") as folder:
        for repeat in range(arguments.repeats + 1):
            for method in METHODS[:: 1 if repeat % 2 == 0 else -1]:
                place = pathlib.Path(folder, f"{method}-{repeat}")
                sample = measure_once(training, method, place, arguments.steps)
                shutil.rmtree(place)
                if repeat > 0:  # the first one warms up
                    samples[method].append(sample)
    return {
        "device": torch.cuda.get_device_name(),
        "config": config(),
        "tensors": arguments.tensors,
        "nbytes": training.nbytes,
        "steps": arguments.steps,
        "pinned_bytes_per_s": rates,
        "samples": samples,
    }


def spread(values: list[float], form: Callable[[float], str]) -> str:
    """Minimum, median and maximum."""
    return " / ".join(
        form(value) for value in (min(values), statistics.median(values), max(values))
    )


def report(result: dict[str, Any]) -> str:
    """The samples as a table, with the bars that they hold or miss."""
    pinned = statistics.median(result["pinned_bytes_per_s"])
    rows: list[tuple[str, str, Callable[[float], str], Callable[[float], bool]]] = [
        (
            "blocking, ms",
            "blocking_s",
            lambda s: f"{s * 1e3:.2f}",
            lambda s: s <= MAX_BLOCKING_SECONDS,
        ),
        ("call, ms", "call_s", lambda s: f"{s * 1e3:.2f}", lambda s: s <= MAX_BLOCKING_SECONDS),
        (
            "copy, of the pinned bandwidth",
            "copy_bytes_per_s",
            lambda rate: f"{rate / pinned:.2f}",
            lambda rate: rate >= MIN_RATE_SHARE * pinned,
        ),
        ("slowdown of the steps, %", "slowdown", lambda x: f"{x:.2%}", lambda x: x <= MAX_SLOWDOWN),
    ]
    lines = [
        f"{result['device']}: {result['tensors']:,} tensors, {result['nbytes']:,} bytes; "
        f"pinned copy {pinned / 1e9:.1f} GB/s",
        "| measure (min / median / max) | " + " | ".join(METHODS) + " |",
        "|---|" + "---|" * len(METHODS),
    ]
    for name, key, form, holds in rows:
        cells = []
        for method in METHODS:
            values = [sample[key] for sample in result["samples"][method]]
            verdict = "holds" if holds(statistics.median(values)) else "MISSED"
            cells.append(f"{spread(values, form)} ({verdict})")
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main() -> None:
    """Measure, print a table, and keep the samples."""
    parser = argparse.ArgumentParser(description="Cost of async saves on a CUDA device")
    parser.add_argument("--tensors", type=int, default=2000)
    parser.add_argument("--mib", type=int, default=4096, help="of all tensors")
    parser.add_argument("--products", type=int, default=40, help="of a step: its length")
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--dir", help="where to save; default: the temporary directory")
    parser.add_argument("--json", type=pathlib.Path, help="where to write all samples")
    arguments = parser.parse_args()
    if not torch.cuda.is_available():
        raise SystemExit("this measures a CUDA device, and torch finds none")
    result = measure(arguments)
    sys.stdout.write(report(result) + "\n")
    if arguments.json is not None:
        arguments.json.write_text(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
