"""A user's own planner or storage is called as torch calls it, with our I/O where it is ours."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed.checkpoint as stock
from torch.distributed.checkpoint import filesystem as torch_filesystem
from torch.distributed.checkpoint import state_dict_loader, state_dict_saver

import dcpcpp


def make_state() -> dict[str, Any]:
    torch.manual_seed(0)
    return {
        "model": {"w": torch.rand(300, 400), "b": torch.rand(7).to(torch.bfloat16)},
        "step": 7,
    }


def make_template() -> dict[str, Any]:
    return {
        "model": {"w": torch.zeros(300, 400), "b": torch.zeros(7, dtype=torch.bfloat16)},
        "step": 0,
    }


def assert_loaded(state: dict[str, Any]) -> None:
    expected = make_state()
    assert torch.equal(state["model"]["w"], expected["model"]["w"])
    assert torch.equal(state["model"]["b"], expected["model"]["b"])
    assert state["step"] == 7


def is_ours(directory: Path) -> bool:
    """Whether libdcp published the checkpoint: only it writes checksums."""
    return bool(list(directory.glob(".dcpcpp-*")))


@pytest.fixture
def protocol(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of torch's protocol functions, in the order they were called."""
    called: list[str] = []

    def note(module: Any, name: str) -> None:
        original = getattr(module, name)

        def wrapper(*args: Any, **kwargs: Any) -> Any:
            called.append(name)
            return original(*args, **kwargs)

        monkeypatch.setattr(module, name, wrapper)

    note(state_dict_saver, "_save_state_dict")
    note(state_dict_loader, "_load_state_dict")
    return called


def test_defaults_take_the_native_path(tmp_path: Path, protocol: list[str]) -> None:
    writers = [
        None,
        dcpcpp.FileSystemWriter(tmp_path / "c"),
        stock.FileSystemWriter(tmp_path / "c"),
    ]
    for writer in writers:
        for planner in (None, stock.DefaultSavePlanner()):
            dcpcpp.save(
                make_state(), checkpoint_id=tmp_path / "c", storage_writer=writer, planner=planner
            )
    readers = [
        None,
        dcpcpp.FileSystemReader(tmp_path / "c"),
        stock.FileSystemReader(tmp_path / "c"),
    ]
    for reader in readers:
        state = make_template()
        dcpcpp.load(
            state,
            checkpoint_id=tmp_path / "c",
            storage_reader=reader,
            planner=stock.DefaultLoadPlanner(),
        )
        assert_loaded(state)
    assert protocol == []
    assert is_ours(tmp_path / "c")


class RecordingSavePlanner(stock.DefaultSavePlanner):
    def __init__(self) -> None:
        super().__init__()
        self.calls: list[str] = []

    def set_up_planner(self, *args: Any, **kwargs: Any) -> None:
        self.calls.append("set_up_planner")
        super().set_up_planner(*args, **kwargs)

    def create_local_plan(self) -> Any:
        self.calls.append("create_local_plan")
        return super().create_local_plan()

    def create_global_plan(self, all_plans: Any) -> Any:
        self.calls.append("create_global_plan")
        return super().create_global_plan(all_plans)

    def finish_plan(self, new_plan: Any) -> Any:
        self.calls.append("finish_plan")
        return super().finish_plan(new_plan)

    def resolve_data(self, write_item: Any) -> Any:
        self.calls.append(f"resolve {write_item.index.fqn}")
        return super().resolve_data(write_item)

    def transform_object(self, write_item: Any, obj: Any) -> Any:
        # Doubles one tensor on its way out.
        return (
            obj * 2
            if write_item.index.fqn == "model.b"
            else super().transform_object(write_item, obj)
        )


def test_a_planner_of_the_users_own_is_asked_and_our_io_writes(
    tmp_path: Path, protocol: list[str]
) -> None:
    planner = RecordingSavePlanner()
    dcpcpp.save(make_state(), checkpoint_id=tmp_path / "c", planner=planner)
    assert protocol == ["_save_state_dict"]
    assert planner.calls[:4] == [
        "set_up_planner",
        "create_local_plan",
        "create_global_plan",
        "finish_plan",
    ]
    assert sorted(planner.calls[4:]) == ["resolve model.b", "resolve model.w", "resolve step"]
    assert is_ours(tmp_path / "c")
    state = make_template()
    stock.load(state, checkpoint_id=tmp_path / "c")
    state["model"]["b"] /= 2
    assert_loaded(state)


class RenamingLoadPlanner(stock.DefaultLoadPlanner):
    """Loads "renamed" from "step", and counts what is committed."""

    def __init__(self) -> None:
        super().__init__()
        self.committed: list[str] = []

    def load_bytes(self, read_item: Any, value: io.BytesIO) -> None:
        loaded = torch.load(value, weights_only=True)
        self.original_state_dict[read_item.dest_index.fqn] = loaded * 100

    def commit_tensor(self, read_item: Any, tensor: torch.Tensor) -> None:
        self.committed.append(read_item.dest_index.fqn)


def test_a_load_planner_of_the_users_own_is_asked(tmp_path: Path, protocol: list[str]) -> None:
    dcpcpp.save(make_state(), checkpoint_id=tmp_path / "c")
    planner = RenamingLoadPlanner()
    state = make_template()
    dcpcpp.load(state, checkpoint_id=tmp_path / "c", planner=planner)
    assert protocol == ["_load_state_dict"]
    assert sorted(planner.committed) == ["model.b", "model.w"]
    assert state["step"] == 700
    state["step"] = 7
    assert_loaded(state)


def test_a_method_set_on_a_default_planner_counts(tmp_path: Path, protocol: list[str]) -> None:
    planner = stock.DefaultSavePlanner()
    resolved: list[str] = []
    original = planner.resolve_data
    planner.resolve_data = lambda item: resolved.append(item.index.fqn) or original(item)  # type: ignore
    dcpcpp.save(make_state(), checkpoint_id=tmp_path / "c", planner=planner)
    assert sorted(resolved) == ["model.b", "model.w", "step"]
    assert protocol == ["_save_state_dict"]


class RecordingWriter(dcpcpp.FileSystemWriter):
    """A subclass of our writer that adds to the metadata, as trainers' do."""

    def finish(self, metadata: Any, results: Any) -> None:
        metadata.planner_data["extra"] = ("extra",)
        super().finish(metadata, results)


def test_a_subclass_of_our_writer_is_used_with_our_io(tmp_path: Path, protocol: list[str]) -> None:
    dcpcpp.save(make_state(), storage_writer=RecordingWriter(tmp_path / "c"))
    assert protocol == ["_save_state_dict"]
    assert is_ours(tmp_path / "c")
    assert "extra" in stock.FileSystemReader(tmp_path / "c").read_metadata().planner_data
    state = make_template()
    dcpcpp.load(state, checkpoint_id=tmp_path / "c")
    assert_loaded(state)


def test_a_method_set_on_our_writer_counts(tmp_path: Path, protocol: list[str]) -> None:
    for writer in (dcpcpp.FileSystemWriter(tmp_path / "a"), stock.FileSystemWriter(tmp_path / "b")):
        finished: list[Any] = []
        original = writer.finish

        def finish(
            metadata: Any, results: Any, original: Any = original, finished: Any = finished
        ) -> None:
            finished.append(metadata)
            original(metadata, results)

        writer.finish = finish  # type: ignore[method-assign]
        dcpcpp.save(make_state(), storage_writer=writer)
        assert len(finished) == 1
    assert protocol == ["_save_state_dict"] * 2


class MemoryWriter(stock.StorageWriter):
    """A storage of the user's own, without anything of ours or of torch's file system."""

    def __init__(self) -> None:
        self.items: dict[Any, bytes] = {}
        self.metadata: Any = None

    def reset(self, checkpoint_id: Any = None) -> None: ...

    def set_up_storage_writer(self, is_coordinator: bool) -> None: ...

    def prepare_local_plan(self, plan: Any) -> Any:
        return plan

    def prepare_global_plan(self, plans: Any) -> Any:
        return plans

    def write_data(self, plan: Any, planner: Any) -> Any:
        results = []
        for item in plan.items:
            data = planner.resolve_data(item)
            buffer = data if isinstance(data, io.BytesIO) else io.BytesIO()
            if isinstance(data, torch.Tensor):
                torch.save(data, buffer)
            self.items[item.index] = buffer.getvalue()
            results.append(stock.storage.WriteResult(item.index, len(buffer.getvalue()), None))
        future: torch.futures.Future[Any] = torch.futures.Future()
        future.set_result(results)
        return future

    def finish(self, metadata: Any, results: Any) -> None:
        self.metadata = metadata

    @classmethod
    def validate_checkpoint_id(cls, checkpoint_id: Any) -> bool:
        return True


class MemoryReader(stock.StorageReader):
    def __init__(self, writer: MemoryWriter) -> None:
        self._writer = writer

    def reset(self, checkpoint_id: Any = None) -> None: ...

    def read_metadata(self) -> Any:
        return self._writer.metadata

    def set_up_storage_reader(self, metadata: Any, is_coordinator: bool) -> None: ...

    def prepare_local_plan(self, plan: Any) -> Any:
        return plan

    def prepare_global_plan(self, plans: Any) -> Any:
        return plans

    def read_data(self, plan: Any, planner: Any) -> Any:
        for item in plan.items:
            data = self._writer.items[item.storage_index]
            if item.type == stock.planner.LoadItemType.BYTE_IO:
                planner.load_bytes(item, io.BytesIO(data))
                continue
            target = planner.resolve_tensor(item)
            target.copy_(torch.load(io.BytesIO(data)))
            planner.commit_tensor(item, target)
        future: torch.futures.Future[Any] = torch.futures.Future()
        future.set_result(None)
        return future

    @classmethod
    def validate_checkpoint_id(cls, checkpoint_id: Any) -> bool:
        return True


def test_a_storage_of_the_users_own_is_used(protocol: list[str]) -> None:
    writer = MemoryWriter()
    dcpcpp.save(make_state(), storage_writer=writer)
    state = make_template()
    dcpcpp.load(state, storage_reader=MemoryReader(writer))
    assert_loaded(state)
    assert protocol == ["_save_state_dict", "_load_state_dict"]
    with pytest.raises(
        ValueError, match="need dcpcpp's own planner and storage, not NoneType and M"
    ):
        dcpcpp.save(make_state(), storage_writer=writer, compression="zstd")
    with pytest.raises(ValueError, match="need dcpcpp's own planner and storage"):
        dcpcpp.load(state, storage_reader=MemoryReader(writer), include="model")


def test_errors_of_the_users_own_storage_are_ours_too() -> None:
    class Failing(MemoryWriter):
        def write_data(self, plan: Any, planner: Any) -> Any:
            raise LookupError("no room")

    with pytest.raises(dcpcpp.CheckpointException, match="no room") as info:
        dcpcpp.save(make_state(), storage_writer=Failing())
    assert isinstance(info.value, Exception)
    assert type(info.value.failures[0][0]) is LookupError


@pytest.mark.parametrize("options", [{}, {"thread_count": 3}, {"single_file_per_rank": False}])
def test_our_classes_work_inside_stock_torch(tmp_path: Path, options: dict[str, Any]) -> None:
    stock.save(make_state(), storage_writer=dcpcpp.FileSystemWriter(tmp_path / "c", **options))
    assert is_ours(tmp_path / "c")
    for reader in (stock.FileSystemReader(tmp_path / "c"), dcpcpp.FileSystemReader(tmp_path / "c")):
        state = make_template()
        stock.load(state, storage_reader=reader)
        assert_loaded(state)


class CountingFileSystem(torch_filesystem.FileSystem):
    """What a trainer sets as `fs`: torch's, with something of its own."""

    def __init__(self) -> None:
        self.opened: list[tuple[str, str]] = []

    @contextlib.contextmanager
    def create_stream(self, path: Any, mode: str) -> Iterator[Any]:
        self.opened.append((Path(path).name, mode))
        with super().create_stream(path, mode) as stream:
            yield stream


class BucketFileSystem(torch_filesystem.FileSystemBase):
    """What a trainer sets to reach an object store: it can neither list nor rename."""

    def __init__(self) -> None:
        self._files = CountingFileSystem()
        self.opened = self._files.opened
        for name in ("create_stream", "concat_path", "init_path", "mkdir", "exists", "rm_file"):
            setattr(self, name, getattr(self._files, name))

    def rename(self, path: Any, new_path: Any) -> None:
        raise AssertionError("object stores cannot rename")

    @classmethod
    def validate_checkpoint_id(cls, checkpoint_id: Any) -> bool:
        return True

    def _unused(self, *args: Any) -> Any:
        raise NotImplementedError

    create_stream = concat_path = init_path = mkdir = exists = rm_file = _unused  # in __init__


@pytest.mark.parametrize("kind", [CountingFileSystem, BucketFileSystem])
@pytest.mark.parametrize("saver", [dcpcpp, stock])
def test_a_file_system_that_was_set_gets_all_reads_and_writes(
    tmp_path: Path, protocol: list[str], kind: Any, saver: Any
) -> None:
    for number in range(2):
        writer = dcpcpp.FileSystemWriter(tmp_path / "c")
        writer.fs = fs = kind()
        saver.save(make_state(), storage_writer=writer)
        written = [name for name, mode in fs.opened if mode == "wb"]
        assert written[0] == f"__0_{number}.distcp"
        assert written[-1] == ".metadata" or kind is CountingFileSystem
    reader = dcpcpp.FileSystemReader(tmp_path / "c")
    reader.fs = fs = kind()
    state = make_template()
    saver.load(state, storage_reader=reader)
    assert_loaded(state)
    assert {name for name, _ in fs.opened} >= {".metadata", "__0_1.distcp"}
    assert len(protocol) >= 3
    assert_loaded_by_stock(tmp_path / "c")


def assert_loaded_by_stock(directory: Path) -> None:
    state = make_template()
    stock.load(state, checkpoint_id=directory)
    assert_loaded(state)


def test_torchs_writer_with_a_file_system_of_its_own_stays_torchs(tmp_path: Path) -> None:
    writer = stock.FileSystemWriter(tmp_path / "c")
    writer.fs = fs = CountingFileSystem()
    dcpcpp.save(make_state(), storage_writer=writer)
    assert ("__0_0.distcp", "wb") in fs.opened
    assert not is_ours(tmp_path / "c")
    assert_loaded_by_stock(tmp_path / "c")


def test_reset_gives_a_writer_another_place(tmp_path: Path) -> None:
    writer = dcpcpp.FileSystemWriter(tmp_path / "a")
    reader = dcpcpp.FileSystemReader(tmp_path / "a")
    for name in ("b", "c"):
        dcpcpp.save(make_state(), checkpoint_id=tmp_path / name, storage_writer=writer)
        state = make_template()
        dcpcpp.load(state, checkpoint_id=tmp_path / name, storage_reader=reader)
        assert_loaded(state)
    assert not (tmp_path / "a").exists()
    ids = {dcpcpp.open(tmp_path / name).metadata().storage_meta.save_id for name in ("b", "c")}
    assert len(ids) == 2
