"""Conversions between a trainer's tensors and Hugging Face's: what a user asks for."""

from __future__ import annotations

import json
import os
import re
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

from dcpcpp import _core

_CONFIG = "config.json"
_INDEX = "model.safetensors.index.json"
# What else than weights a model's directory has: its config, and the tokenizer.
_ASSETS = ("*.json", "*.txt", "*.model", "*.jinja", "*.tiktoken")
_NO_ASSETS = "*.index.json"


@dataclass(frozen=True)
class ModelOptions:
    """The options of `dcpcpp.convert` that are about models, under their names there."""

    model: str | None = None
    reverse: bool = False
    mapping: str | os.PathLike[str] | None = None
    model_flavor: str | None = None
    hf_assets_path: str | os.PathLike[str] | None = None
    dialect: str | None = None

    @property
    def maps(self) -> bool:
        """Whether tensors are to be mapped.

        Raises:
            ValueError: options that are for a mapping, without one.
        """
        if self.mapping is not None or self.model not in (None, "none"):
            return True
        if self.reverse or self.model_flavor or self.dialect:
            raise ValueError("reverse, model_flavor and dialect are for a model or a mapping")
        return False

    def make_mapping(self, source: str | os.PathLike[str]) -> _core.ModelMapping:
        """For libdcp; the model's config.json is that of its assets, or of `source`.

        Raises:
            ValueError: there is no such model, flavor or mapping.
            FileNotFoundError: the assets or the file of the mapping are not there.
        """
        return _core.make_model_mapping(
            model="" if self.model is None or self.model == "none" else self.model,
            rules="" if self.mapping is None else Path(self.mapping).read_text(),
            flavor=self.model_flavor or "",
            config=self._config(source),
            to_native=self.reverse,
            dialect=self.dialect or "",
        )

    @property
    def _assets(self) -> Path | None:
        if self.hf_assets_path is not None and not Path(self.hf_assets_path).is_dir():
            raise FileNotFoundError(f"hf_assets_path {self.hf_assets_path} is no directory")
        return None if self.hf_assets_path is None else Path(self.hf_assets_path)

    def _config(self, source: str | os.PathLike[str]) -> str:
        for directory in (self._assets, source if self.reverse else None):
            if directory is not None and (Path(directory) / _CONFIG).is_file():
                return (Path(directory) / _CONFIG).read_text()
        return ""

    def file_numbers(self) -> dict[str, int]:
        """Which file each tensor goes into, by the index of the assets; empty without one."""
        if self._assets is None or not (self._assets / _INDEX).is_file():
            return {}
        index = json.loads((self._assets / _INDEX).read_text())
        numbers = {}
        for name, file in index["weight_map"].items():
            number = re.search(r"\d+", file)
            if number is None:
                return {}
            numbers[name] = int(number[0])
        return numbers

    def copy_assets(self, destination: str | os.PathLike[str]) -> None:
        """Copy config and tokenizer to `destination`, each file in one step."""
        assets, target = self._assets, Path(destination)
        if assets is None or assets.resolve() == target.resolve():
            return
        for path in sorted(file for pattern in _ASSETS for file in assets.glob(pattern)):
            if path.is_file() and not path.match(_NO_ASSETS):
                _copy(path, target / path.name)


def _copy(source: Path, target: Path) -> None:
    with tempfile.TemporaryDirectory(prefix=".dcpcpp-assets-", dir=target.parent) as work:
        copy = Path(work) / target.name
        shutil.copyfile(source, copy)
        copy.replace(target)
