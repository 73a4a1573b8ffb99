"""What the log says of each save and load of a run."""

from __future__ import annotations

import logging

from dcpcpp._manager_start import Start

logger = logging.getLogger("dcpcpp")


def tell_saved(step: int, what: str, *, in_hf: bool, seconds: float, nbytes: int) -> None:
    """`what` is "model" or "full"; `nbytes` were written by this rank."""
    logger.info(
        "Saved step %d (%s, %s) in %.2f seconds (%.2f GB/s on this rank).",
        step,
        "model only" if what == "model" else "all states",
        "safetensors" if in_hf else "DCP",
        seconds,
        nbytes / seconds / 1e9,
    )


def tell_loaded(start: Start, *, seconds: float, nbytes: int) -> None:
    """`nbytes` were read by this rank."""
    logger.info(
        "Loaded %s of %s in %.2f seconds (%.2f GB/s on this rank).",
        "the model" if start.model_only else "all states",
        start.path,
        seconds,
        nbytes / seconds / 1e9,
    )
