"""show_config: what dcpcpp found on this machine, and chose."""

from __future__ import annotations

import logging
import os
import sys
from pathlib import Path

import dcpcpp
from dcpcpp import _core

logger = logging.getLogger("dcpcpp")


def config(directory: str | os.PathLike[str] = ".") -> dict[str, str]:
    """What show_config prints, by item."""
    import platform  # slow to import, and seldom needed

    engine, reason = _core.io_engine()
    return {
        "dcpcpp": dcpcpp.__version__,
        "python": platform.python_version(),
        "torch": _version("torch"),
        "kernel": platform.release(),
        "I/O engine": f"{engine} ({reason})",
        "direct I/O": f"{_direct_io(directory)}, in {os.path.abspath(directory)}",  # noqa: PTH100
        "overwrites of safetensors": _safetensors_overwrite(directory),
        "CUDA": _core.cuda(),
        "pack kernel": _core.pack_kernel(),
        "fsspec": _version("fsspec"),
    }


def show_config(directory: str | os.PathLike[str] = ".") -> None:
    """Print versions, the I/O engine and why it was chosen, and what was found of CUDA.

    Args:
        directory: where checkpoints are to lie; whether files there are written and read
            past the page cache is printed, too, and how a save would replace a
            safetensors checkpoint in this directory: by an exchange of directories, or by
            names with the save's id.
    """
    for item, value in config(directory).items():
        sys.stdout.write(f"{item:12} {value}\n")


def get_include() -> str:
    """The directory of libdcp's headers, for `#include "dcp/checkpoint.h"`.

    Raises:
        FileNotFoundError: this installation has none.
    """
    return _installed("include", "dcp/checkpoint.h")


def get_cmake_dir() -> str:
    """What CMake needs as `-Ddcp_DIR=` so that find_package(dcp) finds this libdcp.

    Raises:
        FileNotFoundError: this installation has none.
    """
    return _installed("lib/cmake/dcp", "dcpConfig.cmake")


def _installed(directory: str, file: str) -> str:
    # The extension and libdcp lie together, in an editable installation apart from
    # the Python files.
    path = Path(_core.__file__).parent / directory
    if not (path / file).exists():
        raise FileNotFoundError(f"{path / file}: dcpcpp was installed without its C++ library")
    return str(path)


def log_choices_once(io_engine: str) -> None:
    """Log, once per process and wanted engine, which I/O engine serves and why.

    Args:
        io_engine: "auto", or the engine that the caller asked for.
    """
    if io_engine in _logged:
        return
    _logged.add(io_engine)
    try:
        engine, reason = _core.io_engine(io_engine)
    except NotImplementedError as error:  # the save or load will raise it
        logger.warning("%s", error)
        return
    logger.info("I/O engine: %s (%s); CUDA: %s", engine, reason, _core.cuda())


def log_direct_io_once(path: str | os.PathLike[str]) -> None:
    """Log, once per process and file system, whether direct I/O serves and why.

    Args:
        path: a directory that was written to, or a file that was read.
    """
    try:
        device = f"device {os.stat(path).st_dev}"  # noqa: PTH116  # it may be text
    except OSError:
        return
    if device not in _logged:
        _logged.add(device)
        logger.info("direct I/O: %s, in %s", _direct_io(path), os.fspath(path))


def _direct_io(path: str | os.PathLike[str]) -> str:
    try:
        available, reason = _core.direct_io(os.fspath(path))
    except OSError as error:
        return f"not known ({error})"
    return f"{'yes' if available else 'no'} ({reason})"


def _safetensors_overwrite(directory: str | os.PathLike[str]) -> str:
    try:
        return _core.safetensors_overwrite(os.path.abspath(directory))  # noqa: PTH100
    except OSError as error:
        return f"not known ({error})"


_logged: set[str] = set()


def _version(package: str) -> str:
    import importlib.metadata  # likewise

    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"
