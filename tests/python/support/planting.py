"""Copies of a small checkpoint with something else in the place of one of its parts."""

from __future__ import annotations

import pickle
from pathlib import Path

import torch

import dcpcpp
from support import faults

KEYS = {"tensor": "w", "object": "step"}


def make_template(directory: Path) -> Path:
    """A float32 tensor "w" of size (2, 3), and the number "step"."""
    dcpcpp.save({"w": torch.zeros(2, 3), "step": 7}, checkpoint_id=directory, no_dist=True)
    return directory


class Planter:
    """Plants into copies of a template, `directory/<number>`."""

    def __init__(self, template: Path, directory: Path) -> None:
        self._files = {path.name: path.read_bytes() for path in template.iterdir()}
        self._template = template
        self._directory = directory
        self._count = 0

    def file(self, name: str, content: bytes) -> Path:
        """A copy in which the file `name` is this."""
        return self._make({**self._files, name: content})

    def item(self, key: str, content: bytes, transform: str | None = None) -> Path:
        """A copy without our checksums in which the item of `key` is this."""
        metadata = faults.read_metadata(self._template)
        assert metadata.storage_meta is not None
        metadata.storage_meta.save_id = "stock"
        for index, info in metadata.storage_data.items():
            if index.fqn == key:
                info.relative_path, info.offset, info.length = "planted", 0, len(content)
                info.transform_descriptors = [transform] if transform else None
        return self._make(
            {
                ".metadata": pickle.dumps(metadata, protocol=4),
                "__0_0.distcp": self._files["__0_0.distcp"],
                "planted": content,
            }
        )

    def _make(self, files: dict[str, bytes]) -> Path:
        folder = self._directory / f"{self._count:04}"
        folder.mkdir(parents=True)
        for name, content in files.items():
            (folder / name).write_bytes(content)
        self._count += 1
        return folder
