"""Which checkpoint a run starts from: one rank looks, all are told."""

from __future__ import annotations

import dataclasses
import logging
import pathlib
import re
from collections.abc import Callable
from typing import Any

from dcpcpp import _core
from dcpcpp._manager_config import CheckpointConfig
from dcpcpp._manager_ranks import on_first_rank
from dcpcpp._state_dict import Path

logger = logging.getLogger("dcpcpp")

_STEP_NAME = re.compile(r"step-\d+")

# Looks into a full checkpoint; raises if a run's states do not fit what it holds.
Survey = Callable[[str], dict[str, Path]]


@dataclasses.dataclass(frozen=True)
class Start:
    """A checkpoint to load.

    Attributes:
        path: its directory.
        step: of the run; None for a checkpoint that is not the run's.
        in_hf: whether it is in safetensors.
        model_only: whether only the model of it is loaded.
        quantized: whether its weights are quantized.
        paths: what the survey found.
    """

    path: str
    step: int | None
    in_hf: bool
    model_only: bool
    quantized: bool
    paths: dict[str, Path] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class Search:
    """What is looked for.

    Attributes:
        load_step: a step, or -1 for the newest one.
        assets: directory of the model as Hugging Face ships it, or None.
        survey: is asked about the checkpoint, if more than the model is to be loaded.
    """

    load_step: int
    assets: str | None
    survey: Survey


def decide_start(
    core: _core.CheckpointManager, config: CheckpointConfig, search: Search, group: Any
) -> Start | None:
    """What all ranks of `group` load; None for a fresh start. Collective.

    Args:
        core: the manager of this rank.
        config: the run's options.
        search: what is looked for.
        group: the ranks; None for this process alone.

    Raises:
        FileNotFoundError, RuntimeError, ValueError: see `CheckpointManager.load`.
        AssertionError: `initial_load_in_hf` has nothing to load.
    """
    return on_first_rank(group, lambda: _look(core, config, search))


def _look(core: _core.CheckpointManager, config: CheckpointConfig, search: Search) -> Start | None:
    dangling = _dangling_steps(core)
    for link in dangling:
        logger.warning("skipped %s: it is a link to %s, which is not there", link, link.readlink())
    initial = _initial(config, search.assets)
    found = core.find_load(search.load_step, initial, config.require_full_resume)
    for warning in found.warnings:
        logger.warning("%s", warning)
    if found.step is None and dangling:
        raise RuntimeError(
            f"the steps in {dangling[0].parent} are links to what is not there, such as "
            f"{dangling[0]}. Bring back what they lead to, or remove them to begin anew"
        )
    if not found.path:
        if config.initial_load_in_hf:
            raise AssertionError("from_hf=True requires sd_adapter and hf_assets_path.")
        logger.info("No checkpoint was provided, this is a fresh start.")
        return None
    is_full = not found.is_hugging_face and not found.is_model_only
    return Start(
        path=found.path,
        step=found.step,
        in_hf=found.is_hugging_face,
        model_only=found.is_model_only,
        quantized=found.step is None and config.initial_load_in_hf_quantized,
        paths=search.survey(found.path) if is_full else {},
    )


def _dangling_steps(core: _core.CheckpointManager) -> list[pathlib.Path]:
    """Links with the name of a step that lead nowhere, e.g. to a disk that is not mounted."""
    folder = pathlib.Path(core.step_path(0)).parent
    if not folder.is_dir():
        return []
    return sorted(
        path
        for path in folder.iterdir()
        if _STEP_NAME.fullmatch(path.name) and path.is_symlink() and not path.exists()
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
