"""What TorchTitan's trainer does with dcpcpp as its checkpoint manager."""

from __future__ import annotations

from collections.abc import Iterator

from scenarios import read_by_each_other, resumed_in_every_mode
from trainer import (
    STEPS,
    Failure,
    Losses,
    Trainer,
    require_equal,
    rest,
)


def our_manager(trainer: Trainer, expected: Losses) -> Iterator[str]:
    """Each scenario, once it has passed; `expected` are the losses of stock TorchTitan."""
    yield from resumed_in_every_mode(trainer, "manager", expected)
    yield from read_by_each_other(trainer, "manager", expected)
    yield from _gone_on_past_a_last_save(trainer, expected)
    yield from _terminated(trainer)


def _gone_on_past_a_last_save(trainer: Trainer, expected: Losses) -> Iterator[str]:
    run = "manager-last"
    options = ("--checkpoint.last_save_model_only", "--checkpoint.last_save_in_hf")
    require_equal(run, trainer.train("manager", run, *options), expected)
    if not any((trainer.folder(run) / f"step-{STEPS}").glob("*.safetensors")):
        raise Failure(f"step-{STEPS} of {run} is not in safetensors")
    require_equal(run, trainer.train("manager", run, *options), rest(expected))
    yield "our manager: gone on past a last save in safetensors, which stock cannot"


def _terminated(trainer: Trainer) -> Iterator[str]:
    run = "manager-terminated"
    options = ("--training.steps", "1000", "--checkpoint.interval", "1000")
    code = trainer.terminate("manager", run, *options, "--checkpoint.save_on_sigterm", step=3)
    steps = [path.name for path in trainer.folder(run).glob("step-*")]
    if code == 0 or len(steps) != 1:
        raise Failure(f"a run that got SIGTERM saved {steps}, and ended with exit code {code}")
    step = int(steps[0].removeprefix("step-"))
    more = ("--training.steps", str(step + 1))
    losses = trainer.train("stock", run, *more)
    if set(losses) != {step + 1}:
        raise Failure(f"what was saved on SIGTERM at step {step} gave the steps {sorted(losses)}")
    yield f"our manager: SIGTERM on one rank, saved at step {step}, and resumed by stock"
