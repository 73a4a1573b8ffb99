"""Conversions between a trainer's tensors and Hugging Face's: what a user asks for."""

from __future__ import annotations

import json
import os
import re
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dcpcpp import _core

_CONFIG = "config.json"
_INDEX = "model.safetensors.index.json"
_INDICES = "*.safetensors.index.json"
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

    def __post_init__(self) -> None:
        """Find a wrong directory before anything is converted.

        Raises:
            FileNotFoundError: the assets are not there.
        """
        if self.hf_assets_path is not None and not Path(self.hf_assets_path).is_dir():
            raise FileNotFoundError(f"hf_assets_path {self.hf_assets_path} is no directory")

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
            FileNotFoundError: the file of the mapping is not there.
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
        return None if self.hf_assets_path is None else Path(self.hf_assets_path)

    def _config(self, source: str | os.PathLike[str]) -> str:
        for directory in (self._assets, source if self.reverse else None):
            if directory is not None and (Path(directory) / _CONFIG).is_file():
                return (Path(directory) / _CONFIG).read_text()
        return ""

    def _index(self) -> Path | None:
        """The index of the assets, or the only one, which diffusers calls otherwise."""
        if self._assets is None:
            return None
        if (self._assets / _INDEX).is_file():
            return self._assets / _INDEX
        found = [path for path in self._assets.glob(_INDICES) if path.is_file()]
        return found[0] if len(found) == 1 else None

    def file_numbers(self) -> dict[str, int]:
        """Which file each tensor goes into, by the index of the assets; empty without one.

        Raises:
            ValueError: the index is damaged.
        """
        index = self._index()
        if index is None:
            return {}
        files = _read_object(index).get("weight_map")
        if not isinstance(files, dict) or not all(isinstance(file, str) for file in files.values()):
            raise ValueError(f"{index} is damaged: no file names as weight_map")
        numbers = {}
        for name, file in files.items():
            number = re.search(r"-(\d{1,9})-of-", file)
            if number is None:
                return {}
            numbers[name] = int(number[1])
        return numbers

    def config_for(self, dtype: str | None, *, dequantizes: bool) -> str | None:
        """The config.json of the assets for tensors that became `dtype`, if that is given.

        Returns:
            None: as it is, or there is none.

        Raises:
            ValueError: it is damaged.
        """
        if self._assets is None or not (self._assets / _CONFIG).is_file():
            return None
        if dtype is None and not dequantizes:
            return None
        config = _read_object(self._assets / _CONFIG)
        if dequantizes:
            config.pop("quantization_config", None)
        if dtype is not None:
            # Transformers of today write "dtype", and read both.
            names = [name for name in ("dtype", "torch_dtype") if name in config]
            config.update(dict.fromkeys(names or ["torch_dtype"], dtype))
        return json.dumps(config, indent=2) + "\n"

    def copy_assets(self, destination: str | os.PathLike[str], config: str | None) -> None:
        """Copy config and tokenizer to `destination`, each file in one step.

        Args:
            destination: a directory.
            config: what `config_for` gave.
        """
        assets, target = self._assets, Path(destination)
        if assets is None:
            return
        if config is not None:
            _put(target / _CONFIG, config.encode())
        if assets.resolve() == target.resolve():
            return
        for path in sorted(file for pattern in _ASSETS for file in assets.glob(pattern)):
            is_put = config is not None and path.name == _CONFIG
            if path.is_file() and not path.match(_NO_ASSETS) and not is_put:
                _put(target / path.name, path.read_bytes())


def _read_object(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_text())
    except ValueError as error:
        raise ValueError(f"{path} is damaged: {error}") from error
    if not isinstance(value, dict):
        raise ValueError(f"{path} is damaged: it holds no JSON object")
    return value


def _put(target: Path, data: bytes) -> None:
    with tempfile.TemporaryDirectory(prefix=".dcpcpp-assets-", dir=target.parent) as work:
        copy = Path(work) / target.name
        copy.write_bytes(data)
        copy.replace(target)
