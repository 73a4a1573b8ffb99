"""A checkpoint manager for TorchTitan, which its config selects.

    from dcpcpp.titan import with_dcpcpp
    from torchtitan.models.llama3.config_registry import llama3_8b as stock

    def llama3_8b():
        return with_dcpcpp(stock())

in a module of one's own, my_runs.py, and `--module my_runs --config llama3_8b`. Options keep
their names, defaults and meaning; examples/torchtitan/README.md tells more. Needs torchtitan
0.3.0, the first release with `BaseCheckpointManager`.
"""

from __future__ import annotations

import contextlib
import dataclasses
from concurrent.futures import Future
from typing import Any, Literal, TypeVar

from torchtitan.components.checkpointer import (
    DATALOADER,
    LR_SCHEDULER,
    MODEL,
    OPTIMIZER,
    BaseCheckpointManager,
    ModelWrapper,
)

from dcpcpp._manager import CheckpointManager
from dcpcpp._manager_config import CheckpointConfig
from dcpcpp._manager_replica import FaultTolerance
from dcpcpp._preemption import Preemption
from dcpcpp._titan_storage import LocalStorage

__all__ = ["DcpcppCheckpointManager", "with_dcpcpp"]

_PREEMPTED = 143  # the exit code of a process that SIGTERM ends
_OWN = {"save_on_sigterm"}

TrainerConfig = TypeVar("TrainerConfig")


class DcpcppCheckpointManager(BaseCheckpointManager):  # type: ignore[misc]  # torchtitan is untyped
    """`dcpcpp.CheckpointManager` as TorchTitan's trainer calls it.

    The trainer makes it from its `Config`; the arguments are TorchTitan's.

    Attributes:
        folder: of the steps.
    """

    _storage = LocalStorage()

    @dataclasses.dataclass(kw_only=True, slots=True)
    class Config(BaseCheckpointManager.Config):  # type: ignore[misc]  # torchtitan is untyped
        """TorchTitan's options, and these.

        Attributes:
            async_mode: as of TorchTitan's own manager.
            enable_ft_dataloader_checkpoints: as of its TorchFT manager.
            require_full_resume: see `dcpcpp.CheckpointConfig`.
            save_on_sigterm: if any rank gets SIGTERM, all save at the next step and end, with
                exit code 143. The trainer has to be made in the main thread.
        """

        async_mode: Literal["disabled", "async", "async_with_pinned_mem"] = "disabled"
        enable_ft_dataloader_checkpoints: bool = True
        require_full_resume: bool = False
        save_on_sigterm: bool = False

        def __post_init__(self) -> None:
            BaseCheckpointManager.Config.__post_init__(self)
            _options(self)  # are checked

    def __init__(
        self,
        config: Config,
        *,
        dataloader: Any,
        model_parts: list[Any],
        optimizers: Any,
        lr_schedulers: Any,
        states: dict[str, Any],
        sd_adapter: Any,
        base_folder: str = "",
        ft_manager: FaultTolerance | None = None,
    ) -> None:
        self.enable = False  # for close(), until there is something to close
        if not config.enable:
            return
        named = {
            MODEL: ModelWrapper(model_parts),
            OPTIMIZER: optimizers,
            DATALOADER: dataloader,
            LR_SCHEDULER: lr_schedulers,
            **states,
        }
        with contextlib.ExitStack() as handlers:
            preemption = handlers.enter_context(Preemption()) if config.save_on_sigterm else None
            self._manager = CheckpointManager(
                _options(config),
                {key: state for key, state in named.items() if state is not None},
                sd_adapter=sd_adapter,
                base_folder=base_folder,
                preemption=preemption,
                ft_manager=ft_manager,
            )
            self._handlers = handlers.pop_all()
        self.folder = self._manager.folder
        self.enable = True

    @property
    def save_future(self) -> Future[Any] | None:
        """Of the last async save, as long as nobody has waited for it."""
        return self._manager.upload

    def _load(self, step: int = -1) -> bool:
        return self._manager.load(step)

    def _save(self, curr_step: int, last_step: bool = False) -> bool:
        is_saved = self._manager.save(curr_step, last_step=last_step)
        if self._manager.is_preempted and not last_step:
            self._close()
            # The trainer has no other way to be stopped, and no handler for this one.
            raise SystemExit(_PREEMPTED)
        return is_saved

    def _maybe_wait_for_staging(self) -> None:
        self._manager.maybe_wait_for_staging()

    def _wait_for_saving(self) -> None:
        self._manager.wait()

    def _close(self) -> None:
        with self._handlers:
            self._manager.close()


def with_dcpcpp(trainer_config: TrainerConfig, **options: Any) -> TrainerConfig:
    """The config of a TorchTitan trainer, with dcpcpp as its checkpoint manager.

    Args:
        trainer_config: a recipe's; its checkpoint options are kept, and it is changed in place.
        **options: of `DcpcppCheckpointManager.Config`, instead of those.

    Raises:
        TypeError: there is no such option.
        ValueError: options that make no sense.

    Example:
        >>> config = with_dcpcpp(llama3_8b(), interval=100, save_on_sigterm=True)
    """
    checkpoint: Any = trainer_config.checkpoint  # type: ignore[attr-defined]  # any Trainer.Config
    known = {field.name for field in dataclasses.fields(DcpcppCheckpointManager.Config)}
    kept = {
        field.name: getattr(checkpoint, field.name)
        for field in dataclasses.fields(checkpoint)
        if field.name in known
    }
    config = DcpcppCheckpointManager.Config(**{**kept, **options})
    trainer_config.checkpoint = config  # type: ignore[attr-defined]
    return trainer_config


def _options(config: Any) -> CheckpointConfig:
    options = {
        field.name: getattr(config, field.name)
        for field in dataclasses.fields(config)
        if field.name not in _OWN
    }
    return CheckpointConfig(**options)
