"""Storages of third parties, written in C++ and used from Python."""

from __future__ import annotations

import pathlib
import uuid
from typing import Any

import pytest
import torch
from torch.distributed.checkpoint import state_dict_loader, state_dict_saver
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.tensor import DTensor, Shard

import dcpcpp
from support import cpp_build
from support.ranks import run_on_ranks


@pytest.fixture(scope="module")
def plugin(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """examples/cpp's plug-in, built with the package's own libdcp, and loaded."""
    built = cpp_build.build_examples(
        tmp_path_factory.mktemp("plugin"),
        [f"-Ddcp_DIR={dcpcpp.get_cmake_dir()}"],
        "dcp_example_plugin",
    )
    library = built / "libdcp_example_plugin.so"
    assert dcpcpp.load_plugin(library) == ["archive", "mem"]
    return library


@pytest.fixture(params=["archive", "mem"])
def url(request: pytest.FixtureRequest, plugin: pathlib.Path, tmp_path: pathlib.Path) -> str:
    """Where there is no checkpoint yet, once in each storage of the plug-in."""
    if request.param == "archive":
        return f"archive://{tmp_path}/x.dcpar"
    return f"mem://{uuid.uuid4().hex}/deep"


def _state(offset: float = 0.0) -> dict[str, Any]:
    return {
        "model": {
            "weight": torch.arange(12.0).reshape(3, 4) + offset,
            "half": torch.arange(6, dtype=torch.bfloat16).reshape(2, 3).t(),
            "scalar": torch.tensor(3 + offset),
            "empty": torch.zeros(0, 4),
        },
        "step": 7,
        "betas": (0.9, 0.999),
    }


def _empty() -> dict[str, Any]:
    state = _state()
    state["model"] = {key: torch.zeros_like(value) for key, value in state["model"].items()}
    return {**state, "step": 0, "betas": None}


def _check(loaded: dict[str, Any], expected: dict[str, Any]) -> None:
    for key, value in expected["model"].items():
        assert torch.equal(loaded["model"][key], value), key
    assert loaded["step"] == expected["step"]
    assert loaded["betas"] == expected["betas"]


def test_a_plugin_is_loaded_once(plugin: pathlib.Path) -> None:
    assert dcpcpp.load_plugin(str(plugin)) == ["archive", "mem"]


def test_a_plugin_that_is_none_is_refused(tmp_path: pathlib.Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"no_such\.so"):
        dcpcpp.load_plugin(tmp_path / "no_such.so")
    with pytest.raises(ValueError, match="is not a plug-in of dcp"):
        dcpcpp.load_plugin("libm.so.6")


def test_save_and_load_take_a_plugins_url(url: str) -> None:
    for offset in (0.0, 100.0):  # the second replaces the first
        metadata = dcpcpp.save(_state(offset), checkpoint_id=url)
        assert metadata.storage_meta.checkpoint_id == url
        loaded = _empty()
        dcpcpp.load(loaded, checkpoint_id=url)
        _check(loaded, _state(offset))


def test_open_and_load_full_take_a_plugins_url(url: str) -> None:
    dcpcpp.save(_state(), checkpoint_id=url)
    checkpoint = dcpcpp.open(url)
    assert sorted(key for key in checkpoint if checkpoint.is_tensor(key)) == [
        "model.empty",
        "model.half",
        "model.scalar",
        "model.weight",
    ]
    rows = checkpoint.get("model.weight", (slice(1, 3), slice(0, 2)))
    assert torch.equal(rows, torch.tensor([[4.0, 5.0], [8.0, 9.0]]))
    _check(dcpcpp.load_full(url), _state())


def test_a_plugin_stores_an_export_dtype(url: str) -> None:
    dcpcpp.save(_state(), checkpoint_id=url, export_dtype=torch.bfloat16)
    assert dcpcpp.open(url).dtype("model.weight") is torch.bfloat16
    loaded = _empty()
    dcpcpp.load(loaded, checkpoint_id=url)
    _check(loaded, _state())


def test_an_archive_is_one_file(plugin: pathlib.Path, tmp_path: pathlib.Path) -> None:
    dcpcpp.save(_state(), checkpoint_id=f"archive://{tmp_path}/x.dcpar")
    assert [path.name for path in tmp_path.iterdir()] == ["x.dcpar"]


def test_a_plugin_refuses_what_it_cannot_do(plugin: pathlib.Path, tmp_path: pathlib.Path) -> None:
    with pytest.raises(NotImplementedError, match="archives are not compressed"):
        dcpcpp.save(_state(), checkpoint_id=f"archive://{tmp_path}/x", compression="zstd")
    assert list(tmp_path.iterdir()) == []


def test_a_plugins_writer_keeps_what_is_there_if_told_so(url: str) -> None:
    dcpcpp.save(_state(), checkpoint_id=url)
    writer = dcpcpp.PluginWriter(url, overwrite=False)
    with pytest.raises(dcpcpp.CheckpointException, match="overwrite"):
        dcpcpp.save(_state(1.0), storage_writer=writer)
    _check(dcpcpp.load_full(url), _state())


def test_no_checkpoint_in_a_plugins_storage_is_a_missing_file(url: str) -> None:
    with pytest.raises(dcpcpp.CheckpointException) as caught:
        dcpcpp.load(_empty(), checkpoint_id=url)
    assert isinstance(caught.value.failures[0][0], FileNotFoundError)


def test_damage_in_a_plugins_storage_is_told_by_tensor(
    plugin: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    path = tmp_path / "x.dcpar"
    dcpcpp.save({"weight": torch.ones(5)}, checkpoint_id=f"archive://{path}")
    data = bytearray(path.read_bytes())
    data[64] ^= 1
    path.write_bytes(data)
    with pytest.raises(dcpcpp.CheckpointCorruptedError, match="differ from their checksum") as e:
        dcpcpp.load({"weight": torch.zeros(5)}, checkpoint_id=f"archive://{path}")
    assert (e.value.path, e.value.byte_offset, e.value.key) == (str(path), 64, "weight")


def test_stock_torch_reads_through_a_plugin(url: str) -> None:
    dcpcpp.save(_state(), checkpoint_id=url)
    loaded = _empty()
    state_dict_loader.load(loaded, storage_reader=dcpcpp.PluginReader(url))
    _check(loaded, _state())


def test_stock_torch_writes_through_a_plugins_file_system(plugin: pathlib.Path) -> None:
    url = f"mem://{uuid.uuid4().hex}"
    state_dict_saver.save(_state(), storage_writer=dcpcpp.PluginWriter(url))
    _check(dcpcpp.load_full(url), _state())


def test_stock_torch_is_told_that_a_storage_needs_dcpcpp(
    plugin: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    writer = dcpcpp.PluginWriter(f"archive://{tmp_path}/x")
    with pytest.raises(BaseException, match=r"needs dcpcpp\.save"):
        state_dict_saver.save(_state(), storage_writer=writer)
    assert list(tmp_path.iterdir()) == []


def _save_and_load_sharded(plugin: pathlib.Path, url: str) -> list[str]:
    dcpcpp.load_plugin(plugin)
    rank = torch.distributed.get_rank()
    mesh = init_device_mesh("cpu", (2,))
    whole = torch.arange(35.0).reshape(7, 5)
    sharded = DTensor.from_local(
        whole.chunk(2)[rank], mesh, [Shard(0)], shape=(7, 5), stride=(5, 1)
    )
    dcpcpp.save({"sharded": sharded, "shared": whole, "step": 3}, checkpoint_id=url)
    other = DTensor.from_local(
        torch.zeros(7, 5).chunk(2, 1)[rank].contiguous(),
        mesh,
        [Shard(1)],
        shape=(7, 5),
        stride=(5, 1),
    )
    state = {"sharded": other, "shared": torch.zeros(7, 5), "step": 0}
    dcpcpp.load(state, checkpoint_id=url)
    assert torch.equal(other.to_local(), whole.chunk(2, 1)[rank])
    assert torch.equal(state["shared"], whole)
    # torch's protocol sends the metadata around and nothing else of the storage.
    loaded = {"shared": torch.zeros(7, 5)}
    state_dict_loader.load(loaded, storage_reader=dcpcpp.PluginReader(url))
    assert torch.equal(loaded["shared"], whole)
    return sorted(path.name for path in pathlib.Path(url.partition("://")[2]).parent.iterdir())


def test_two_ranks_share_one_archive_and_reshard_it(
    plugin: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    url = f"archive://{tmp_path}/x.dcpar"
    names = run_on_ranks(2, _save_and_load_sharded, plugin, url)
    assert names == [["x.dcpar"], ["x.dcpar"]]
