"""A load that libdcp plans and carries out by itself."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch.distributed.checkpoint import default_planner

from dcpcpp import _core, _exceptions, _objects, _state_dict
from dcpcpp._decoded import narrow, put
from dcpcpp._errand import Errand, place_of
from dcpcpp._in_flight import loading
from dcpcpp._native_path import flatten, is_default, is_leaf_tensor, is_sharded, native_reader
from dcpcpp._report import LoadReport
from dcpcpp._selection import Selection
from dcpcpp._setup_failure import told_to_loaders
from dcpcpp._state_dict import FlatState
from dcpcpp._tensors import Entry, EntryMaker, dtype_of_code, is_tensor
from dcpcpp._transport import transport_for
from dcpcpp.errors import RankFailuresError

StateMaker = Callable[[], dict[str, Any]]


class LoadJob:
    """One load: decides who carries it out, and does if it is libdcp."""

    def __init__(
        self,
        reader: Any,
        planner: Any,
        selection: Selection,
        *,
        allow_pickle: bool | None = None,
        report: LoadReport | None = None,
    ) -> None:
        self._planner = planner
        self._load_report = report
        self._selection = selection
        self._allow_pickle = allow_pickle
        self._reader = native_reader(reader)
        self.is_native = self._reader is not None and is_default(
            planner, default_planner.DefaultLoadPlanner
        )
        if not self.is_native and not (selection.is_trivial and report is None):
            raise ValueError(
                "include, exclude, rename and report need dcpcpp's own planner and storage, not "
                f"{type(planner).__name__} and {type(reader).__name__}"
            )

    def load(
        self,
        make_state: StateMaker,
        process_group: Any,
        *,
        use_dist: bool,
        coordinator: int = 0,
    ) -> None:
        """Fill what `make_state` returns; its errors reach all ranks."""
        assert self._reader is not None
        template = _Template(make_state, self._planner, self._selection, self._allow_pickle)
        with told_to_loaders(process_group, use_dist=use_dist, coordinator=coordinator):
            reader = self._reader.make_core_reader()
            errand = Errand("load", place_of(self._reader))
        partial = getattr(self._planner, "allow_partial_load", False)
        with (
            loading(),
            transport_for(
                process_group, errand, use_dist=use_dist, coordinator=coordinator
            ) as transport,
        ):
            try:
                _core.load(template.make_entries, template.accept, reader, transport, partial)
            except RankFailuresError as error:
                _exceptions.raise_failures(error, transport.rank(), template.error)
        template.finish()
        self._reader.log_direct_io()
        _report(template.result, self._load_report)
        _mark_written(template.tensors)


class _Template:
    """The state dict to fill, and where each entry of libdcp's load goes in it."""

    def __init__(
        self, make_state: StateMaker, planner: Any, selection: Selection, allow_pickle: bool | None
    ) -> None:
        self._make_state = make_state
        self._planner = planner
        self._allow_pickle = allow_pickle
        self._selection = selection
        self._state: dict[str, Any] | None = None
        self._maker = EntryMaker()
        self._flat = FlatState()
        # No bound method: a cycle would keep the state after the load.
        self._is_of_v2_3 = False
        self._keys: list[str] = []  # of each entry
        self._keys_by_name: dict[str, str] = {}  # names in the checkpoint, where they differ
        self._tensors: list[Any] = []  # that each entry fills, None for objects
        self._objects: list[tuple[str, Any]] = []  # key and decoded value
        self.result: dict[str, Any] = {}
        self.error: BaseException | None = None

    def make_entries(self, metadata: _core.Metadata) -> _core.LoadEntries:
        """What libdcp is to load; called once the metadata is there.

        And again, with other metadata, if the checkpoint was replaced meanwhile.
        """
        with self._keeping_error():
            return _core.LoadEntries(self._make_entries(metadata))

    def accept(self, result: dict[str, Any]) -> None:
        """Do what may fail with what was read, before the ranks agree on the outcome."""
        with self._keeping_error():
            self._decode(result)

    @property
    def tensors(self) -> list[torch.Tensor]:
        """Those that were filled."""
        return [tensor for tensor in self._tensors if tensor is not None]

    def finish(self) -> None:
        """Put the objects into the state dict."""
        if any(key not in self._flat.leaves for key, _ in self._objects):
            assert self._state is not None  # an object was stored in place of a tensor
            state = self._state
            self._flat = self._flatten_v2_3(state) if self._is_of_v2_3 else self._flatten(state)
        for key, value in self._objects:
            self._flat.replace(key, value)

    @contextlib.contextmanager
    def _keeping_error(self) -> Iterator[None]:
        try:
            yield
        except BaseException as error:
            self.error = error
            raise

    def _make_entries(self, metadata: _core.Metadata) -> Iterator[Entry]:
        if self._state is None:
            self._state = self._make_state()
        self._maker = EntryMaker()
        self._keys, self._tensors, self._objects = [], [], []
        self._flat = self._flatten_for(self._state, set(metadata.keys()))
        for key, name in self._selection.names(self._flat.leaves, "loaded"):
            value = self._flat.leaves[key]
            if name != key:
                self._keys_by_name[name] = key
            if _is_meta(value):
                value = _with_memory(value)
                self._flat.replace(key, value)
            if is_tensor(value) or hasattr(value, "__create_chunk_list__") or is_sharded(value):
                made = list(self._maker.load_entries(name, value, metadata))
                self._tensors.extend(self._maker.destinations[-len(made) :] if made else [])
            else:
                made = [(name,)]
                self._tensors.append(None)
            yield from made
            self._keys.extend([key] * len(made))
        # Tensors are filled where they are; only objects will be replaced.
        filled = zip(self._keys, self._tensors, strict=True)
        self._flat = self._flat.only(key for key, tensor in filled if tensor is None)

    def _key_of(self, name: str) -> str:
        return self._keys_by_name.get(name, name)

    def _flatten(self, state: dict[str, Any]) -> FlatState:
        return flatten(state, self._planner)

    @staticmethod
    def _flatten_v2_3(state: dict[str, Any]) -> FlatState:
        return _state_dict.flatten_v2_3(state, is_leaf_tensor)

    def _flatten_for(self, state: dict[str, Any], stored: set[str]) -> FlatState:
        """By the rule that the checkpoint was saved by."""
        self._is_of_v2_3 = False
        flat = self._flatten(state)
        if not getattr(self._planner, "flatten_state_dict", True):
            return flat
        unexpected = stored - {self._selection.stored_name(key) for key in flat.leaves}
        if unexpected:
            # A checkpoint of torch 2.3 or older keeps dicts without tensors whole.
            old = self._flatten_v2_3(state)
            if unexpected & {self._selection.stored_name(key) for key in old.leaves}:
                self._is_of_v2_3 = True
                return old
        return flat

    def _decode(self, result: dict[str, Any]) -> None:
        self.result = result
        result["missing"] = [self._key_of(name) for name in result["missing"]]
        result["casts"] = [(self._key_of(name), *cast) for name, *cast in result["casts"]]
        self._maker.finish_load()
        objects = _objects.drained(result.pop("objects"))
        for position, data, destination_box, source_box in objects:
            key = self._keys[position]
            value = _objects.decode(data, key, allow_pickle=self._allow_pickle)
            if destination_box is None:
                self._objects.append((key, value))
            else:
                put(self._tensors[position], destination_box, narrow(value, *source_box))


def _is_meta(value: Any) -> bool:
    # A ShardedTensor of several local shards refuses to be asked.
    return is_tensor(value) and not is_sharded(value) and bool(value.is_meta)


def _with_memory(meta_tensor: Any) -> Any:
    """An empty tensor like `meta_tensor` on the process group's device, as torch makes it."""
    from torch.distributed.checkpoint.planner_helpers import _init_state_dict

    holder = {"tensor": meta_tensor}
    _init_state_dict(holder)
    return holder["tensor"]


def _report(result: dict[str, Any], report: LoadReport | None) -> None:
    casts = {
        key: (str(dtype_of_code(stored)), str(dtype_of_code(loaded)))
        for key, stored, loaded, _ in result["casts"]
    }
    lossy = [key for key, _, _, is_lossy in result["casts"] if is_lossy]
    if lossy:
        stored, loaded = casts[lossy[0]]
        warnings.warn(
            f"{len(lossy)} tensor(s) lose precision or range on loading, e.g. {lossy[0]}: stored "
            f"as {stored}, loaded as {loaded}",
            stacklevel=5,
        )
    if report is not None:
        report.missing[:] = result["missing"]
        report.unexpected[:] = result["unexpected"]
        report.cast.clear()
        report.cast.update(casts)
        report.nbytes_read = result["nbytes_read"]


def _mark_written(tensors: list[torch.Tensor]) -> None:
    """Tell autograd that `tensors` were written in place: what it saved of them is stale."""
    increment = getattr(torch.autograd.graph, "increment_version", None)
    if increment is not None:  # torch >= 2.1
        for tensor in tensors:
            if not tensor.is_inference():
                increment(tensor)
