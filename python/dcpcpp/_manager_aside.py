"""A step that an earlier run saved in the other format makes room."""

from __future__ import annotations

import itertools
import logging
import os
import pathlib

logger = logging.getLogger("dcpcpp")


def set_aside(step: str | os.PathLike[str], *, in_hf: bool) -> None:
    """Rename the directory `step` if it holds the other format than is saved now.

    One with both formats could not be loaded. It happens when a run goes on past a last save
    in safetensors, or ends where a longer one has saved. The new name, `<step>.hf` or
    `<step>.dcp` with a number if that is taken, is no step's, so that it stays for good.

    Args:
        step: where a step will be saved.
        in_hf: whether that will be in safetensors.
    """
    path = pathlib.Path(step)
    holds_dcp = (path / ".metadata").exists()
    holds_hf = any(path.glob("model*.safetensors*"))
    if not (holds_dcp if in_hf else holds_hf):
        return
    suffix = ".dcp" if in_hf else ".hf"
    names = itertools.chain([suffix], (f"{suffix}.{number}" for number in itertools.count(2)))
    aside = next(
        place for name in names if not (place := path.with_name(path.name + name)).exists()
    )
    path.rename(aside)
    logger.warning(
        "%s is of an earlier run and in another format; it is %s from now on.", path, aside
    )
