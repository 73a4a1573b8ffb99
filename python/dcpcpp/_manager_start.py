"""Which checkpoint a run starts from: one rank looks, all are told."""

from __future__ import annotations

import dataclasses
import logging
from typing import Any

from dcpcpp import _core
from dcpcpp._manager_config import CheckpointConfig
from dcpcpp._manager_ranks import on_first_rank

logger = logging.getLogger("dcpcpp")


@dataclasses.dataclass(frozen=True)
class Start:
    """A checkpoint to load.

    Attributes:
        path: its directory.
        step: of the run; None for a checkpoint that is not the run's.
        in_hf: whether it is in safetensors.
        model_only: whether only the model of it is loaded.
        quantized: whether its weights are quantized.
    """

    path: str
    step: int | None
    in_hf: bool
    model_only: bool
    quantized: bool


def decide_start(
    core: _core.CheckpointManager,
    config: CheckpointConfig,
    load_step: int,
    assets: str | None,
    group: Any,
) -> Start | None:
    """What all ranks of `group` load; None for a fresh start. Collective.

    Args:
        core: the manager of this rank.
        config: the run's options.
        load_step: a step, or -1 for the newest one.
        assets: directory of the model as Hugging Face ships it, or None.
        group: the ranks; None for this process alone.

    Raises:
        FileNotFoundError, RuntimeError, ValueError: see `CheckpointManager.load`.
        AssertionError: `initial_load_in_hf` has nothing to load.
    """
    return on_first_rank(group, lambda: _look(core, config, load_step, assets))


def _look(
    core: _core.CheckpointManager, config: CheckpointConfig, load_step: int, assets: str | None
) -> Start | None:
    found = core.find_load(load_step, _initial(config, assets), config.require_full_resume)
    for warning in found.warnings:
        logger.warning("%s", warning)
    if not found.path:
        if config.initial_load_in_hf:
            raise AssertionError("from_hf=True requires sd_adapter and hf_assets_path.")
        logger.info("No checkpoint was provided, this is a fresh start.")
        return None
    is_initial = found.step is None
    return Start(
        path=found.path,
        step=found.step,
        in_hf=found.is_hugging_face,
        model_only=found.is_model_only,
        quantized=is_initial and config.initial_load_in_hf_quantized,
    )


def _initial(config: CheckpointConfig, assets: str | None) -> _core.InitialCheckpoint | None:
    if config.initial_load_path is not None:
        return _core.InitialCheckpoint(
            path=config.initial_load_path,
            is_hugging_face=config.initial_load_in_hf,
            is_model_only=config.initial_load_model_only,
            is_assets=False,
        )
    if not config.initial_load_in_hf or not assets:
        return None
    return _core.InitialCheckpoint(
        path=assets, is_hugging_face=True, is_model_only=True, is_assets=True
    )
