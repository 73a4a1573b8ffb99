"""load_plugin: storages and file systems of third parties, written in C++."""

from __future__ import annotations

import os

from dcpcpp import _core
from dcpcpp._text import is_url

_registry = _core.StorageRegistry()


def load_plugin(path: str | os.PathLike[str]) -> list[str]:
    """Load a shared library that adds storages by URL scheme (include/dcp/plugin.h).

    From then on `save`, `load`, `open` and `load_full` take its URLs as checkpoint_id.
    Once per process is enough, and on every rank; a plug-in is never unloaded.

    Args:
        path: the library, built against this libdcp: see `get_cmake_dir`.

    Returns:
        The schemes that it serves.

    Raises:
        FileNotFoundError: the library cannot be loaded.
        ValueError: it is not a plug-in.
        RuntimeError: it was built for another libdcp or with another toolchain.
        FileExistsError: another plug-in serves one of its schemes.

    Example:
        >>> dcpcpp.load_plugin("libdcp_example_plugin.so")
        ['archive', 'mem']
        >>> dcpcpp.save(state, checkpoint_id="archive:///ckpt/7.dcpar")
    """
    return _registry.load_plugin(os.fspath(path))


def serves(checkpoint_id: object) -> bool:
    """Whether a plug-in serves this URL."""
    return is_url(checkpoint_id) and checkpoint_id.partition("://")[0] in _registry.schemes()


def make_writer(options: _core.FileSystemWriterOptions) -> _core.StorageWriter:
    """The plug-in's writer for the URL `options.path`."""
    return _registry.make_writer(options)


def make_reader(options: _core.FileSystemReaderOptions) -> _core.StorageReader:
    """The plug-in's reader for the URL `options.path`."""
    return _registry.make_reader(options)
