"""What TorchTitan's managers ask of the place of their checkpoints."""

from __future__ import annotations

import pathlib
import shutil

from dcpcpp._text import is_url

__all__ = ["LocalStorage"]


class LocalStorage:
    """The local file system, in the words of TorchTitan's `CheckpointStorage`.

    Releases after 0.3.0 have that protocol: what their base class does with steps goes through
    it. Paths are text, and a URI is a ValueError and never a local name.
    """

    def isdir(self, path: str) -> bool:
        """Whether there is a directory."""
        return _local(path).is_dir()

    def isfile(self, path: str) -> bool:
        """Whether there is something that is no directory."""
        place = _local(path)
        return place.exists() and not place.is_dir()

    def listdir(self, path: str) -> list[str]:
        """The names in a directory.

        Raises:
            OSError: it cannot be listed.
        """
        return [entry.name for entry in _local(path).iterdir()]

    def remove(self, path: str) -> None:
        """Remove a directory and all that is in it.

        Raises:
            OSError: it cannot be removed, or is a link, which may be somebody else's.
        """
        shutil.rmtree(_local(path))


def _local(path: str) -> pathlib.Path:
    if is_url(path):
        raise ValueError(f"checkpoints are in local folders, not at {path}")
    return pathlib.Path(path)
