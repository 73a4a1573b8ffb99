"""How a `CheckpointManager` saves and loads the states of a run."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

import torch
import torch.distributed as dist
from torch.distributed.checkpoint.stateful import Stateful

from dcpcpp._async_save import AsyncSaveHandle, async_save
from dcpcpp._default_stager import DefaultStager
from dcpcpp._hugging_face_storage import (
    HuggingFaceStorageReader,
    QuantizedHuggingFaceStorageReader,
)
from dcpcpp._hugging_face_writer import HuggingFaceStorageWriter
from dcpcpp._inspect import open as open_checkpoint
from dcpcpp._manager_config import CheckpointConfig
from dcpcpp._manager_fill import fill, made
from dcpcpp._manager_per_rank import PerRankState, require_same_ranks
from dcpcpp._manager_ranks import on_all_ranks
from dcpcpp._manager_saves import Background
from dcpcpp._manager_start import Start
from dcpcpp._manager_states import (
    MODEL,
    DictState,
    StateDictAdapter,
    model_state_of,
    other_states_of,
)
from dcpcpp._report import LoadReport
from dcpcpp._save_load import load, save
from dcpcpp._state_dict import Path
from dcpcpp._stats import SaveStats
from dcpcpp._torch_async import AsyncCheckpointerType, AsyncSaveResponse, StagingOptions

logger = logging.getLogger("dcpcpp")


class RunStates:
    """The states of a run. Calls are collective over its ranks.

    Args:
        config: the run's options.
        states: see `CheckpointManager`.
        per_rank_states: see there.
        adapter: see there.
        process_group: the ranks, or None for all.

    Attributes:
        model: the model's state.
        others: the states beside the model.
        per_rank: names of those that each rank has for itself.
        aside: names of those that are in the checkpoints and loaded from elsewhere.
        group: the ranks; None for this process alone.
        adapter: as given.
    """

    def __init__(
        self,
        config: CheckpointConfig,
        states: Mapping[str, Any],
        per_rank_states: Mapping[str, Any],
        adapter: StateDictAdapter | None,
        process_group: dist.ProcessGroup | None,
    ) -> None:
        self._config = config
        is_alone = not (dist.is_available() and dist.is_initialized())
        self.group: Any = None if is_alone else (process_group or dist.group.WORLD)
        self._rank = 0 if is_alone else dist.get_rank(self.group)
        self._world_size = 1 if is_alone else dist.get_world_size(self.group)
        self.model = model_state_of(states)
        self.others = other_states_of(states, self.model)
        self.others |= self._of_this_rank(per_rank_states)
        self.per_rank = frozenset(per_rank_states)
        self.aside: frozenset[str] = frozenset()
        self.adapter = adapter
        self._ranks: dict[str, Any] = {"process_group": process_group, "no_dist": is_alone}
        self._stager = DefaultStager(StagingOptions(True, True, True, True))

    def save_full(self, path: str, stats: SaveStats) -> None:
        """Save all states."""
        save(self._all(), checkpoint_id=path, stats=stats, **self._ranks)

    def save_model(self, path: str, step: int, stats: SaveStats) -> None:
        """Save the model alone, as the options have it for the last step."""
        name = self._config.export_dtype
        dtype: torch.dtype = getattr(torch, name)
        logger.info("Saving a model only checkpoint in %s at last step, step %d.", name, step)
        if not self._config.last_save_in_hf:
            state = made(self.model.state_dict)
            save(state, checkpoint_id=path, export_dtype=dtype, stats=stats, **self._ranks)
            return
        adapter = self.adapter
        assert adapter is not None  # the manager has checked
        writer = HuggingFaceStorageWriter(
            path, getattr(adapter, "fqn_to_index_mapping", None), export_dtype=dtype
        )
        hf_state = made(lambda: adapter.to_hf(self.model.state_dict()))
        save(hf_state, storage_writer=writer, stats=stats, **self._ranks)

    def save_in_background(self, path: str, stats: SaveStats) -> Background:
        """Save all states as `async_mode` says; the upload, and what stages them."""
        if self._config.async_mode == "async":
            upload = async_save(self._all(), checkpoint_id=path, stats=stats, **self._ranks)
            assert not isinstance(upload, AsyncSaveResponse)  # the default copies at once
            return upload, None
        handle = async_save(
            self._all(),
            checkpoint_id=path,
            async_checkpointer_type=AsyncCheckpointerType.PROCESS,
            async_stager=self._stager,
            stats=stats,
            **self._ranks,
        )
        assert isinstance(handle, AsyncSaveHandle)  # the stager is ours
        return handle.upload_completion, handle  # type: ignore[return-value]  # torch: of None

    def survey(self, path: str, names: frozenset[str] | None = None) -> dict[str, Path]:
        """The keys of a checkpoint that belong to dicts and to single ranks, with their paths.

        Args:
            path: of the checkpoint.
            names: of the states to be loaded; None: those that `load` loads.

        Raises:
            ValueError: it has the states of another number of ranks, or a key of
                `exclude_from_loading` is unknown.
        """
        wanted = frozenset(self._wanted()) if names is None else names
        per_rank = sorted(self.per_rank & wanted)
        dicts = [name for name in wanted if isinstance(self.others[name], DictState)]
        if not per_rank and not dicts:
            return {}
        checkpoint = open_checkpoint(path)
        paths = {key: checkpoint.path(key) for key in checkpoint}
        tops = {*per_rank, *dicts}
        paths = {key: place for key, place in paths.items() if place[0] in tops}
        require_same_ranks(path, per_rank, paths, self._world_size)
        return paths

    def load(self, start: Start, report: LoadReport) -> None:
        """Load what `start` names.

        Raises:
            AssertionError: it is in safetensors, and there is no adapter.
        """
        if start.in_hf:
            self._load_hf(start, report)
            return
        others = {} if start.model_only else self._wanted()
        excluded = self._config.exclude_from_loading
        if excluded and not start.model_only:
            logger.info("Not loaded, as exclude_from_loading says: %s.", ", ".join(excluded))
        self.fill(self.model, others, start, report)

    def fill(
        self,
        model: Stateful | None,
        others: Mapping[str, Stateful],
        start: Start,
        report: LoadReport,
    ) -> None:
        """Fill states from the checkpoint of `start`, in PyTorch's format."""
        fill(model, others, start, self.group, {"report": report, **self._ranks})

    def close(self) -> None:
        """Give back the memory of the copies that were saved in the background."""
        if self._config.async_mode != "disabled":
            self._stager.close()

    def _load_hf(self, start: Start, report: LoadReport) -> None:
        adapter = self.adapter
        if adapter is None:
            raise AssertionError("from_hf=True requires sd_adapter and hf_assets_path.")
        reader = QuantizedHuggingFaceStorageReader if start.quantized else HuggingFaceStorageReader
        keys: list[str] = []

        def to_hf() -> dict[str, Any]:
            state = self.model.state_dict()
            keys.extend(state)
            return adapter.to_hf(state)

        hf_state = made(to_hf)
        load(hf_state, storage_reader=reader(start.path), report=report, **self._ranks)

        def apply() -> None:
            loaded = adapter.from_hf(hf_state)
            _warn_of_missing(start.path, keys, loaded)
            self.model.load_state_dict(loaded)

        on_all_ranks(self.group, "load_state_dict", apply)

    def _all(self) -> dict[str, Any]:
        """The model's tensors, and the other states, at the top level."""
        return made(lambda: {**self.model.state_dict(), **self.others})

    def _wanted(self) -> dict[str, Stateful]:
        excluded = self._config.exclude_from_loading
        for key in excluded:
            if key not in self.others:
                raise ValueError(f"{key} not found in state_dict.")
        return {
            key: state
            for key, state in self.others.items()
            if key not in excluded and key not in self.aside
        }

    def _of_this_rank(self, states: Mapping[str, Any]) -> dict[str, Stateful]:
        twice = sorted({MODEL, *self.others} & set(states))
        if twice:
            raise ValueError(f"{', '.join(twice)} cannot be in both states and per_rank_states")
        own = other_states_of(states, self.model)
        return {
            key: PerRankState(state, self._rank, self._world_size) for key, state in own.items()
        }


def _warn_of_missing(path: str, keys: list[str], loaded: Mapping[str, Any]) -> None:
    missing = [key for key in keys if key not in loaded]
    if missing:
        logger.warning(
            "%s does not have %s: %d of %d tensors stay as they are.",
            path,
            ", ".join(missing[:3]) + (", ..." if len(missing) > 3 else ""),
            len(missing),
            len(keys),
        )
