"""What TorchTitan's trainer does with either of our ways into it: see `Trainer` for them."""

from __future__ import annotations

import shutil
from collections.abc import Iterator

from trainer import (
    MIDDLE,
    MODES,
    STEPS,
    Losses,
    Trainer,
    forget_last_step,
    require_author,
    require_equal,
    rest,
)


def resumed_in_every_mode(trainer: Trainer, library: str, expected: Losses) -> Iterator[str]:
    for mode in MODES:
        run, options = f"{library}-{mode}", ("--checkpoint.async_mode", mode)
        require_equal(mode, trainer.train(library, run, *options), expected)
        for step in (2, MIDDLE, STEPS):
            require_author(trainer.folder(run) / f"step-{step}", library)
        forget_last_step(trainer, run)
        require_equal(mode, trainer.train(library, run, *options), rest(expected))
        yield f"{library}, async_mode={mode}: trained, and resumed at step {MIDDLE}"


def read_by_each_other(trainer: Trainer, library: str, expected: Losses) -> Iterator[str]:
    """To be run after stock's run "stock" and `resumed_in_every_mode`."""
    require_author(trainer.folder("stock") / f"step-{MIDDLE}", "stock")
    for writer, reader in (("stock", library), (f"{library}-async", "stock")):
        run = f"{writer}-by-{reader}"
        shutil.copytree(trainer.work / writer, trainer.work / run)
        forget_last_step(trainer, run)
        require_equal(run, trainer.train(reader, run), rest(expected))
        yield f"a checkpoint of {writer} resumed by {reader}"
