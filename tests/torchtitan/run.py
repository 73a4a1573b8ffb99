"""TorchTitan's trainer, its code untouched, with stock DCP and with dcpcpp: the same losses.

    make test-titan

Trains a small Llama on two gloo ranks, again and again, and compares every loss that TorchTitan
prints: of runs that go on where a checkpoint was saved, by the same library or by the other.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from assets import make_assets
from our_manager import our_manager
from safetensors.torch import load_file
from scenarios import read_by_each_other, resumed_in_every_mode
from trainer import (
    STEPS,
    Failure,
    Losses,
    Trainer,
    forget_last_step,
    require_author,
    require_equal,
)

HERE = Path(__file__).parent
LIBRARIES = ("stock", "dcpcpp")


def _on_tensor_parallel_ranks(trainer: Trainer) -> Iterator[str]:
    losses = []
    for library in LIBRARIES:
        run = f"tp-by-{library}"
        shutil.copytree(trainer.work / "dcpcpp-disabled", trainer.work / run)
        forget_last_step(trainer, run)
        options = ("--parallelism.tensor_parallel_degree", "2")
        options += ("--checkpoint.exclude_from_loading", "dataloader")
        losses.append(trainer.train(library, run, *options))
        if set(losses[-1]) != {5, 6}:
            raise Failure(f"{run} took the steps {sorted(losses[-1])}")
    require_equal("FSDP2 resumed as TP2", losses[1], losses[0])
    yield "a checkpoint of FSDP2 resumed with tensor parallelism"


def _seed_checkpoint(trainer: Trainer) -> Iterator[str]:
    losses = []
    for library in LIBRARIES:
        run = f"seed-{library}"
        trainer.train(library, run, "--checkpoint.create_seed_checkpoint", ranks=1)
        require_author(trainer.folder(run) / "step-0", library)
        losses.append(trainer.train(library, run))
    require_equal("seeded", losses[1], losses[0])
    yield "a seed checkpoint of one rank made, and used by two"


def _hugging_face(trainer: Trainer) -> Iterator[str]:
    saved, losses = [], []
    for library in LIBRARIES:
        run = f"hf-{library}"
        trainer.train(
            library, run, "--checkpoint.last_save_model_only", "--checkpoint.last_save_in_hf"
        )
        folder = trainer.folder(run) / f"step-{STEPS}"
        saved.append({k: v for f in folder.glob("*.safetensors") for k, v in load_file(f).items()})
        options = ("--checkpoint.initial_load_in_hf", "--checkpoint.initial_load_path")
        losses.append(trainer.train(library, f"{run}-used", *options, str(folder)))
    if not saved[0] or set(saved[0]) != set(saved[1]):
        raise Failure(f"other tensors in safetensors: {sorted(saved[0])} and {sorted(saved[1])}")
    for key, tensor in saved[0].items():
        if not tensor.equal(saved[1][key]):
            raise Failure(f"{key} differs in safetensors")
    require_equal("begun with safetensors", losses[1], losses[0])
    yield f"{len(saved[0])} tensors saved in safetensors, and begun with"


def _conversions(trainer: Trainer) -> Iterator[str]:
    command = [sys.executable, str(HERE / "conversions.py"), str(trainer.work / "conversions")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
    if done.returncode != 0:
        raise Failure(f"conversions: exit code {done.returncode}\n{done.stderr[-3000:]}")
    yield from done.stdout.splitlines()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, default=Path("out/torchtitan"))
    work = parser.parse_args().work.absolute()
    shutil.rmtree(work, ignore_errors=True)
    make_assets(work)
    trainer = Trainer(work)
    try:
        expected = trainer.train("stock", "stock")
        if set(expected) != set(range(1, STEPS + 1)):
            raise Failure(f"TorchTitan printed losses of the steps {sorted(expected)} only")
        print(f"stock DCP: trained {STEPS} steps", flush=True)
        for done in _all(trainer, expected):
            print(f"dcpcpp: {done}", flush=True)
    except Failure as failure:
        print(f"FAILED: {failure}")
        return 1
    shutil.rmtree(work)
    return 0


def _all(trainer: Trainer, expected: Losses) -> Iterator[str]:
    yield from resumed_in_every_mode(trainer, "dcpcpp", expected)
    yield from read_by_each_other(trainer, "dcpcpp", expected)
    yield from _on_tensor_parallel_ranks(trainer)
    yield from _seed_checkpoint(trainer)
    yield from _hugging_face(trainer)
    yield from _conversions(trainer)
    yield from our_manager(trainer, expected)


if __name__ == "__main__":
    sys.exit(main())
