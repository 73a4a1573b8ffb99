"""dcpcpp: torch.distributed.checkpoint's calls and files, safe, at the disk's speed.

    import dcpcpp as dcp

    dcp.save({"model": model, "optim": optim}, checkpoint_id="/ckpt/step-100")
    dcp.load({"model": model, "optim": optim}, checkpoint_id="/ckpt/step-100")

Names are those of `torch.distributed.checkpoint`. Its dataclasses, enums and planners
are re-exported, the same objects; torch is imported when one of them, or a function
that needs torch, is first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from dcpcpp._config import get_cmake_dir, get_include, show_config
from dcpcpp._plugins import load_plugin
from dcpcpp._report import LoadReport
from dcpcpp._save_queue import flush
from dcpcpp._staged import Fence, fence
from dcpcpp._stalls import StallReport, stall_report, step
from dcpcpp._stats import SaveStats
from dcpcpp._torch_modules import TORCH_MODULES
from dcpcpp._trust import options
from dcpcpp.errors import (
    CheckpointBusyError,
    CheckpointCorruptedError,
    CheckpointError,
    StorageError,
)

__version__ = "0.1.0"

if TYPE_CHECKING:
    from torch.distributed.checkpoint.default_planner import (
        DefaultLoadPlanner as DefaultLoadPlanner,
    )
    from torch.distributed.checkpoint.default_planner import (
        DefaultSavePlanner as DefaultSavePlanner,
    )
    from torch.distributed.checkpoint.default_planner import (
        create_default_global_load_plan as create_default_global_load_plan,
    )
    from torch.distributed.checkpoint.default_planner import (
        create_default_global_save_plan as create_default_global_save_plan,
    )
    from torch.distributed.checkpoint.default_planner import (
        create_default_local_load_plan as create_default_local_load_plan,
    )
    from torch.distributed.checkpoint.default_planner import (
        create_default_local_save_plan as create_default_local_save_plan,
    )
    from torch.distributed.checkpoint.filesystem import FileSystem as FileSystem
    from torch.distributed.checkpoint.filesystem import FileSystemBase as FileSystemBase
    from torch.distributed.checkpoint.metadata import BytesStorageMetadata as BytesStorageMetadata
    from torch.distributed.checkpoint.metadata import ChunkStorageMetadata as ChunkStorageMetadata
    from torch.distributed.checkpoint.metadata import Metadata as Metadata
    from torch.distributed.checkpoint.metadata import MetadataIndex as MetadataIndex
    from torch.distributed.checkpoint.metadata import StorageMeta as StorageMeta
    from torch.distributed.checkpoint.metadata import TensorProperties as TensorProperties
    from torch.distributed.checkpoint.metadata import (
        TensorStorageMetadata as TensorStorageMetadata,
    )
    from torch.distributed.checkpoint.optimizer import (
        load_sharded_optimizer_state_dict as load_sharded_optimizer_state_dict,
    )
    from torch.distributed.checkpoint.planner import LoadItemType as LoadItemType
    from torch.distributed.checkpoint.planner import LoadPlan as LoadPlan
    from torch.distributed.checkpoint.planner import LoadPlanner as LoadPlanner
    from torch.distributed.checkpoint.planner import ReadItem as ReadItem
    from torch.distributed.checkpoint.planner import SavePlan as SavePlan
    from torch.distributed.checkpoint.planner import SavePlanner as SavePlanner
    from torch.distributed.checkpoint.planner import TensorWriteData as TensorWriteData
    from torch.distributed.checkpoint.planner import WriteItem as WriteItem
    from torch.distributed.checkpoint.planner import WriteItemType as WriteItemType
    from torch.distributed.checkpoint.staging import AsyncStager as AsyncStager
    from torch.distributed.checkpoint.staging import BlockingAsyncStager as BlockingAsyncStager
    from torch.distributed.checkpoint.staging import StagingOptions as StagingOptions
    from torch.distributed.checkpoint.state_dict_saver import (
        AsyncCheckpointerType as AsyncCheckpointerType,
    )
    from torch.distributed.checkpoint.state_dict_saver import AsyncSaveResponse as AsyncSaveResponse
    from torch.distributed.checkpoint.stateful import Stateful as Stateful
    from torch.distributed.checkpoint.storage import StorageReader as StorageReader
    from torch.distributed.checkpoint.storage import StorageWriter as StorageWriter
    from torch.distributed.checkpoint.storage import WriteResult as WriteResult

    from dcpcpp._async_save import AsyncSaveHandle as AsyncSaveHandle
    from dcpcpp._async_save import async_save as async_save
    from dcpcpp._clean import clean as clean
    from dcpcpp._convert import ConvertReport as ConvertReport
    from dcpcpp._convert import convert as convert
    from dcpcpp._default_stager import DefaultStager as DefaultStager
    from dcpcpp._exceptions import CheckpointException as CheckpointException
    from dcpcpp._filesystem_storage import FileSystemReader as FileSystemReader
    from dcpcpp._filesystem_storage import FileSystemWriter as FileSystemWriter
    from dcpcpp._fsspec_storage import FsspecReader as FsspecReader
    from dcpcpp._fsspec_storage import FsspecWriter as FsspecWriter
    from dcpcpp._hugging_face_storage import HuggingFaceStorageReader as HuggingFaceStorageReader
    from dcpcpp._hugging_face_storage import (
        QuantizedHuggingFaceStorageReader as QuantizedHuggingFaceStorageReader,
    )
    from dcpcpp._hugging_face_writer import HuggingFaceStorageWriter as HuggingFaceStorageWriter
    from dcpcpp._inspect import Checkpoint as Checkpoint
    from dcpcpp._inspect import load_full as load_full
    from dcpcpp._inspect import open as open
    from dcpcpp._manager import CheckpointManager as CheckpointManager
    from dcpcpp._manager_config import CheckpointConfig as CheckpointConfig
    from dcpcpp._manager_log import CheckpointEvent as CheckpointEvent
    from dcpcpp._manager_per_rank import RandomState as RandomState
    from dcpcpp._plugin_storage import PluginReader as PluginReader
    from dcpcpp._plugin_storage import PluginWriter as PluginWriter
    from dcpcpp._preemption import Preemption as Preemption
    from dcpcpp._prewarm import prewarm as prewarm
    from dcpcpp._save_load import load as load
    from dcpcpp._save_load import load_state_dict as load_state_dict
    from dcpcpp._save_load import save as save
    from dcpcpp._save_load import save_state_dict as save_state_dict
    from dcpcpp._verify import Damage as Damage
    from dcpcpp._verify import VerifyReport as VerifyReport
    from dcpcpp._verify import latest as latest
    from dcpcpp._verify import verify as verify
    from dcpcpp.patch import patch_torch as patch_torch

_TORCH = "torch.distributed.checkpoint"

# Where each lazily imported name lives.
_LAZY = {
    "AsyncSaveHandle": "dcpcpp._async_save",
    "Checkpoint": "dcpcpp._inspect",
    "CheckpointConfig": "dcpcpp._manager_config",
    "CheckpointEvent": "dcpcpp._manager_log",
    "CheckpointException": "dcpcpp._exceptions",
    "CheckpointManager": "dcpcpp._manager",
    "ConvertReport": "dcpcpp._convert",
    "async_save": "dcpcpp._async_save",
    "clean": "dcpcpp._clean",
    "convert": "dcpcpp._convert",
    "Damage": "dcpcpp._verify",
    "DefaultStager": "dcpcpp._default_stager",
    "FileSystemReader": "dcpcpp._filesystem_storage",
    "FileSystemWriter": "dcpcpp._filesystem_storage",
    "FsspecReader": "dcpcpp._fsspec_storage",
    "FsspecWriter": "dcpcpp._fsspec_storage",
    "HuggingFaceStorageReader": "dcpcpp._hugging_face_storage",
    "HuggingFaceStorageWriter": "dcpcpp._hugging_face_writer",
    "QuantizedHuggingFaceStorageReader": "dcpcpp._hugging_face_storage",
    "Preemption": "dcpcpp._preemption",
    "RandomState": "dcpcpp._manager_per_rank",
    "PluginReader": "dcpcpp._plugin_storage",
    "PluginWriter": "dcpcpp._plugin_storage",
    "VerifyReport": "dcpcpp._verify",
    "latest": "dcpcpp._verify",
    "load": "dcpcpp._save_load",
    "load_full": "dcpcpp._inspect",
    "load_state_dict": "dcpcpp._save_load",
    "open": "dcpcpp._inspect",
    "patch_torch": "dcpcpp.patch",
    "prewarm": "dcpcpp._prewarm",
    "save": "dcpcpp._save_load",
    "save_state_dict": "dcpcpp._save_load",
    "verify": "dcpcpp._verify",
    "DefaultLoadPlanner": f"{_TORCH}.default_planner",
    "DefaultSavePlanner": f"{_TORCH}.default_planner",
    "create_default_global_load_plan": f"{_TORCH}.default_planner",
    "create_default_global_save_plan": f"{_TORCH}.default_planner",
    "create_default_local_load_plan": f"{_TORCH}.default_planner",
    "create_default_local_save_plan": f"{_TORCH}.default_planner",
    "FileSystem": f"{_TORCH}.filesystem",
    "FileSystemBase": f"{_TORCH}.filesystem",
    "SerializationFormat": f"{_TORCH}.filesystem",
    "BytesStorageMetadata": f"{_TORCH}.metadata",
    "ChunkStorageMetadata": f"{_TORCH}.metadata",
    "Metadata": f"{_TORCH}.metadata",
    "MetadataIndex": f"{_TORCH}.metadata",
    "StorageMeta": f"{_TORCH}.metadata",
    "TensorProperties": f"{_TORCH}.metadata",
    "TensorStorageMetadata": f"{_TORCH}.metadata",
    "AsyncStager": f"{_TORCH}.staging",
    "BlockingAsyncStager": f"{_TORCH}.staging",
    "StagingOptions": "dcpcpp._torch_async",
    "AsyncCheckpointerType": "dcpcpp._torch_async",
    "AsyncSaveResponse": "dcpcpp._torch_async",
    "LoadItemType": f"{_TORCH}.planner",
    "LoadPlan": f"{_TORCH}.planner",
    "LoadPlanner": f"{_TORCH}.planner",
    "ReadItem": f"{_TORCH}.planner",
    "SavePlan": f"{_TORCH}.planner",
    "SavePlanner": f"{_TORCH}.planner",
    "TensorWriteData": f"{_TORCH}.planner",
    "WriteItem": f"{_TORCH}.planner",
    "WriteItemType": f"{_TORCH}.planner",
    "Stateful": f"{_TORCH}.stateful",
    "StorageReader": f"{_TORCH}.storage",
    "StorageWriter": f"{_TORCH}.storage",
    "WriteResult": f"{_TORCH}.storage",
    "load_sharded_optimizer_state_dict": f"{_TORCH}.optimizer",
    "ExtensionRegistry": f"{_TORCH}._extension",
    "StreamTransformExtension": f"{_TORCH}._extension",
    "ZStandard": f"{_TORCH}._extension",
}

__all__ = [  # ours, then what is lazy
    "CheckpointBusyError",
    "CheckpointCorruptedError",
    "CheckpointError",
    "LoadReport",
    "SaveStats",
    "StorageError",
    "Fence",
    "StallReport",
    "fence",
    "flush",
    "get_cmake_dir",
    "get_include",
    "load_plugin",
    "options",
    "show_config",
    "stall_report",
    "step",
    *_LAZY,
]


def __getattr__(name: str) -> Any:
    if name not in _LAZY and name not in TORCH_MODULES:
        raise AttributeError(f"module 'dcpcpp' has no attribute {name!r}")
    try:
        if name in TORCH_MODULES:
            value = importlib.import_module(f"dcpcpp.{name}")
        else:
            value = getattr(importlib.import_module(_LAZY[name]), name)
    except (AttributeError, ModuleNotFoundError) as error:
        source = f"{_LAZY[name]}.{name}" if name in _LAZY else f"{_TORCH}.{name}"
        raise AttributeError(
            f"dcpcpp.{name} is torch's {source}, which the installed torch lacks ({error})"
        ) from error
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_LAZY, *TORCH_MODULES})
