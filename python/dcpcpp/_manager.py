"""CheckpointManager: the checkpoints of a training run; what to do when is libdcp's."""

from __future__ import annotations

import contextlib
import functools
import logging
import os
from collections.abc import Iterable, Mapping
from concurrent.futures import Future
from types import TracebackType
from typing import Any

import torch
import torch.distributed as dist
from torch.distributed.checkpoint.metadata import Metadata

from dcpcpp import _core
from dcpcpp._manager_config import CheckpointConfig
from dcpcpp._manager_io import RunStates
from dcpcpp._manager_log import Hook
from dcpcpp._manager_preemption import LastCall, last_call_of
from dcpcpp._manager_ranks import on_first_rank, require_open
from dcpcpp._manager_replica import FaultTolerance, Replica
from dcpcpp._manager_states import StateDictAdapter
from dcpcpp._manager_steps import Steps
from dcpcpp._preemption import Preemption

logger = logging.getLogger("dcpcpp")

__all__ = ["CheckpointManager"]


class CheckpointManager:
    """Saves the steps of a run, finds the one to go on from, and removes old ones.

    Steps are `folder/step-<N>`, in PyTorch's format. What TorchTitan's manager does this
    one does for any training loop; all of its calls but `close` are collective over
    `process_group`, and so is making it. Unlike it:

    - A step counts when it can be loaded. A newest one that holds the model only, such as
      a last save, is not resumed: the newest full one is.
    - Of the steps that can be loaded, `keep_latest_k` are kept, the last save included, and
      always the newest full one; nothing else of them is removed before. A file
      `.dcpcpp.pin` in a step's directory keeps it for good: `pin`.
    - The last save in safetensors leaves final files, and no others.
    - A state that cannot be made or filled on one rank is an error on all.

    Args:
        config: the options.
        states: "model", a module, a list of modules, or a `Stateful` with the keys of all;
            and, as far as there are, "optimizer" (torch's, or a `Stateful`), "lr_scheduler",
            "dataloader", "train_state" and others: `Stateful` objects, or dicts, which are
            filled in place and get the keys that a checkpoint has and they have not.
        per_rank_states: states that each rank has for itself, such as its "dataloader" or
            `RandomState`. A run of another number of ranks cannot take them: that is an
            error before anything is loaded, unless `exclude_from_loading` names them.
        sd_adapter: translates the model's state dict to Hugging Face's and back.
        base_folder: what `config.folder` is relative to.
        process_group: the ranks; None for all.
        preemption: once it notices that some rank is to end, all ranks save at the next call
            of `save`, whatever the interval, and `is_preempted` says so.
        ft_manager: TorchTitan's `TorchFTManager`, or one with its `enabled`, `manager` and
            `replica_id`: this run is one of several replicas. That of participating rank 0
            saves for all; each saves its dataloader every step, in
            `folder/ft-replicat-<id>`, and begins there again.
        hooks: called with a `CheckpointEvent` after each save and load, on each rank; after
            an async save in its thread. What they raise is logged.

    Raises:
        ValueError: there is no model, or no adapter or dataloader that the options need.
        TypeError: a state that can be neither asked nor filled.

    Example:
        >>> config = dcpcpp.CheckpointConfig(enable=True, folder="/run/checkpoint")
        >>> states = {"model": model, "optimizer": optimizer, "train_state": progress}
        >>> with dcpcpp.CheckpointManager(config, states) as manager:
        ...     manager.load()
        ...     for step in range(progress["step"] + 1, steps + 1):
        ...         train(manager.maybe_wait_for_staging)  # called before optimizer.step()
        ...         progress["step"] = step
        ...         manager.save(step, last_step=step == steps)
    """

    def __init__(
        self,
        config: CheckpointConfig,
        states: Mapping[str, Any],
        *,
        per_rank_states: Mapping[str, Any] | None = None,
        sd_adapter: StateDictAdapter | None = None,
        base_folder: str | os.PathLike[str] = "",
        process_group: dist.ProcessGroup | None = None,
        preemption: Preemption | None = None,
        ft_manager: FaultTolerance | None = None,
        hooks: Iterable[Hook] = (),
    ) -> None:
        self.config = config
        self.folder = os.path.join(base_folder, config.folder)  # noqa: PTH118
        self._core: _core.CheckpointManager | None = None
        self._is_closed = self._is_preempted = False
        if not config.enable:
            return
        if config.last_save_in_hf and sd_adapter is None:
            raise ValueError("checkpoint.last_save_in_hf is True, but sd_adapter is not provided.")
        self._states = RunStates(config, states, per_rank_states or {}, sd_adapter, process_group)
        self._group = self._states.group
        self._replica: Replica | None = None
        if ft_manager is not None and ft_manager.enabled:
            self._replica = Replica(ft_manager, config, self.folder, self._states)
        options = config.core_options(self.folder)
        options.state_keys = list(self._states.others)
        self._core = _core.CheckpointManager(options)
        self._steps = Steps(self._core, config, self._states, self._replica, hooks)
        self._last_call: LastCall | None = None
        if preemption is not None:
            self._last_call = last_call_of(preemption, self._group)
        logger.info(
            "Checkpointing active. Checkpoints will be loaded from and saved to %s", self.folder
        )

    @property
    def is_preempted(self) -> bool:
        """Whether a rank is to end, and the ranks agreed on the last call of `save`: stop training.

        That call has saved the run if it returned True. With `load_only` it has not, nor where
        another replica saves for all.
        """
        return self._is_preempted

    @property
    def upload(self) -> Future[Metadata] | None:
        """Of the last async save, as long as nobody has waited for it."""
        return None if self._core is None else self._steps.saves.upload

    @torch.no_grad()
    def save(self, step: int, last_step: bool = False) -> bool:
        """Save, if `step` is one to save; whether it is.

        In an async mode it returns before the save has ended; the next call, once it has
        saved its own step, or `wait` raises what went wrong. The last step is always saved
        synchronously, and so is that of a preempted run. What an earlier run left at this
        step in the other format is renamed.

        Args:
            step: how many steps have been trained.
            last_step: whether the run ends with it.

        Raises:
            CheckpointException: this save failed, or the one before.
            RuntimeError: the manager is closed, or a rank does not answer in a preempted run.
        """
        require_open(self._is_closed)
        if self._core is None:
            return False
        is_last_call = self._last_call is not None and self._last_call.is_here()
        self._is_preempted |= is_last_call
        what = self._core.what_to_save(step, last_step)
        errors: list[Exception | None] = []
        if not self.config.load_only:
            what = what or ("full" if is_last_call else None)
            errors = [self._replica.save(step)] if self._replica is not None else []
        is_saved = False
        if what is not None:
            errors.append(self._steps.saves.take_error())  # no reason to lose this step, too
            in_background = not last_step and not is_last_call
            is_saved = self._steps.save(step, what, in_background=in_background)
        for error in errors:
            if error is not None:
                raise error
        return is_saved

    def save_seed(self) -> None:
        """Save step 0 of a model that no step has trained, on one process.

        A run of any parallelism that finds it starts from its model.

        Raises:
            ValueError: there are several processes, or checkpoints are off, or `load_only`.
        """
        require_open(self._is_closed)
        if self._core is None:
            raise ValueError("Must enable checkpointing when creating a seed checkpoint.")
        if self._group is not None and dist.get_world_size(self._group) > 1:
            raise ValueError(
                "Must create seed checkpoint using a single device, to disable sharding."
            )
        if not self.save(0, last_step=True):
            raise ValueError("load_only is set: no seed checkpoint can be saved")

    @torch.no_grad()
    def load(self, step: int | None = None) -> bool:
        """Load the checkpoint to go on from; whether there is one.

        The newest step that was committed and has all states; without steps, what
        `initial_load_path` or `initial_load_in_hf` name. Of step 0 and of safetensors the model
        alone is loaded. No data is read to find the step: if its data turns out to be damaged,
        that is an error. `dcpcpp.latest(folder, verify=True)` finds one that is not, for `step`.

        Args:
            step: load this one; -1: the newest; None: as `config.load_step` says.

        Raises:
            FileNotFoundError: there is no such step.
            RuntimeError: there are steps, and none can be loaded; or none is a full one, with
                `require_full_resume`; or the manager is closed.
            ValueError: what a run without steps is to start from is not there, a key of
                `exclude_from_loading` is unknown, or `per_rank_states` are of another number
                of ranks.
            CheckpointException: the checkpoint cannot be loaded; see `dcpcpp.load`. Or a state
                cannot be filled on another rank; that one raises its own error.
        """
        require_open(self._is_closed)
        if self._core is None:
            return False
        self.wait()
        return self._steps.load(self.config.load_step if step is None else step)

    def maybe_wait_for_staging(self) -> None:
        """Wait until the state may change; to be called before the optimizer's step.

        It takes time only with `async_mode="async_with_pinned_mem"`.
        """
        if self._core is not None:
            self._steps.saves.wait_staged()

    def wait(self) -> None:
        """Wait until the last async save has ended. In a hook it has, and this returns at once.

        Raises:
            CheckpointException: it failed.
        """
        if self._core is not None:
            self._steps.saves.wait()

    def pin(self, step: int) -> None:
        """Keep a step for good, whatever `keep_latest_k` says, also in later runs.

        Raises:
            FileNotFoundError: there is no such step.
        """
        require_open(self._is_closed)
        if self._core is not None:
            on_first_rank(self._group, functools.partial(self._core.pin, step))

    def unpin(self, step: int) -> None:
        """The opposite of `pin`."""
        require_open(self._is_closed)
        if self._core is not None:
            on_first_rank(self._group, functools.partial(self._core.unpin, step))

    def close(self) -> None:
        """Wait for what is being saved and removed. The manager may not be used any more."""
        self._is_closed = True
        if self._core is None:
            return
        self._core = None
        with contextlib.ExitStack() as last_first:
            last_first.callback(self._states.close)
            if self._replica is not None:
                last_first.callback(self._replica.close)
            last_first.callback(self._steps.saves.close)
            if self._last_call is not None:
                last_first.callback(self._last_call.close)

    def __enter__(self) -> CheckpointManager:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()
