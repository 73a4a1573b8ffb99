"""Torch's submodules under our name: `from dcpcpp.state_dict import get_model_state_dict`."""

from __future__ import annotations

import importlib
import importlib.machinery
import sys
import types
from collections.abc import Sequence
from typing import Any

__all__ = ["TORCH_MODULES", "name_of_torchs"]

# Those of torch.distributed.checkpoint that trainers use. Of _consolidate_hf_safetensors and
# format_utils there are ours, which come first and hand out the rest of torch's.
TORCH_MODULES = frozenset(
    {
        "_consolidate_hf_safetensors",
        "_extension",
        "_fsspec_filesystem",
        "_nested_dict",
        "api",
        "default_planner",
        "filesystem",
        "format_utils",
        "hf_storage",
        "logger",
        "metadata",
        "optimizer",
        "planner",
        "planner_helpers",
        "resharding",
        "staging",
        "state_dict",
        "state_dict_loader",
        "state_dict_saver",
        "stateful",
        "storage",
        "utils",
    }
)
_PREFIX = "dcpcpp."


def name_of_torchs(module: str, name: str) -> Any:
    """What torch's `module` calls `name`: for a module of ours that stands in for it.

    Raises:
        AttributeError: nothing.
    """
    torchs = importlib.import_module(f"torch.distributed.checkpoint.{module}")
    try:
        return getattr(torchs, name)
    except AttributeError:
        raise AttributeError(f"module {_PREFIX + module!r} has no attribute {name!r}") from None


class _Finder:
    """Gives torch's own module, the same object, for one of its names after `dcpcpp.`.

    A finder and a loader by its methods: their classes in importlib.abc are slow to import.
    """

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: types.ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if fullname.removeprefix(_PREFIX) in TORCH_MODULES and fullname.startswith(_PREFIX):
            loader: Any = self
            return importlib.machinery.ModuleSpec(fullname, loader)
        return None

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> None:
        """Python makes the module that is replaced."""

    def exec_module(self, module: types.ModuleType) -> None:
        # The import system hands out what is in the table then.
        name = module.__name__.removeprefix(_PREFIX)
        sys.modules[module.__name__] = importlib.import_module(
            f"torch.distributed.checkpoint.{name}"
        )


sys.meta_path.append(_Finder())
