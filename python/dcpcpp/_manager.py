"""CheckpointManager: the checkpoints of a training run; what to do when is libdcp's."""

from __future__ import annotations

import functools
import gc
import logging
import os
import threading
import time
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Any

import torch
import torch.distributed as dist
from torch.distributed.checkpoint.metadata import Metadata

from dcpcpp import _core
from dcpcpp._async_save import AsyncSaveHandle
from dcpcpp._manager_aside import set_aside
from dcpcpp._manager_config import CheckpointConfig
from dcpcpp._manager_io import RunStates
from dcpcpp._manager_log import tell_loaded, tell_saved
from dcpcpp._manager_ranks import on_first_rank, require_open
from dcpcpp._manager_retention import remove_old_steps
from dcpcpp._manager_start import decide_start
from dcpcpp._manager_states import StateDictAdapter
from dcpcpp._report import LoadReport
from dcpcpp._stats import SaveStats

logger = logging.getLogger("dcpcpp")

__all__ = ["CheckpointManager"]


class CheckpointManager:
    """Saves the steps of a run, finds the one to go on from, and removes old ones.

    Steps are `folder/step-<N>`, in PyTorch's format. What TorchTitan's manager does this
    one does for any training loop; all of its calls but `close` are collective over
    `process_group`. Unlike it:

    - A step counts when it can be loaded. A newest one that holds the model only, such as
      a last save, is not resumed: the newest full one is.
    - Of the steps that can be loaded, `keep_latest_k` are kept, the last save included, and
      always the newest full one; nothing else of them is removed before. A file
      `.dcpcpp.pin` in a step's directory keeps it for good: `pin`.
    - The last save in safetensors leaves final files, and no others.

    Args:
        config: the options.
        states: "model", a module or a list of modules; and, as far as there are, "optimizer"
            (torch's, or a `Stateful`), "lr_scheduler", "dataloader", "train_state" and
            others: `Stateful` objects, or dicts, which are filled in place.
        sd_adapter: translates the model's state dict to Hugging Face's and back.
        base_folder: what `config.folder` is relative to.
        process_group: the ranks; None for all.

    Raises:
        ValueError: there is no model, or no adapter that the options need.
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
        sd_adapter: StateDictAdapter | None = None,
        base_folder: str | os.PathLike[str] = "",
        process_group: dist.ProcessGroup | None = None,
    ) -> None:
        self.config = config
        self.folder = os.path.join(base_folder, config.folder)  # noqa: PTH118
        self._core: _core.CheckpointManager | None = None
        self._is_closed = False
        if not config.enable:
            return
        if config.last_save_in_hf and sd_adapter is None:
            raise ValueError("checkpoint.last_save_in_hf is True, but sd_adapter is not provided.")
        self._states = RunStates(config, states, sd_adapter, process_group)
        is_alone = self._states.is_alone
        self._group = None if is_alone else (process_group or dist.group.WORLD)
        self._is_first = self._group is None or dist.get_rank(self._group) == 0
        options = config.core_options(self.folder)
        options.state_keys = self._states.keys
        self._core = _core.CheckpointManager(options)
        self._upload: Future[Metadata] | None = None
        self._staging: AsyncSaveHandle | None = None
        self._has_ended = threading.Event()
        self._remover = ThreadPoolExecutor(1, thread_name_prefix="dcpcpp-retention")
        logger.info(
            "Checkpointing active. Checkpoints will be loaded from and saved to %s", self.folder
        )

    @torch.no_grad()
    def save(self, step: int, last_step: bool = False) -> bool:
        """Save, if `step` is one to save; whether it is.

        In an async mode it returns before the save has ended; the next call, once it has
        saved its own step, or `wait` raises what went wrong. The last step is always saved
        synchronously. What an earlier run left at this step in the other format is renamed.

        Args:
            step: how many steps have been trained.
            last_step: whether the run ends with it.

        Raises:
            CheckpointException: this save failed, or the one before.
            RuntimeError: the manager is closed.
        """
        require_open(self._is_closed)
        what = None if self._core is None else self._core.what_to_save(step, last_step)
        if self._core is None or what is None:
            return False
        earlier: Exception | None = None
        try:
            self.wait()
        except Exception as error:  # which is no reason to lose this step, too
            earlier = error
        gc.collect(1)
        on_first_rank(self._group, functools.partial(self._begin_save, self._core, step, what))
        self._has_ended.clear()
        stats = SaveStats()
        begin = time.perf_counter()
        path = self._core.step_path(step)
        end = functools.partial(self._end_save, step, what, begin, stats)
        try:
            if what == "model":
                self._states.save_model(path, step, stats)
            elif last_step or self.config.async_mode == "disabled":
                self._states.save_full(path, stats)
            else:
                self._upload, self._staging = self._states.save_in_background(path, stats)
        except BaseException as error:
            end(error)
            raise
        if self._upload is None:
            end(None)
        else:
            # Not exception() of the future itself: nobody has seen the error by this.
            self._upload.add_done_callback(lambda upload: end(Future.exception(upload)))
        gc.collect(1)
        if earlier is not None:
            raise earlier
        return True

    def _begin_save(self, core: _core.CheckpointManager, step: int, what: str) -> None:
        set_aside(core.step_path(step), in_hf=self._is_in_hf(what))
        core.begin_save(step)

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

        The newest step that can be loaded; without steps, what `initial_load_path` or
        `initial_load_in_hf` name. Of step 0 and of safetensors the model alone is loaded.

        Args:
            step: load this one; -1: the newest; None: as `config.load_step` says.

        Raises:
            FileNotFoundError: there is no such step.
            RuntimeError: there are steps, and none can be loaded; or none is a full one, with
                `require_full_resume`.
            ValueError: what a run without steps is to start from is not there, or a key of
                `exclude_from_loading` is unknown.
            CheckpointException: the checkpoint cannot be loaded; see `dcpcpp.load`.
            RuntimeError: the manager is closed.
        """
        require_open(self._is_closed)
        if self._core is None:
            return False
        self.wait()
        self._remover.submit(lambda: None).result()  # or it might take what is loaded
        wanted = self.config.load_step if step is None else step
        assets = self.config.hf_assets_path or getattr(self._states.adapter, "hf_assets_path", None)
        start = decide_start(self._core, self.config, wanted, assets, self._group)
        if start is None:
            return False
        begin = time.perf_counter()
        report = LoadReport()
        self._states.load(start, report)
        gc.collect(1)
        tell_loaded(start, seconds=time.perf_counter() - begin, nbytes=report.nbytes_read)
        return True

    def maybe_wait_for_staging(self) -> None:
        """Wait until the state may change; to be called before the optimizer's step.

        It takes time only with `async_mode="async_with_pinned_mem"`.
        """
        if self._core is not None and self._staging is not None:
            self._staging.wait_staged()
            self._staging = None

    def wait(self) -> None:
        """Wait until the last async save has ended.

        Raises:
            CheckpointException: it failed.
        """
        if self._core is None or self._upload is None:
            return
        try:
            self._upload.result()
        except Exception:  # Ctrl-C is no end of the save
            self._forget_upload()
            raise
        self._forget_upload()

    def _forget_upload(self) -> None:
        self._has_ended.wait()  # what is done when the future is, not before
        self._upload = self._staging = None

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
        try:
            self.wait()
        finally:
            if self._core is not None:
                self._remover.shutdown()
            self._core = None

    def __enter__(self) -> CheckpointManager:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def _end_save(
        self, step: int, what: str, begin: float, stats: SaveStats, error: BaseException | None
    ) -> None:
        """A save has ended; of an async one, in its thread."""
        try:
            seconds = time.perf_counter() - begin
            if self._core is not None and self._is_first:
                self._core.end_save(step, error is None)
                if error is None:
                    self._remover.submit(remove_old_steps, self._core)
            if error is None:
                in_hf = self._is_in_hf(what)
                tell_saved(step, what, in_hf=in_hf, seconds=seconds, nbytes=stats.nbytes)
        finally:
            self._has_ended.set()

    def _is_in_hf(self, what: str) -> bool:
        return what == "model" and self.config.last_save_in_hf
