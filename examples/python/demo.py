"""The main job: train, save, resume on other numbers of ranks, and meet stock DCP.

    python demo.py

1. Two ranks train a small transformer on the Python standard library's sources with
   FSDP2 and AdamW, save with dcpcpp half-way, and go on to the end.
2. Runs on two, one and four ranks resume from that checkpoint. The state must be equal
   bit for bit, and so must the losses on two ranks; on one and four, where sums are
   taken in another order, they must agree to 1e-5.
3. Stock torch.distributed.checkpoint loads the same checkpoint, and dcpcpp loads one
   that stock saved.
4. One table: what was saved, seconds and GB/s, beside stock DCP on the same state.
"""

from __future__ import annotations

import json
import os
import pathlib
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from typing import Any

import torch
import torch.distributed.checkpoint as stock
from rich.console import Console
from rich.table import Table

import dcpcpp
from dcpcpp.bench.meter import drop_page_cache, sync_names, warm_page_cache

HERE = pathlib.Path(__file__).resolve().parent
SAVE_AT, STEPS = 3, 6
REPEATS = 5

console = Console()


def run(ranks: int, folder: pathlib.Path, name: str, *arguments: str) -> dict[str, Any]:
    """One training run under torchrun; what its rank 0 recorded."""
    record = folder / f"{name}.json"
    command = [
        *(sys.executable, "-m", "torch.distributed.run", "--standalone"),
        *(f"--nproc_per_node={ranks}", str(HERE / "train_fsdp.py")),
        *("--folder", str(folder), "--steps", str(STEPS), "--record", str(record)),
        *arguments,
    ]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "TORCH_CPP_LOG_LEVEL": "ERROR"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    if done.returncode != 0:
        console.print(done.stdout[-4000:] + done.stderr[-4000:], markup=False)
        raise SystemExit(f"the run on {ranks} rank(s) failed")
    return json.loads(record.read_text())


def require(condition: bool, what: str) -> None:
    if not condition:
        raise SystemExit(f"FAILED: {what}")
    console.print(f"  [green]ok[/green] {what}")


def train_and_resume(folder: pathlib.Path) -> dict[str, Any]:
    console.print(f"Training on 2 ranks, saving at step {SAVE_AT} of {STEPS} ...")
    first = run(2, folder, "first", "--save-at", str(SAVE_AT))
    after = [str(step) for step in range(SAVE_AT + 1, STEPS + 1)]
    wanted = [first["losses"][step] for step in after]
    console.print(f"  losses {', '.join(f'{loss:.6f}' for loss in first['losses'].values())}")
    for ranks in (2, 1, 4):
        console.print(f"Resuming on {ranks} rank(s) ...")
        again = run(ranks, folder, f"resumed-{ranks}", "--resume-from", str(SAVE_AT))
        require(again["digest"] == first["digest"], "the state is equal, bit for bit")
        losses = [again["losses"][step] for step in after]
        worst = max(abs(a - b) / abs(b) for a, b in zip(losses, wanted, strict=True))
        if ranks == 2:
            steps = ", ".join(after)
            require(losses == wanted, f"the losses of steps {steps} are equal, bit for bit")
        else:
            require(worst <= 1e-5, f"the losses agree to {worst:.1e} (bar: 1e-5)")
    return first


def meet_stock(folder: pathlib.Path) -> dict[str, Any]:
    """Both libraries read each other's files; returns the state in memory."""
    ours, theirs = folder / f"step-{SAVE_AT}", folder / "stock"
    console.print("Exchanging checkpoints with stock torch.distributed.checkpoint ...")
    state = dcpcpp.load_full(ours)
    by_stock = blank(state)
    stock.load(by_stock, checkpoint_id=ours)
    require(equal(by_stock, state), "stock loads what dcpcpp saved")
    stock.save(state, checkpoint_id=theirs)
    by_us = blank(state)
    dcpcpp.load(by_us, checkpoint_id=theirs)
    require(equal(by_us, state), "dcpcpp loads what stock saved")
    return state


def blank(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: blank(item) for key, item in value.items()}
    if isinstance(value, list):
        return [blank(item) for item in value]
    return torch.full_like(value, -1) if isinstance(value, torch.Tensor) else None


def equal(a: Any, b: Any) -> bool:
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(equal(a[key], b[key]) for key in a)
    if isinstance(a, list):
        return len(a) == len(b) and all(map(equal, a, b))
    return torch.equal(a, b) if isinstance(a, torch.Tensor) else bool(a == b)


def nbytes_of(value: Any) -> int:
    if isinstance(value, dict):
        return sum(nbytes_of(item) for item in value.values())
    return value.nbytes if isinstance(value, torch.Tensor) else 0


def seconds_of(call: Callable[[], object]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def compare(state: dict[str, Any], folder: pathlib.Path) -> None:
    """Save and load with both libraries in turn, the same state, the same run."""
    savers = {"dcpcpp": dcpcpp.save, "stock DCP": stock.save}
    loaders = {"dcpcpp": dcpcpp.load, "stock DCP": stock.load}
    times: dict[tuple[str, str], list[float]] = {}
    path = folder / "timed"
    target = blank(state)
    for _ in range(REPEATS):
        for name in savers:
            shutil.rmtree(path, ignore_errors=True)
            os.sync()

            def save(name: str = name) -> None:
                savers[name](state, checkpoint_id=path)
                sync_names(path)

            times.setdefault(("durable save", name), []).append(seconds_of(save))

            def load(name: str = name) -> None:
                loaders[name](target, checkpoint_id=path)

            drop_page_cache(path)
            times.setdefault(("load, cold", name), []).append(seconds_of(load))
            warm_page_cache(path)
            times.setdefault(("load, warm", name), []).append(seconds_of(load))
    checkpoint = dcpcpp.open(path)
    tensors = sum(checkpoint.is_tensor(key) for key in checkpoint)
    print_times(times, tensors, nbytes_of(state))


def print_times(times: dict[tuple[str, str], list[float]], tensors: int, nbytes: int) -> None:
    table = Table(
        title=f"{tensors} tensors, {nbytes / 1e6:.0f} MB, one process, median of {REPEATS}"
    )
    for column in ("", "seconds", "GB/s", "times stock"):
        table.add_column(column, justify="left" if not column else "right")
    for (what, name), seconds in sorted(times.items()):
        median = statistics.median(seconds)
        stock_median = statistics.median(times[(what, "stock DCP")])
        table.add_row(
            f"{what}, {name}",
            f"{median:.3f}",
            f"{nbytes / median / 1e9:.2f}",
            f"{stock_median / median:.1f}" if name == "dcpcpp" else "",
        )
    console.print(table)


def main() -> None:
    warnings.filterwarnings("ignore", category=UserWarning)
    dcpcpp.show_config()
    folder = pathlib.Path(tempfile.mkdtemp(prefix="dcpcpp-demo-", dir=os.environ.get("DEMO_DIR")))
    try:
        train_and_resume(folder)
        state = meet_stock(folder)
        compare(state, folder)
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
