"""Runs of TorchTitan's trainer, and what is required of them."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent
EXAMPLES = HERE.parents[1] / "examples" / "torchtitan"
STEPS, MIDDLE = 6, 4
MODES = ("disabled", "async", "async_with_pinned_mem")
LOSS = re.compile(r"step:\s*(\d+).*?loss:\s*([\d.]+)")
COLOR = re.compile(r"\x1b\[[0-9;]*m")

Losses = dict[int, str]


class Failure(Exception):
    """A run that did not do what it should."""


@dataclass(frozen=True)
class Trainer:
    """Runs TorchTitan in `work`, where its assets are.

    A library is "stock", "dcpcpp" (behind torch's names), or "manager", which is dcpcpp as
    TorchTitan's checkpoint manager.
    """

    work: Path

    def folder(self, run: str) -> Path:
        return self.work / run / "checkpoint"

    def train(self, library: str, run: str, *options: str, ranks: int = 2) -> Losses:
        """The losses that rank 0 printed, as it printed them, by step.

        Raises:
            Failure: it ended with an error; its last lines are in the message.
        """
        with self._start(library, run, *options, ranks=ranks) as process:
            output = COLOR.sub("", process.communicate(timeout=600)[0])
        if process.returncode != 0:
            raise Failure(f"{library}, {run}: exit code {process.returncode}\n{output[-3000:]}")
        return {int(step): loss for step, loss in LOSS.findall(output)}

    def terminate(self, library: str, run: str, *options: str, step: int) -> int:
        """The exit code of a run of which one rank gets SIGTERM after `step`."""
        with self._start(library, run, *options, ranks=2) as process:
            assert process.stdout is not None
            for line in process.stdout:
                found = LOSS.search(COLOR.sub("", line))
                if found and int(found[1]) == step:
                    os.kill(_last_child(process.pid), signal.SIGTERM)
            return process.wait(600)

    def _start(self, library: str, run: str, *options: str, ranks: int) -> subprocess.Popen[str]:
        module = "my_runs" if library == "manager" else "llama3"
        command = [
            *(sys.executable, "-m", "torch.distributed.run", f"--nproc_per_node={ranks}"),
            *("--rdzv_backend", "c10d", "--rdzv_endpoint", "localhost:0"),
            *("--local_ranks_filter", "0", "--role", "rank", "--tee", "3"),
            *(str(HERE / "train.py"), "--module", module, "--config", "llama3_debugmodel"),
            *("--parallelism.spmd_backend", "partial_dtensor", "--dump_folder", run),
            *("--training.seq_len", "256", "--training.local_batch_size", "2"),
            *("--training.steps", str(STEPS), "--debug.seed", "1"),
            *("--checkpoint.enable", "--checkpoint.interval", "2", *options),
        ]
        paths = [str(EXAMPLES), os.environ.get("PYTHONPATH", "")]
        environment = os.environ | {
            "DCPCPP_TITAN_WITH": library,
            "OMP_NUM_THREADS": "1",
            "PYTHONPATH": os.pathsep.join(path for path in paths if path),
        }
        return subprocess.Popen(
            command,
            cwd=self.work,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )


def _last_child(pid: int) -> int:
    """The newest child of a process: of torchrun, its last rank."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    if not children:
        raise Failure(f"process {pid} has no ranks")
    return int(children[-1])


def require_equal(what: str, losses: Losses, expected: Losses) -> None:
    if losses != expected:
        raise Failure(f"{what}: losses {losses} where {expected} were expected")


def rest(losses: Losses) -> Losses:
    """Of the steps after the one in the middle, which a resumed run takes again."""
    return {step: loss for step, loss in losses.items() if step > MIDDLE}


def require_author(folder: Path, library: str) -> None:
    has_sidecar = any(folder.glob(".dcpcpp-*"))
    if has_sidecar != (library != "stock"):
        raise Failure(f"{folder} was not written by {library}: {sorted(folder.iterdir())}")


def forget_last_step(trainer: Trainer, run: str) -> None:
    shutil.rmtree(trainer.folder(run) / f"step-{STEPS}")
