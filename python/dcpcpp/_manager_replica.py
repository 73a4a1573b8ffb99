"""Fault-tolerant runs: several replicas of one training, which come and go (TorchFT).

As TorchTitan's TorchFTCheckpointManager does it (torchtitan 0.3.0, experiments/torchft):
one replica, that of participating rank 0, saves what all have in common. Where a replica
is in its data no other one knows, so each saves that by itself, every step, into a folder
of its own, and begins there again. What they have in common a replica that comes back
gets from the others, through memory.
"""

from __future__ import annotations

import functools
import logging
import os
from collections.abc import Callable
from typing import Any, Protocol

import torch.distributed as dist

from dcpcpp import _core
from dcpcpp._manager_beside import SavesBeside
from dcpcpp._manager_config import CheckpointConfig
from dcpcpp._manager_io import RunStates
from dcpcpp._manager_log import CheckpointEvent
from dcpcpp._manager_ranks import on_first_rank
from dcpcpp._manager_retention import remove_old_steps
from dcpcpp._manager_saves import Saves
from dcpcpp._manager_start import Start
from dcpcpp._manager_states import MODEL, OPTIMIZER
from dcpcpp._report import LoadReport

logger = logging.getLogger("dcpcpp")

__all__ = ["DATALOADER", "FaultTolerance", "Replica"]

DATALOADER = "dataloader"

State = dict[str, Any]


class Quorum(Protocol):
    """What is asked of a `torchft.Manager`."""

    def participating_rank(self) -> int | None:
        """The replica's number among those that take part in this step."""

    def set_state_dict_fns(
        self, load_state_dict: Callable[[State], None], state_dict: Callable[[], State]
    ) -> None:
        """Take what fills and what makes the state that replicas give each other."""


class FaultTolerance(Protocol):
    """What is asked of TorchTitan's `TorchFTManager`."""

    @property
    def enabled(self) -> bool:
        """Whether there are replicas at all; if not, nothing else is asked."""

    @property
    def manager(self) -> Quorum:
        """TorchFT's."""

    @property
    def replica_id(self) -> int:
        """The same one when the replica comes back."""


class Replica:
    """This replica's part in the checkpoints of a fault-tolerant run.

    Args:
        fault_tolerance: is given the states that replicas give each other, all but those of
            single ranks or replicas.
        config: the run's options.
        folder: of the run.
        states: the run's; its ranks are those of this replica.
    """

    def __init__(
        self,
        fault_tolerance: FaultTolerance,
        config: CheckpointConfig,
        folder: str,
        states: RunStates,
    ) -> None:
        self._quorum = fault_tolerance.manager
        self._states = states
        self._saves: Saves | None = None
        self._share_states()
        if not config.enable_ft_dataloader_checkpoints:
            logger.warning(
                "Fault tolerance is enabled but enable_ft_dataloader_checkpoints is False. This "
                "means replicas can retrain over the same data multiple times, which can result "
                "in overfitting."
            )
            return
        if DATALOADER not in states.others:
            raise ValueError(
                f'enable_ft_dataloader_checkpoints needs a state "{DATALOADER}", and there are '
                f"only {sorted(states.others)}"
            )
        states.aside = frozenset({DATALOADER})
        self._is_excluded = DATALOADER in config.exclude_from_loading
        self._is_first = states.group is None or dist.get_rank(states.group) == 0
        options = config.core_options(
            os.path.join(folder, f"ft-replicat-{fault_tolerance.replica_id}")  # noqa: PTH118
        )
        options.state_keys = [DATALOADER]
        self._core = _core.CheckpointManager(options)
        self._beside = SavesBeside(states.group)
        self._saves = Saves(
            self._core,
            is_first=self._is_first,
            tell=_tell_quietly,
            remove=functools.partial(remove_old_steps, level=logging.DEBUG),
        )

    def saves_for_all(self) -> bool:
        """Whether this replica saves now what all have in common."""
        rank = self._quorum.participating_rank()
        if rank != 0:
            logger.info("Replica %s doesn't save checkpoint.", rank)
        return rank == 0

    def save(self, step: int) -> Exception | None:
        """Save where the dataloader is, in the background; the error of this save or the last.

        It has nothing to do with what all have in common: neither waits for the other one,
        nor fails with it.
        """
        if self._saves is None:
            return None
        earlier = self._saves.take_error()
        if self._is_first:
            self._core.begin_save(step)
        path = self._core.step_path(step)
        state = {DATALOADER: self._states.others[DATALOADER]}
        event = CheckpointEvent(kind="save", path=path, step=step, format="dcp", model_only=False)
        try:
            self._saves.run(event, lambda stats: (self._beside.save(state, path, stats), None))
        except Exception as error:  # the other ranks go on to what all have in common
            return error
        return earlier

    def load(self) -> None:
        """Put the dataloader where this replica was last; without a word from it, nowhere.

        That there is nothing that can be loaded is no reason to end the replica, and is
        told to the log.
        """
        if self._saves is None or self._is_excluded:
            return
        self._saves.wait()
        self._saves.wait_removed()
        start = on_first_rank(self._states.group, self._look)
        if start is None:
            return
        state = {DATALOADER: self._states.others[DATALOADER]}
        self._states.fill(None, state, start, LoadReport())
        logger.info("Loaded the dataloader's state of %s.", start.path)

    def close(self) -> None:
        """Wait for what is being saved and removed."""
        if self._saves is not None:
            self._saves.close()

    def _look(self) -> Start | None:
        try:
            found = self._core.find_load(-1, None, False)
        except RuntimeError as error:  # steps, and none of them loads
            logger.warning("this replica begins its data anew: %s", error)
            return None
        for warning in found.warnings:
            logger.warning("%s", warning)
        if not found.path:
            return None
        paths = self._states.survey(found.path, frozenset({DATALOADER}))
        return Start(found.path, found.step, False, False, False, paths)

    def _share_states(self) -> None:
        shared = {
            MODEL: self._states.model,
            **{
                key: state
                for key, state in self._states.others.items()
                if key != DATALOADER and key not in self._states.per_rank
            },
        }
        # TorchTitan's keeps a copy for the others, which must be there before the first one asks.
        prepare = getattr(shared.get(OPTIMIZER), "init_cache_state_dict", None)
        if prepare is not None:
            prepare()

        def make() -> State:
            return {key: state.state_dict() for key, state in shared.items()}

        def take(state: State) -> None:
            for key, value in state.items():
                shared[key].load_state_dict(value)

        self._quorum.set_state_dict_fns(take, make)


def _tell_quietly(event: CheckpointEvent) -> None:
    """Every step has one."""
    logger.debug("Saved the dataloader's state to %s in %.2f s.", event.path, event.seconds)
