"""A user's own storage, or file system in ours, is called as torch calls it."""

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
from torch.distributed.checkpoint._extension import ExtensionRegistry, StreamTransformExtension

import dcpcpp
from support import protocol as support
from support.memory_storage import MemoryReader, MemoryWriter
from support.protocol import assert_loaded, is_ours, make_state, make_template

protocol = support.protocol


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


class Negating(StreamTransformExtension):
    """Bytes with all bits turned round."""

    @staticmethod
    def from_descriptor(version: str) -> Negating:
        return Negating()

    @staticmethod
    def registry_name() -> str:
        return "stream.negating"

    def get_descriptor(self) -> str:
        return "stream.negating/1"

    def transform_to(self, output: Any) -> Any:
        class Writer(io.RawIOBase):
            def writable(self) -> bool:
                return True

            def write(self, data: Any) -> int:
                output.write(bytes(255 - byte for byte in bytes(data)))
                return len(data)

        return Writer()

    def transform_from(self, input: Any) -> Any:
        return io.BytesIO(bytes(255 - byte for byte in input.read()))


def test_stream_extensions_of_the_users_own_go_through_torch(tmp_path: Path) -> None:
    registry = ExtensionRegistry()
    registry.register(Negating)
    state = {"w": torch.arange(3.0)}
    writer = torch_filesystem.FileSystemWriter(tmp_path, _extensions=[Negating()])
    dcpcpp.save(state, storage_writer=writer)
    loaded = {"w": torch.zeros(3)}
    reader = torch_filesystem.FileSystemReader(tmp_path, _extension_registry=registry)
    dcpcpp.load(loaded, storage_reader=reader)
    assert torch.equal(loaded["w"], state["w"])
    with pytest.raises(NotImplementedError, match="pass torch's FileSystemReader"):
        dcpcpp.FileSystemReader(tmp_path, _extension_registry=registry)
