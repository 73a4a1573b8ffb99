"""show_config: what dcpcpp found on this machine, and chose."""

from __future__ import annotations

import importlib.metadata
import logging
import platform
import sys

from dcpcpp import _core

logger = logging.getLogger("dcpcpp")


def config() -> dict[str, str]:
    """What show_config prints, by item."""
    engine, reason = _core.io_engine()
    return {
        "dcpcpp": _version("dcpcpp"),
        "python": platform.python_version(),
        "torch": _version("torch"),
        "kernel": platform.release(),
        "I/O engine": f"{engine} ({reason})",
        "CUDA": _core.cuda(),
        "fsspec": _version("fsspec"),
    }


def show_config() -> None:
    """Print versions, the I/O engine and why it was chosen, and what was found of CUDA."""
    for item, value in config().items():
        sys.stdout.write(f"{item:12} {value}\n")


def log_choices_once() -> None:
    """Log, once per process, which I/O engine serves and why."""
    if not _logged:
        engine, reason = _core.io_engine()
        logger.info("I/O engine: %s (%s); CUDA: %s", engine, reason, _core.cuda())
        _logged.append(True)


_logged: list[bool] = []


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"
