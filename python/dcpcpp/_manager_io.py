"""How a `CheckpointManager` saves and loads the states of a run."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from concurrent.futures import Future
from typing import Any

import torch
import torch.distributed as dist
from torch.distributed.checkpoint.metadata import Metadata

from dcpcpp._async_save import AsyncSaveHandle, async_save
from dcpcpp._default_stager import DefaultStager
from dcpcpp._hugging_face_storage import (
    HuggingFaceStorageReader,
    QuantizedHuggingFaceStorageReader,
)
from dcpcpp._hugging_face_writer import HuggingFaceStorageWriter
from dcpcpp._manager_config import CheckpointConfig
from dcpcpp._manager_start import Start
from dcpcpp._manager_states import StateDictAdapter, states_of
from dcpcpp._report import LoadReport
from dcpcpp._save_load import load, save
from dcpcpp._stats import SaveStats
from dcpcpp._torch_async import AsyncCheckpointerType, AsyncSaveResponse, StagingOptions

logger = logging.getLogger("dcpcpp")


class RunStates:
    """The states of a run. Calls are collective over its ranks.

    Args:
        config: the run's options.
        states: see `CheckpointManager`.
        adapter: see there.
        process_group: the ranks, or None for all.

    Attributes:
        keys: of the states beside the model.
        is_alone: whether there are no other ranks.
        adapter: as given.
    """

    def __init__(
        self,
        config: CheckpointConfig,
        states: Mapping[str, Any],
        adapter: StateDictAdapter | None,
        process_group: dist.ProcessGroup | None,
    ) -> None:
        self._config = config
        self._model, self._others = states_of(states)
        self.keys = list(self._others)
        self.adapter = adapter
        self.is_alone = not (dist.is_available() and dist.is_initialized())
        self._ranks: dict[str, Any] = {"process_group": process_group, "no_dist": self.is_alone}
        self._stager = DefaultStager(StagingOptions(True, True, True, True))

    def save_full(self, path: str, stats: SaveStats) -> None:
        """Save all states."""
        save(self._all(), checkpoint_id=path, stats=stats, **self._ranks)

    def save_model(self, path: str, step: int, stats: SaveStats) -> None:
        """Save the model alone, as the options have it for the last step."""
        name = self._config.export_dtype
        dtype: torch.dtype = getattr(torch, name)
        logger.info("Saving a model only checkpoint in %s at last step, step %d.", name, step)
        state = self._model.state_dict()
        if not self._config.last_save_in_hf:
            save(state, checkpoint_id=path, export_dtype=dtype, stats=stats, **self._ranks)
            return
        assert self.adapter is not None  # the manager has checked
        writer = HuggingFaceStorageWriter(
            path, getattr(self.adapter, "fqn_to_index_mapping", None), export_dtype=dtype
        )
        save(self.adapter.to_hf(state), storage_writer=writer, stats=stats, **self._ranks)

    def save_in_background(
        self, path: str, stats: SaveStats
    ) -> tuple[Future[Metadata], AsyncSaveHandle | None]:
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

    def load(self, start: Start, report: LoadReport) -> None:
        """Load what `start` names.

        Raises:
            ValueError: a key of `exclude_from_loading` is unknown.
            AssertionError: it is in safetensors, and there is no adapter.
        """
        state = self._model.state_dict()
        if start.in_hf:
            self._load_hf(start, state, report)
            return
        keys = list(state)
        if not start.model_only:
            state.update(self._wanted())
        load(state, checkpoint_id=start.path, report=report, **self._ranks)
        self._model.load_state_dict({key: state[key] for key in keys})

    def _load_hf(self, start: Start, state: dict[str, Any], report: LoadReport) -> None:
        if self.adapter is None:
            raise AssertionError("from_hf=True requires sd_adapter and hf_assets_path.")
        reader = QuantizedHuggingFaceStorageReader if start.quantized else HuggingFaceStorageReader
        hf_state = self.adapter.to_hf(state)
        load(hf_state, storage_reader=reader(start.path), report=report, **self._ranks)
        loaded = self.adapter.from_hf(hf_state)
        missing = [key for key in state if key not in loaded]
        if missing:
            logger.warning(
                "%s does not have %s: %d of %d tensors stay as they are.",
                start.path,
                ", ".join(missing[:3]) + (", ..." if len(missing) > 3 else ""),
                len(missing),
                len(state),
            )
        self._model.load_state_dict(loaded)

    def _all(self) -> dict[str, Any]:
        """The model's tensors, and the other states, at the top level."""
        state: dict[str, Any] = self._model.state_dict()
        state.update(self._others)
        return state

    def _wanted(self) -> dict[str, Any]:
        for key in self._config.exclude_from_loading:
            if key not in self._others:
                raise ValueError(f"{key} not found in state_dict.")
        excluded = self._config.exclude_from_loading
        return {key: value for key, value in self._others.items() if key not in excluded}
