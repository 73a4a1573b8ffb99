"""How a `CheckpointManager` carries out the save or load of a step."""

from __future__ import annotations

import functools
import gc
import time
from collections.abc import Iterable

import torch.distributed as dist

from dcpcpp import _core
from dcpcpp._manager_aside import set_aside
from dcpcpp._manager_config import CheckpointConfig
from dcpcpp._manager_io import RunStates
from dcpcpp._manager_log import CheckpointEvent, Hook, Teller
from dcpcpp._manager_ranks import on_first_rank
from dcpcpp._manager_replica import Replica
from dcpcpp._manager_retention import remove_old_steps
from dcpcpp._manager_saves import Background, Saves
from dcpcpp._manager_start import Search, Start, decide_start
from dcpcpp._report import LoadReport
from dcpcpp._stats import SaveStats


class Steps:
    """The steps of a run. Calls are collective over its ranks.

    Args:
        core: of the run's folder.
        config: the run's options.
        states: what is saved and loaded.
        replica: of a fault-tolerant run, or None.
        hooks: see `CheckpointManager`.

    Attributes:
        saves: the ones that have begun.
    """

    def __init__(
        self,
        core: _core.CheckpointManager,
        config: CheckpointConfig,
        states: RunStates,
        replica: Replica | None,
        hooks: Iterable[Hook],
    ) -> None:
        self._core = core
        self._config = config
        self._states = states
        self._replica = replica
        self._teller = Teller(hooks)
        self.saves = Saves(
            core,
            is_first=states.group is None or dist.get_rank(states.group) == 0,
            tell=self._teller.tell,
            remove=remove_old_steps,
        )

    def save(self, step: int, what: str, *, in_background: bool) -> bool:
        """Save a step, unless another replica does; whether it is saved.

        Args:
            step: its number.
            what: "full" or "model".
            in_background: whether it may be saved as `async_mode` says.
        """
        gc.collect(1)
        event = self._event(step, what)
        if not on_first_rank(self._states.group, functools.partial(self._begin_save, event)):
            return False

        def save(stats: SaveStats) -> Background | None:
            if what == "model":
                self._states.save_model(event.path, step, stats)
            elif in_background and self._config.async_mode != "disabled":
                return self._states.save_in_background(event.path, stats)
            else:
                self._states.save_full(event.path, stats)
            return None

        self.saves.run(event, save)
        gc.collect(1)
        return True

    def load(self, load_step: int) -> bool:
        """Load a step, or the newest one (-1); whether there is one. See `CheckpointManager`."""
        self.saves.wait_removed()  # or it might take what is loaded
        if self._replica is not None:
            self._replica.load()
        assets = getattr(self._states.adapter, "hf_assets_path", None)
        search = Search(load_step, self._config.hf_assets_path or assets, self._states.survey)
        start = decide_start(self._core, self._config, search, self._states.group)
        if start is not None:
            self._load(start)
        return start is not None

    def _begin_save(self, event: CheckpointEvent) -> bool:
        if self._replica is not None and not self._replica.saves_for_all():
            return False
        assert event.step is not None
        set_aside(event.path, in_hf=event.format == "hf")
        self._core.begin_save(event.step)
        return True

    def _event(self, step: int, what: str) -> CheckpointEvent:
        model_only = what == "model"
        return CheckpointEvent(
            kind="save",
            path=self._core.step_path(step),
            step=step,
            format="hf" if model_only and self._config.last_save_in_hf else "dcp",
            model_only=model_only,
            dtype=self._config.export_dtype if model_only else None,
        )

    def _load(self, start: Start) -> None:
        begin = time.perf_counter()
        report = LoadReport()
        self._states.load(start, report)
        gc.collect(1)
        self._teller.tell(
            CheckpointEvent(
                kind="load",
                path=start.path,
                step=start.step,
                format="hf" if start.in_hf else "dcp",
                model_only=start.model_only,
                seconds=time.perf_counter() - begin,
                nbytes=report.nbytes_read,
            )
        )
