"""Who is told of each save and load of a run: the log, and the user's hooks."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable, Iterable
from typing import Literal

logger = logging.getLogger("dcpcpp")

__all__ = ["CheckpointEvent", "Hook", "Teller"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class CheckpointEvent:
    """A save or load of a `CheckpointManager` that has succeeded.

    Attributes:
        kind: "save" or "load".
        path: of the checkpoint.
        step: of the run; None for a checkpoint from which a run without steps starts.
        format: "dcp", or "hf" for safetensors.
        model_only: whether only the model was saved or loaded.
        dtype: to which floating-point tensors were cast for the save, as torch calls it; None
            if they were stored as they are.
        seconds: from the call to the end; an async save ends long after the call.
        nbytes: written or read by this rank.
    """

    kind: Literal["save", "load"]
    path: str
    step: int | None
    format: Literal["dcp", "hf"]
    model_only: bool
    dtype: str | None = None
    seconds: float = 0.0
    nbytes: int = 0

    @property
    def gigabytes_per_second(self) -> float:
        """Of this rank, 10^9 bytes each."""
        return self.nbytes / self.seconds / 1e9 if self.seconds > 0 else 0.0


Hook = Callable[[CheckpointEvent], object]


class Teller:
    """Tells the log and `hooks`, in the thread of the caller."""

    def __init__(self, hooks: Iterable[Hook]) -> None:
        self._hooks = tuple(hooks)

    def tell(self, event: CheckpointEvent) -> None:
        """Tell of `event`; what a hook raises is logged."""
        _log(event)
        for hook in self._hooks:
            try:
                hook(event)
            except Exception:
                logger.warning(
                    "a hook (%r) failed after the %s of %s, which is fine:",
                    hook,
                    event.kind,
                    event.path,
                    exc_info=True,
                )


def _log(event: CheckpointEvent) -> None:
    pace = (event.seconds, event.gigabytes_per_second)
    form = "safetensors" if event.format == "hf" else "DCP"
    if event.kind == "save":
        what = "model only" if event.model_only else "all states"
        form += f", {event.dtype}" if event.dtype else ""
        logger.info(
            "Saved step %s (%s, %s) in %.2f seconds (%.2f GB/s on this rank).",
            event.step,
            what,
            form,
            *pace,
        )
    else:
        what = "the model" if event.model_only else "all states"
        logger.info(
            "Loaded %s of %s (%s) in %.2f seconds (%.2f GB/s on this rank).",
            what,
            event.path,
            form,
            *pace,
        )
