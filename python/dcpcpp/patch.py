"""patch_torch: dcpcpp behind the names of torch.distributed.checkpoint."""

from __future__ import annotations

import importlib
import sys
import types
import warnings
from collections.abc import Callable
from typing import Any

from dcpcpp._trust import allow_in_process

_TORCH = "torch.distributed.checkpoint"

# (module, name) of torch -> (module, name) of dcpcpp. The one table of what is swapped.
_TABLE: list[tuple[str, str, str, str]] = [
    *(
        (module, name, "dcpcpp._save_load", name)
        for name, modules in {
            "save": (_TORCH, f"{_TORCH}.state_dict_saver"),
            "save_state_dict": (_TORCH, f"{_TORCH}.state_dict_saver"),
            "load": (_TORCH, f"{_TORCH}.state_dict_loader"),
            "load_state_dict": (_TORCH, f"{_TORCH}.state_dict_loader"),
        }.items()
        for module in modules
    ),
    *(
        (module, "async_save", "dcpcpp._async_save", "async_save")
        for module in (_TORCH, f"{_TORCH}.state_dict_saver")
    ),
    *(
        (module, "DefaultStager", "dcpcpp._default_stager", "DefaultStager")
        for module in (_TORCH, f"{_TORCH}.staging")
    ),
    *(
        (module, name, "dcpcpp._filesystem_storage", name)
        for name in ("FileSystemReader", "FileSystemWriter")
        # The first two have imported them from the others. The last one names them in warnings.
        for module in (
            f"{_TORCH}._storage_utils",
            f"{_TORCH}.format_utils",
            _TORCH,
            f"{_TORCH}.filesystem",
        )
    ),
    *(
        (f"{_TORCH}.format_utils", name, "dcpcpp.format_utils", name)
        for name in ("dcp_to_torch_save", "torch_save_to_dcp")
    ),
    *(
        (f"{_TORCH}.{module}", name, "dcpcpp._consolidate_hf_safetensors", name)
        for name, modules in {
            "consolidate_safetensors_files": ("_consolidate_hf_safetensors", "hf_storage"),
            "consolidate_safetensors_files_on_every_rank": ("_consolidate_hf_safetensors",),
        }.items()
        for module in modules
    ),
    *(
        (f"{_TORCH}._fsspec_filesystem", name, "dcpcpp._fsspec_storage", name)
        for name in ("FsspecReader", "FsspecWriter")
    ),
    *(
        (module, name, "dcpcpp._hugging_face_storage", name)
        for name, own_module in {
            "HuggingFaceStorageReader": f"{_TORCH}.hf_storage",
            "QuantizedHuggingFaceStorageReader": f"{_TORCH}.quantized_hf_storage",
        }.items()
        for module in (_TORCH, own_module)
    ),
]


class TorchPatch:
    """What `patch_torch` swapped; `undo()` swaps it back. A context manager."""

    def __init__(self, *, allow_pickle: bool) -> None:
        self._originals: list[tuple[types.ModuleType, str, Any]] = []
        self._allow_pickle = allow_pickle
        self._allowed_before = False

    def apply(self) -> None:
        """Swap every name of the table."""
        self._allowed_before = allow_in_process(self._allow_pickle)
        replaced: dict[int, str] = {}
        # All imports come first: a class of torch that is made after the swap would
        # derive from ours.
        found = [entry for entry in map(_find, _TABLE) if entry is not None]
        for module, name, original, replacement in found:
            if original is replacement:
                continue
            self._originals.append((module, name, original))
            replaced[id(original)] = f"{module.__name__}.{name}"
            setattr(module, name, replacement)
        _warn_of_early_importers(replaced)

    def undo(self) -> None:
        """Put torch's own names back."""
        allow_in_process(self._allowed_before)
        for module, name, original in reversed(self._originals):
            setattr(module, name, original)
        self._originals.clear()

    def __enter__(self) -> TorchPatch:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.undo()


def patch_torch(*, allow_pickle: bool = False) -> TorchPatch:
    """Put dcpcpp behind torch.distributed.checkpoint, for code that cannot be edited.

    Call it before the trainer is imported: a module that did `from
    torch.distributed.checkpoint import save` earlier keeps torch's function, and a
    warning names it.

    Args:
        allow_pickle: load objects of any class, running what code the file names, as torch
            does, where `load` and `options` do not say.

    Returns:
        The patch. `with patch_torch(): ...` undoes it at the end; otherwise it stays
        until `.undo()`.

    Example:
        >>> dcpcpp.patch_torch()
        >>> import my_trainer
    """
    patch = TorchPatch(allow_pickle=allow_pickle)
    patch.apply()
    return patch


def _find(entry: tuple[str, str, str, str]) -> tuple[types.ModuleType, str, Any, Any] | None:
    """Module, name, torch's object and ours; None if they are not to be had."""
    torchs, name, ours, our_name = entry
    try:
        module = importlib.import_module(torchs)
        replacement = getattr(importlib.import_module(ours), our_name)
    except ModuleNotFoundError as error:
        if error.name is not None and error.name.partition(".")[0] in ("torch", "fsspec"):
            return None  # an older torch, or no fsspec
        raise
    original = getattr(module, name, None)
    return None if original is None else (module, name, original, replacement)


def _warn_of_early_importers(replaced: dict[int, str]) -> None:
    own = ("torch", "dcpcpp")
    for module_name, module in list(sys.modules.items()):
        if module is None or module_name.partition(".")[0] in own:
            continue
        namespace: dict[str, Callable[..., Any]] = getattr(module, "__dict__", {})
        for name, value in list(namespace.items()):
            original = replaced.get(id(value))
            if original is not None:
                warnings.warn(
                    f"{module_name}.{name} was imported before patch_torch() and stays torch's own "
                    f"{original}",
                    stacklevel=4,
                )
