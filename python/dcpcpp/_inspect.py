"""open and load_full: a checkpoint with no template and no process group."""

from __future__ import annotations

import functools
import os
from collections.abc import Iterable, Iterator
from typing import Any

import torch
from torch.distributed.checkpoint.metadata import Metadata
from torch.distributed.checkpoint.storage import StorageReader

from dcpcpp import _core, _metadata, _nested, _objects, _state_dict
from dcpcpp._claims import Claims
from dcpcpp._decoded import Box, empty_for, narrow, put
from dcpcpp._errand import place_of
from dcpcpp._indexing import Index, box_of
from dcpcpp._native_path import native_reader
from dcpcpp._native_reader import NativeReader
from dcpcpp._storage_setup import choose_reader
from dcpcpp._tensors import EntryMaker, dtype_of_code
from dcpcpp._text import is_unicode
from dcpcpp.errors import CheckpointCorruptedError

__all__ = ["Checkpoint", "load_full", "open"]


class Checkpoint:
    """The keys, shapes and values of a stored checkpoint. Made by `dcpcpp.open`.

    Example:
        >>> checkpoint = dcpcpp.open("/ckpt/step-7")
        >>> list(checkpoint.keys())
        ['model.weight', 'step']
        >>> rows = checkpoint.get("model.weight", (slice(0, 10),))
    """

    def __init__(self, core: _core.Checkpoint, reader: NativeReader, file: str) -> None:
        self._core = core
        self._file = file  # the metadata
        self._claims = Claims(core, reader, file)

    def keys(self) -> list[str]:
        """All flat keys, in their order."""
        return self._core.metadata.keys()

    def __contains__(self, key: object) -> bool:
        return isinstance(key, str) and self._find(key) is not None

    def __iter__(self) -> Iterator[str]:
        return iter(self.keys())

    def __len__(self) -> int:
        return len(self.keys())

    def is_tensor(self, key: str) -> bool:
        """Whether `key` is a tensor rather than an object."""
        return bool(self._describe(key)[0] == "tensor")

    def shape(self, key: str) -> torch.Size:
        """Global shape of a tensor."""
        return torch.Size(self._describe_tensor(key)[1])

    def dtype(self, key: str) -> torch.dtype:
        """Stored dtype of a tensor."""
        return dtype_of_code(self._describe_tensor(key)[2])

    def get(
        self,
        key: str,
        index: Index | tuple[Index, ...] | None = None,
        *,
        allow_pickle: bool | None = None,
    ) -> Any:
        """One tensor, a part of one, or one object.

        Args:
            key: flat key.
            index: of a tensor: an int or a slice with step 1, or a tuple of them for the
                leading dimensions; None for all. Of a checkpoint of dcpcpp's the MiB blocks
                of that part are read, of stock torch's the chunks, which are checked
                whole.
            allow_pickle: of an object, or a tensor of a class of its own: see `dcpcpp.load`.

        Raises:
            KeyError: no such key.
            CheckpointCorruptedError: the stored bytes are damaged.
        """
        if index is None or not self.is_tensor(key):
            return self.get_many([key], allow_pickle=allow_pickle)[key]
        index = index if isinstance(index, tuple) else (index,)
        return self._get_tensor(key, index, allow_pickle=allow_pickle)

    def __getitem__(self, key: str) -> Any:
        return self.get(key)

    def get_many(self, keys: Iterable[str], *, allow_pickle: bool | None = None) -> dict[str, Any]:
        """Several tensors and objects, read together."""
        names = list(keys)
        self._claims.require((key, None) for key in names if self.is_tensor(key))
        tensors: list[torch.Tensor | None] = []
        entries: list[tuple[Any, ...]] = []
        maker = EntryMaker()
        for key in names:
            if self.is_tensor(key):
                tensor = torch.empty(self.shape(key), dtype=self.dtype(key), device="cpu")
                tensors.append(tensor)
                entries.extend(maker.load_entries(key, tensor))
            else:
                tensors.append(None)
                entries.append((key,))
        values: dict[str, Any] = dict(zip(names, tensors, strict=True))
        result = self._core.read(_core.LoadEntries(entries))
        maker.finish_load()
        objects = _objects.drained(result["objects"])
        for position, data, destination_box, source_box in objects:
            key, tensor = names[position], tensors[position]
            value = _objects.decode(data, key, allow_pickle=allow_pickle)
            if tensor is not None:
                whole, part = values[key], narrow(value, *source_box)
                value = _joined(whole, destination_box, part, first=whole is tensor)
            values[key] = value
        return values

    def metadata(self) -> Metadata:
        """Torch's Metadata object."""
        return _metadata.from_core(self._core.metadata)

    def path(self, key: str) -> _state_dict.Path:
        """The key's path in the nested state dict."""
        return self._core.metadata.path(key) or (key,)

    def _get_tensor(
        self, key: str, index: tuple[Index, ...], *, allow_pickle: bool | None
    ) -> torch.Tensor:
        shape = self.shape(key)
        offsets, sizes, dropped = box_of(shape, index)
        self._claims.require([(key, (offsets, sizes))])
        tensor = torch.empty(sizes, dtype=self.dtype(key), device="cpu")
        maker = EntryMaker()
        view = maker.destination(key, tensor)
        entries = _core.LoadEntries([(key, *view, tuple(shape), offsets)])
        result = self._core.read(entries)
        maker.finish_load()
        whole = tensor
        for _, data, destination_box, source_box in _objects.drained(result["objects"]):
            value = _objects.decode(data, key, allow_pickle=allow_pickle)
            part = narrow(value, *source_box)
            whole = _joined(whole, destination_box, part, first=whole is tensor)
        for dim in reversed(dropped):
            whole = whole.squeeze(dim)
        return whole

    def _find(self, key: str) -> tuple[Any, ...] | None:
        found: tuple[Any, ...] | None = None
        if is_unicode(key):
            found = self._core.metadata.describe(key)
        return found

    def _describe(self, key: str) -> tuple[Any, ...]:
        found = self._find(key)
        if found is None:
            raise KeyError(f"no key {key!r} in the checkpoint")
        return found

    def _describe_tensor(self, key: str) -> tuple[Any, ...]:
        found = self._describe(key)
        if found[0] != "tensor":
            raise KeyError(f"{key!r} is an object, not a tensor")
        return found


def _joined(whole: torch.Tensor, box: Box, part: torch.Tensor, *, first: bool) -> torch.Tensor:
    """`whole` with `part` in its `box`; `part` itself, of whatever class, if that is all."""
    if part.size() == whole.size():
        return part
    if first and (part.is_quantized or type(part) is not torch.Tensor):
        whole = empty_for(whole.size(), part)
    put(whole, box, part)
    return whole


def open(
    checkpoint_id: str | os.PathLike[str] | None = None,
    *,
    storage_reader: StorageReader | None = None,
    rank: int | None = None,
    verify: bool = True,
    format: str | None = None,
) -> Checkpoint:
    """Open a checkpoint for reading, with no template and no process group.

    The data files stay open as long as the result lives, if they are at most 64: a save that
    replaces the checkpoint meanwhile changes nothing for it. Of more files, what it needs may
    be gone then (`FileNotFoundError`): open it again.

    Args:
        checkpoint_id: directory or URL.
        storage_reader: where to read, instead of `checkpoint_id` alone: dcpcpp's, or torch's
            `FileSystemReader`. For options, such as an `FsspecReader`'s.
        rank: open what this rank saved for itself, with `use_collectives=False`. It knows
            no other rank's shards.
        verify: check what is read against its checksum; safetensors files have none. (A
            `storage_reader` has an option of its own.)
        format: see `dcpcpp.load`.

    Raises:
        ValueError: libdcp does not read what `storage_reader` reads.
        FileNotFoundError: no checkpoint there, or one per rank and no `rank`.
        CheckpointCorruptedError: its metadata is damaged.
    """
    reader = native_reader(choose_reader(storage_reader, checkpoint_id, format))
    if reader is None:
        raise ValueError(f"open reads dcpcpp's own storages, not {type(storage_reader).__name__}")
    if storage_reader is None:
        reader.set_verify(verify)
    core = _core.Checkpoint(reader.make_core_reader(), rank)
    name = ".metadata" if rank is None else f"__{rank}.metadata"
    return Checkpoint(core, reader, f"{place_of(reader)}/{name}")


def load_full(
    checkpoint_id: str | os.PathLike[str] | None = None,
    keys: set[str] | str | None = None,
    *,
    storage_reader: StorageReader | None = None,
    rank: int | None = None,
    allow_pickle: bool | None = None,
    format: str | None = None,
) -> dict[str, Any]:
    """The state dict of a checkpoint, built from its metadata, on the CPU.

    Mirrors torch 2.13's private `_load_state_dict_from_keys`.

    Args:
        checkpoint_id: directory or URL.
        keys: flat keys or prefixes of them ("optim.state"); None for all.
        storage_reader: see `open`.
        rank: see `open`.
        allow_pickle: see `dcpcpp.load`.
        format: see `dcpcpp.load`.

    Returns:
        The nested state dict, as it was saved; of safetensors files, a flat one. A key that
        lies within another one's value ("a.b", where "a" is a tensor; a `rename` can make such
        keys) is a top-level key.

    Raises:
        FileNotFoundError: see `open`.
        CheckpointCorruptedError: stored bytes are damaged, or the metadata asks for what
            is not there: elements in no file, or lists far longer than they have items.

    A checkpoint that another save replaces meanwhile is read again, once.
    """
    opened = functools.partial(
        open, checkpoint_id, storage_reader=storage_reader, rank=rank, format=format
    )
    checkpoint = opened()
    try:
        return _state_of(checkpoint, keys, allow_pickle=allow_pickle)
    except (FileNotFoundError, CheckpointCorruptedError):
        # As in `load`: another save may have replaced it, and taken away what was not read yet.
        replacement = opened()
        if replacement.metadata() == checkpoint.metadata():
            raise
    return _state_of(replacement, keys, allow_pickle=allow_pickle)


def _state_of(
    checkpoint: Checkpoint, keys: set[str] | str | None, *, allow_pickle: bool | None
) -> dict[str, Any]:
    path_of = {key: checkpoint.path(key) for key in checkpoint}
    _nested.require_nested(path_of.items(), checkpoint._file)
    wanted = {keys} if isinstance(keys, str) else keys
    taken = [
        key
        for key in path_of
        if wanted is None or any(key == name or key.startswith(f"{name}.") for name in wanted)
    ]
    values = checkpoint.get_many(taken, allow_pickle=allow_pickle)
    paths = {path_of[key] for key in values}
    state: dict[str, Any] = {}
    apart: dict[str, Any] = {}
    for key, value in values.items():
        path = path_of[key]
        try:
            if any(path[:count] in paths for count in range(1, len(path))):
                raise ValueError(f"{path} lies within another value")
            _state_dict.set_element(state, path, value)
        except ValueError:
            apart[key] = value
    return {**state, **apart}
