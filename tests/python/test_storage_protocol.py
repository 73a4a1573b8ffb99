"""What torch's protocol tells a storage of the user's own, and what our classes have of torch's."""

from __future__ import annotations

import contextlib
import importlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed.checkpoint as stock
from torch.distributed.checkpoint import filesystem as torch_filesystem

import dcpcpp
from support import protocol as support
from support.memory_storage import MemoryReader, MemoryWriter
from support.protocol import assert_loaded, make_state, make_template
from support.ranks import run_on_ranks
from support.states import blank, require_equal

protocol = support.protocol


class ToldWriter(MemoryWriter):
    """Its `kwargs` have the rank, and whether there are collectives; see torch's `inspect`."""

    def set_up_storage_writer(self, is_coordinator: bool, *args: Any, **kwargs: Any) -> None:
        assert is_coordinator
        assert args == ()
        self.told = kwargs


class UntoldWriter(MemoryWriter):
    """Takes more than the protocol asks for, by another name than `kwargs`: it is told nothing."""

    def set_up_storage_writer(self, is_coordinator: bool, **others: Any) -> None:
        self.told = others


@pytest.mark.parametrize("together", [True, False])
def test_a_writer_is_told_the_rank_and_the_mode_if_it_takes_kwargs(together: bool) -> None:
    for library in (stock, dcpcpp):
        for kind, told in (
            (ToldWriter, {"rank": 0, "use_collectives": together}),
            (UntoldWriter, {}),
        ):
            writer = kind()
            library.save(make_state(), storage_writer=writer, use_collectives=together)
            assert writer.told == told, (library, kind)
            assert len(writer.items) == 3


class OfRankReader(MemoryReader):
    """There is metadata of single ranks only."""

    def read_metadata(self, *args: Any, **kwargs: Any) -> Any:
        if "rank" not in kwargs:
            raise FileNotFoundError("no metadata of all ranks")
        self.asked = kwargs
        return super().read_metadata()

    def set_up_storage_reader(
        self, metadata: Any, is_coordinator: bool, *args: Any, **kwargs: Any
    ) -> None:
        self.told = kwargs


def test_a_reader_is_asked_for_this_ranks_metadata_if_it_takes_kwargs() -> None:
    writer = MemoryWriter()
    dcpcpp.save(make_state(), storage_writer=writer, use_collectives=False)
    for library in (stock, dcpcpp):
        reader = OfRankReader(writer)
        state = make_template()
        library.load(state, storage_reader=reader)
        assert_loaded(state)
        assert reader.asked == {"rank": 0}
        assert reader.told == {"rank": 0, "use_collectives": False}


class Placed(MemoryWriter):
    def __init__(self) -> None:
        super().__init__()
        self.places: list[Any] = []

    def reset(self, checkpoint_id: Any = None) -> None:
        self.places.append(checkpoint_id)


def test_a_writer_with_a_checkpoint_id_is_reset_to_it(tmp_path: Path) -> None:
    for library in (stock, dcpcpp):
        writer = Placed()
        library.save(make_state(), storage_writer=writer, checkpoint_id=tmp_path / "1")
        library.save(make_state(), storage_writer=writer)
        assert writer.places == [tmp_path / "1"]


class LookingReader(dcpcpp.FileSystemReader):
    """A user's subclass that finds items by torch's attributes."""

    def prepare_local_plan(self, plan: Any) -> Any:
        self.places = {
            item.storage_index.fqn: self.storage_data[item.storage_index].relative_path
            for item in plan.items
        }
        return super().prepare_local_plan(plan)


@pytest.mark.parametrize("library", [dcpcpp, stock], ids=["ours", "torch's"])
def test_a_subclass_of_our_reader_has_torchs_attributes(library: Any, tmp_path: Path) -> None:
    for name in ("1", "2"):
        dcpcpp.save(make_state(), checkpoint_id=tmp_path / name)
    reader = LookingReader(tmp_path / "1")
    ids = [reader.load_id]
    assert reader.storage_data == {}
    for name in ("1", "2"):
        state = make_template()
        library.load(state, storage_reader=reader, checkpoint_id=tmp_path / name)
        assert_loaded(state)
        assert reader.places == dict.fromkeys(["model.w", "model.b", "step"], "__0_0.distcp")
        assert reader.path == reader.checkpoint_id == tmp_path / name
        assert type(reader.fs) is torch_filesystem.FileSystem
        ids.append(reader.load_id)
    assert len(set(ids)) == 3, "each reset is another load"
    assert dcpcpp.FileSystemReader.validate_checkpoint_id(str(tmp_path))


def load_a_torch_file(path: str) -> None:
    """By torch's own storage, which reads on one rank and broadcasts."""
    from torch.distributed.checkpoint import format_utils

    for library in (stock, dcpcpp):
        state = blank(make_state()["model"])
        library.load(
            {"model": state},
            checkpoint_id=path,
            storage_reader=format_utils.BroadcastingTorchSaveReader(),
            planner=format_utils.DynamicMetaLoadPlanner(),
        )
        require_equal(state, make_state()["model"])


def test_torchs_own_reader_of_torch_files_works(tmp_path: Path) -> None:
    torch.save({"model": make_state()["model"]}, tmp_path / "model.pt")
    run_on_ranks(2, load_a_torch_file, str(tmp_path / "model.pt"))


class CountingFileSystem(torch_filesystem.FileSystem):
    def __init__(self) -> None:
        self.opened: set[str] = set()

    @contextlib.contextmanager
    def create_stream(self, path: Any, mode: str) -> Iterator[Any]:
        self.opened.add(Path(path).name)
        with super().create_stream(path, mode) as stream:
            yield stream


def test_torchs_reader_with_a_file_system_of_its_own_stays_torchs(
    tmp_path: Path, protocol: list[str]
) -> None:
    dcpcpp.save(make_state(), checkpoint_id=tmp_path)
    reader = stock.FileSystemReader(tmp_path)
    reader.fs = fs = CountingFileSystem()
    state = make_template()
    dcpcpp.load(state, storage_reader=reader)
    assert_loaded(state)
    assert fs.opened == {".metadata", "__0_0.distcp"}
    assert protocol == ["_load_state_dict"]


def test_a_method_set_on_a_reader_counts(tmp_path: Path, protocol: list[str]) -> None:
    dcpcpp.save(make_state(), checkpoint_id=tmp_path)
    for reader in (dcpcpp.FileSystemReader(tmp_path), stock.FileSystemReader(tmp_path)):
        plans: list[Any] = []
        original = reader.prepare_local_plan
        reader.prepare_local_plan = lambda plan, original=original, plans=plans: (  # type: ignore[method-assign]
            plans.append(plan) or original(plan)
        )
        state = make_template()
        dcpcpp.load(state, storage_reader=reader)
        assert_loaded(state)
        assert len(plans[0].items) == 3
    assert protocol == ["_load_state_dict"] * 2


# What trainers import from torch's submodules beside the classes.
FUNCTIONS = {
    "default_planner": "_create_default_local_metadata _validate_global_plan dedup_save_plans "
    "_EmptyStateDictLoadPlanner",
    "planner_helpers": "create_read_items_for_chunk_list _create_write_items _create_read_items",
    "format_utils": "BroadcastingTorchSaveReader DynamicMetaLoadPlanner",
    "state_dict_loader": "_load_state_dict_from_keys",
    "staging": "BlockingAsyncStager DefaultStager StagingOptions AsyncStager",
    "filesystem": "_StorageInfo _StoragePrefix",
}


@pytest.mark.parametrize(
    ("module", "name"),
    [(module, name) for module, names in FUNCTIONS.items() for name in names.split()],
)
def test_what_torchs_submodules_have_is_there_under_our_name(module: str, name: str) -> None:
    torchs = importlib.import_module(f"{stock.__name__}.{module}")
    assert getattr(getattr(dcpcpp, module), name) is getattr(torchs, name)
