"""Options of `CheckpointConfig` from TOML files and command lines."""

from __future__ import annotations

import argparse
import dataclasses
import difflib
import os
import pathlib
import sys
import warnings
from collections.abc import Mapping
from typing import Any

# What TorchTitan called them in 2025.
_OLD_NAMES = {
    "enable_checkpoint": "enable",
    "last_save_model_weights_only": "last_save_model_only",
    "initial_load_model_weights_only": "initial_load_model_only",
    "enable_save_safetensors_format": "last_save_in_hf",
    "last_save_in_safetensors_format": "last_save_in_hf",
}
_PREFIX = "checkpoint."
_WORDS = {"true": True, "false": False}


def read_toml(config: Any, path: str | os.PathLike[str]) -> dict[str, Any]:
    """Options of the dataclass `config` from TorchTitan's TOML; see `CheckpointConfig`."""
    document = _parse_toml(pathlib.Path(path).read_text(encoding="utf-8"))
    options = {}
    for name, value in document.get("checkpoint", {}).items():
        field = _field(config, name)
        options[field.name] = _checked(field, value)
    assets = document.get("model", {}).get("hf_assets_path")
    if assets is not None:
        options.setdefault("hf_assets_path", assets)
    return options


def add_arguments(config: Any, parser: argparse.ArgumentParser) -> None:
    """Give `parser` an option for each field of the dataclass `config`."""
    group = parser.add_argument_group("checkpoint")
    for field in dataclasses.fields(config):
        kind = _kind(field)
        bare: dict[str, Any] = {"nargs": "?", "const": True} if kind is bool else {}
        group.add_argument(
            f"--{_PREFIX}{field.name}", type=_PARSERS[kind], default=argparse.SUPPRESS, **bare
        )


def given_arguments(arguments: argparse.Namespace) -> dict[str, Any]:
    """The options that a command line has."""
    return {
        name.removeprefix(_PREFIX): value
        for name, value in vars(arguments).items()
        if name.startswith(_PREFIX)
    }


def _parse_toml(text: str) -> dict[str, Any]:
    if sys.version_info >= (3, 11):
        import tomllib
    else:
        import tomli as tomllib
    document: dict[str, Any] = tomllib.loads(text)
    return document


def _field(config: Any, name: str) -> dataclasses.Field[Any]:
    fields = {field.name: field for field in dataclasses.fields(config)}
    if name in _OLD_NAMES:
        new_name = _OLD_NAMES[name]
        warnings.warn(
            f"checkpoint.{name} is called checkpoint.{new_name} now",
            DeprecationWarning,
            stacklevel=4,
        )
        return fields[new_name]
    if name in fields:
        return fields[name]
    near = difflib.get_close_matches(name, fields, n=1)
    hint = f"; did you mean {near[0]}?" if near else ""
    raise ValueError(f"there is no option checkpoint.{name}{hint}")


def _kind(field: dataclasses.Field[Any]) -> type:
    return str if field.default is None else type(field.default)


def _checked(field: dataclasses.Field[Any], value: Any) -> Any:
    kind = _kind(field)
    if type(value) is not (list if kind is tuple else kind):
        raise ValueError(f"checkpoint.{field.name} is {_NAMES[kind]}, not {value!r}")
    return value


def _parse_bool(text: str) -> bool:
    if text.lower() not in _WORDS:
        raise argparse.ArgumentTypeError(f"true or false, not {text!r}")
    return _WORDS[text.lower()]


def _parse_list(text: str) -> list[str]:
    return [word.strip() for word in text.split(",") if word.strip()]


_PARSERS: Mapping[type, Any] = {bool: _parse_bool, int: int, str: str, tuple: _parse_list}
_NAMES: Mapping[type, str] = {
    bool: "true or false",
    int: "a whole number",
    str: "a string",
    tuple: "a list of strings",
}
