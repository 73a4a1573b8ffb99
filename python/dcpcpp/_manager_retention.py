"""Retention: the steps of a run that are too old go, in the background."""

from __future__ import annotations

import logging
import time

from dcpcpp import _core

logger = logging.getLogger("dcpcpp")


def remove_old_steps(core: _core.CheckpointManager, *, level: int = logging.INFO) -> None:
    """Remove them, and tell the log; what goes wrong does not fail the training.

    Args:
        core: of the folder.
        level: of the lines about steps that were removed.
    """
    begin = time.perf_counter()
    try:
        report = core.apply_retention()
    except Exception as error:
        logger.warning("old checkpoints could not be looked for: %s", error)
        return
    for kept in report.not_removed:
        logger.warning("%s could not be removed: %s", kept.path, kept.reason)
    for step in report.removed:
        seconds = time.perf_counter() - begin
        logger.log(level, "Removed %s, %.2f seconds after the save.", step.path, seconds)
