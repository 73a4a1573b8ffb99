"""The writer of Hugging Face safetensors, under torch's name."""

from __future__ import annotations

import os
import re
import warnings
from collections.abc import Collection, Mapping
from typing import Any

import torch
from torch.distributed.checkpoint import filesystem as torch_filesystem
from torch.distributed.checkpoint.metadata import Metadata
from torch.distributed.checkpoint.planner import SavePlan, SavePlanner

from dcpcpp import _core
from dcpcpp._config import log_choices_once
from dcpcpp._io_options import MIB, core_file_system, make_io_options, set_io
from dcpcpp._model_mapping import ModelOptions
from dcpcpp._native_writer import NativeWriter
from dcpcpp._storage_errors import as_storage_error
from dcpcpp._tensors import code_of_dtype
from dcpcpp._text import is_url, path_text

try:
    from torch.distributed.checkpoint.hf_storage import (
        HuggingFaceStorageWriter as _TorchsWriter,
    )

    _HAS_WRITER = True
except ImportError:  # torch before 2.8 has none
    _TorchsWriter = torch_filesystem.FileSystemWriter  # type: ignore[misc, assignment]
    _HAS_WRITER = False

# What makes a directory a safetensors checkpoint; or it is files of ranks.
_PUBLISHED = tuple(
    stem + ending
    for stem in ("model", "diffusion_pytorch_model")
    for ending in (".safetensors.index.json", ".safetensors")
)
_OF_A_RANK = re.compile(r"shard-\d{5,}-model-\d{5,}-of-\d{5,}\.safetensors")

__all__ = ["HuggingFaceStorageWriter"]


class HuggingFaceStorageWriter(NativeWriter, _TorchsWriter):
    """Writes the final safetensors files of a model, in one pass, from all ranks.

    Mirrors `torch.distributed.checkpoint.HuggingFaceStorageWriter` (2.13). Unlike it, there
    is nothing to consolidate: whatever the sharding, every rank writes its bytes into the
    files that `transformers` and `safetensors` load, each byte once. What a rank holds in
    pieces too small to be written for themselves goes over a socket to the rank that writes
    that part of the file. An overwrite leaves the old or the new checkpoint at every moment,
    and files and names are durable when the save returns.

    The state dict holds tensors only. It is one file, `model.safetensors`, or several and
    an index, `model.safetensors.index.json`. All ranks must see the directory.

    With `save_distributed` and without `enable_consolidation`, as with torch, each rank
    writes what it holds into files of its own, for DCP's readers: the names and headers are
    torch's. They come all at once, too, by an exchange of directories. Where that cannot be
    done they get their names one after the other, ours alone can tell that some are missing,
    and an overwrite is an error (NotImplementedError).

    With `model` or `mapping` a trainer's tensors become Hugging Face's on the way, by the
    rules that `dcpcpp.convert` has: each rank's shards are read where they lie, whatever the
    sharding. Rules are for all keys: `include` and `exclude` of `dcpcpp.save` choose the
    model's, and `rename` takes a prefix off. Tied tensors are stored once only if a rule says
    so; config and tokenizer are not copied; saves in another process are not possible. The
    files of "flux" are called `diffusion_pytorch_model`, as diffusers has them.

    Args:
        path: directory of the checkpoint; created if absent. A URL is a NotImplementedError.
        fqn_to_index_mapping: number of the file of each tensor, by its name there, from 1;
            None: files are filled in the order of the state dict, up to `max_shard_size`.
        thread_count: accepted; I/O is parallel whatever it is.
        save_distributed: with torch it says whether ranks write at all; here they do.
        enable_consolidation: False with `save_distributed` asks for files of each rank's
            own; else they are whole whatever it is.
        thread_count_consolidation: accepted; see there.
        max_shard_size: bytes of tensors in one file, a number or a text such as "5GB"; not
            of files of ranks.
        export_dtype: store floating-point tensors in this dtype; the state in memory
            stays as it is.
        one_writer_per_file: for file systems to which several machines cannot write one
            file: each file is written by one rank.
        model: "llama3", for example: see `dcpcpp.convert`, also for what follows.
        mapping: a file with rules of your own.
        model_flavor: "8B", for example.
        hf_assets_path: a directory whose config.json has numbers that rules need.
        dialect: "0.2" for the names of TorchTitan 0.2; None: those that fit best.
        overwrite: replace a checkpoint that is there; otherwise a RuntimeError.
        sync_files: make files and names durable before the save returns.
        io_engine: "auto", "io_uring" or "threads".
        direct_io: bypass the page cache where the file system can.
        io_threads: threads that copy and checksum; 0 takes this rank's share of cores, in
            asynchronous saves one less, so that the training has one to itself.
        max_buffer_bytes: bound of the memory that a save adds, beside 64 MiB for what
            is sent.
        max_write_rate: see `FileSystemWriter`, also for what follows.
        io_nice: see there.
        io_cpus: see there.

    Example:
        >>> writer = dcpcpp.HuggingFaceStorageWriter("/models/mine", export_dtype=torch.bfloat16)
        >>> dcpcpp.save(model.state_dict(), storage_writer=writer)
        >>> writer = dcpcpp.HuggingFaceStorageWriter("/models/mine", model="llama3",
        ...                                          model_flavor="8B")
        >>> dcpcpp.save({"model": model.state_dict()}, storage_writer=writer,
        ...             include="model", rename={"model.": ""})
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        fqn_to_index_mapping: Mapping[str, int] | None = None,
        thread_count: int = 1,
        save_distributed: bool = False,
        enable_consolidation: bool = False,
        thread_count_consolidation: int = 1,
        *,
        max_shard_size: int | str = "5GB",
        export_dtype: torch.dtype | None = None,
        one_writer_per_file: bool = False,
        model: str | None = None,
        mapping: str | os.PathLike[str] | None = None,
        model_flavor: str | None = None,
        hf_assets_path: str | os.PathLike[str] | None = None,
        dialect: str | None = None,
        overwrite: bool = True,
        sync_files: bool = True,
        io_engine: str = "auto",
        direct_io: bool = True,
        io_threads: int = 0,
        max_buffer_bytes: int = 128 * MIB,
        max_write_rate: float | None = None,
        io_nice: int = 0,
        io_cpus: Collection[int] | None = None,
    ) -> None:
        _require_directory(path)
        super().__init__(path)  # type: ignore[arg-type]  # torch's takes more than it says
        self.fqn_to_index_mapping = (
            None if fqn_to_index_mapping is None else dict(fqn_to_index_mapping)
        )
        self.thread_count = thread_count
        self.save_distributed = save_distributed
        self.enable_consolidation = enable_consolidation
        self.thread_count_consolidation = thread_count_consolidation
        self.max_shard_nbytes = _core.parse_shard_nbytes(str(max_shard_size))
        self.one_writer_per_file = one_writer_per_file
        self._models = ModelOptions(model, False, mapping, model_flavor, hf_assets_path, dialect)
        self._maps = self._models.maps
        self.overwrite = overwrite
        self.sync_files = sync_files
        options = make_io_options(
            io_engine, direct_io, io_threads, max_buffer_bytes, max_write_rate, io_nice, io_cpus
        )
        self._init_native(None, export_dtype, None, options)

    def reset(self, checkpoint_id: str | os.PathLike[str] | None = None) -> None:
        """Write into another directory from now on."""
        if checkpoint_id is not None:
            _require_directory(checkpoint_id)
        super().reset(checkpoint_id)

    def make_core_writer(
        self,
        export_dtype: torch.dtype | None = None,
        compression: str | None = None,
        *,
        beside_training: bool = False,
    ) -> _core.StorageWriter:
        """Libdcp's writer with this one's options; the dtype given here comes first."""
        if compression is not None:
            raise ValueError("safetensors files are not compressed")
        log_choices_once(self._io_options.engine)
        options = _core.HuggingFaceWriterOptions()
        options.path = path_text(self.path)
        options.save_id = self.save_id
        options.file_numbers = self.fqn_to_index_mapping or {}
        options.max_shard_nbytes = self.max_shard_nbytes
        options.one_writer_per_file = self.one_writer_per_file
        options.file_per_rank = self.save_distributed and not self.enable_consolidation
        options.overwrite = self.overwrite
        options.sync_files = self.sync_files
        export_dtype = export_dtype or self._export_dtype
        if export_dtype is not None:
            options.export_dtype = code_of_dtype(export_dtype)
        set_io(options, self._io_options, beside_training=beside_training)
        file_system = core_file_system(self.fs, 0)
        if self._maps:
            rules = self._models.make_mapping(options.path)
            return _core.make_mapped_hugging_face_writer(options, rules, file_system)
        return _core.make_hugging_face_writer(options, file_system)

    def warn_if_exists(self, *, use_collectives: bool, stacklevel: int = 5) -> None:
        """Tell of a checkpoint that is about to be replaced."""
        if self.overwrite and self._has_checkpoint():
            warnings.warn(
                f"Detected an existing checkpoint in {self.path}, overwriting since "
                "self.overwrite=True.",
                stacklevel=stacklevel,
            )

    def _has_checkpoint(self) -> bool:
        with as_storage_error("exists", self.path):
            for name in _PUBLISHED:
                if self.fs.exists(self.fs.concat_path(self.path, name)):
                    return True
            # Torch before 2.8 lists nothing, and writes no files of ranks.
            if not _HAS_WRITER or not self.fs.exists(self.path):
                return False
            names = [os.path.basename(path) for path in self.fs.ls(self.path)]  # noqa: PTH119
        return any(_OF_A_RANK.fullmatch(name) for name in names)

    def prepare_local_plan(self, plan: SavePlan) -> SavePlan:
        """Refuse torch's protocol, whose ranks do not meet before they write."""
        raise _needs_our_save()

    def write_data(self, plan: SavePlan, planner: SavePlanner) -> Any:
        """Refuse: see prepare_local_plan."""
        raise _needs_our_save()

    def finish(self, metadata: Metadata, results: Any) -> None:
        """Refuse: see prepare_local_plan."""
        raise _needs_our_save()


def _require_directory(path: str | os.PathLike[str]) -> None:
    if is_url(path):
        raise NotImplementedError(
            "safetensors files are written by all ranks at once, each at its place in them, which "
            f"object stores cannot do: save into a directory instead of {path}, and copy that"
        )


def _needs_our_save() -> NotImplementedError:
    return NotImplementedError(
        "dcpcpp.HuggingFaceStorageWriter saves with dcpcpp.save and its default planner (or with "
        "torch's save after dcpcpp.patch_torch()), not under torch's own protocol"
    )


def ours_for(writer: Any) -> HuggingFaceStorageWriter | None:
    """Our equivalent of torch's own writer of safetensors; None for any other, and subclasses."""
    if not _HAS_WRITER or type(writer) is not _TorchsWriter:
        return None
    return HuggingFaceStorageWriter(
        writer.consolidated_output_path or writer.path,
        writer.fqn_to_index_mapping,
        writer.thread_count,
        writer.save_distributed,
        writer.enable_consolidation,
        writer.thread_count_consolidation,
    )
