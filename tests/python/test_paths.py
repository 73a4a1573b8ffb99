"""Names in a checkpoint, and links, do not lead a load or a save out of its directory."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
import torch
import torch.distributed.checkpoint as stock

import dcpcpp
from support import faults

VALUE = torch.arange(6.0)


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    """One tensor; the metadata can be edited, as that of stock torch can."""
    dcpcpp.save({"w": VALUE}, checkpoint_id=tmp_path / "saved")
    faults.forget_checksums(tmp_path / "saved")
    return tmp_path / "saved"


def load(directory: Path) -> torch.Tensor:
    state = {"w": torch.zeros(6)}
    dcpcpp.load(state, checkpoint_id=directory)
    return state["w"]


def test_a_path_below_the_directory_is_read(saved: Path) -> None:
    (saved / "sub").mkdir()
    (saved / "__0_0.distcp").rename(saved / "sub" / "data")
    faults.point_at(saved, "sub/data")
    assert torch.equal(load(saved), VALUE)


@pytest.mark.parametrize(
    "path",
    [
        "../victim.distcp",
        "sub/../../victim.distcp",
        "{parent}/victim.distcp",
        "./__0_0.distcp/../../victim.distcp",
        "",
        ".",
        "..",
        "a\0b",
        "x" * 5000,
    ],
)
def test_a_path_that_leaves_the_directory_is_refused(saved: Path, path: str) -> None:
    (saved / "sub").mkdir()
    shutil.copy(saved / "__0_0.distcp", saved.parent / "victim.distcp")
    faults.point_at(saved, path.format(parent=saved.parent))
    with pytest.raises(dcpcpp.CheckpointException) as info:
        load(saved)
    cause = info.value.failures[0][0]
    assert isinstance(cause, (ValueError, OSError, dcpcpp.CheckpointCorruptedError))
    assert "reading w" in str(cause)


@pytest.mark.parametrize("name", ["__0_0.distcp", ".metadata"])
@pytest.mark.parametrize("target", ["../elsewhere", "{parent}/elsewhere"])
def test_a_link_to_elsewhere_is_refused(saved: Path, name: str, target: str) -> None:
    (saved / name).rename(saved.parent / "elsewhere")
    (saved / name).symlink_to(target.format(parent=saved.parent))
    with pytest.raises(dcpcpp.CheckpointException) as info:
        load(saved)
    cause = info.value.failures[0][0]
    assert type(cause) is ValueError
    assert f"{name} is not beneath {saved}" in str(cause)


def test_a_link_to_a_directory_elsewhere_is_refused(saved: Path) -> None:
    outside = saved.parent / "outside"
    outside.mkdir()
    (saved / "__0_0.distcp").rename(outside / "data")
    (saved / "sub").symlink_to(outside)
    faults.point_at(saved, "sub/data")
    with pytest.raises(dcpcpp.CheckpointException, match="is not beneath"):
        load(saved)


def test_a_link_within_the_directory_is_read(saved: Path) -> None:
    (saved / "__0_0.distcp").rename(saved / "data")
    (saved / "__0_0.distcp").symlink_to("data")
    assert torch.equal(load(saved), VALUE)


def test_a_link_to_the_checkpoint_itself_is_read(saved: Path) -> None:
    """A trainer's "latest" is such a link."""
    (saved.parent / "latest").symlink_to("saved")
    assert torch.equal(load(saved.parent / "latest"), VALUE)


@pytest.mark.parametrize("below", ["", "checkpoint"])
def test_a_hugging_face_cache_is_read_through_its_links(
    saved: Path, tmp_path: Path, below: str
) -> None:
    """huggingface_hub: snapshots/<commit>/<file> -> ../../blobs/<hash>."""
    model = tmp_path / "hub" / "models--org--name"
    snapshot = model / "snapshots" / "0123abcd" / below
    (model / "blobs").mkdir(parents=True)
    snapshot.mkdir(parents=True)
    up = "../../../" if below else "../../"
    for number, path in enumerate(sorted(saved.iterdir())):
        shutil.copy(path, model / "blobs" / f"hash{number}")
        (snapshot / path.name).symlink_to(f"{up}blobs/hash{number}")
    assert torch.equal(load(snapshot), VALUE)
    # ... but not through links that leave the model's folder.
    (snapshot / "__0_0.distcp").unlink()
    (snapshot / "__0_0.distcp").symlink_to(saved / "__0_0.distcp")
    with pytest.raises(dcpcpp.CheckpointException, match="is not beneath"):
        load(snapshot)


@pytest.mark.timeout(60)
@pytest.mark.parametrize("name", ["__0_0.distcp", ".metadata"])
def test_a_pipe_in_the_place_of_a_file_is_refused_at_once(saved: Path, name: str) -> None:
    (saved / name).unlink()
    os.mkfifo(saved / name)
    with pytest.raises(dcpcpp.CheckpointException, match="not a regular file"):
        load(saved)


def test_a_directory_in_the_place_of_a_file_is_refused(saved: Path) -> None:
    (saved / "__0_0.distcp").unlink()
    (saved / "__0_0.distcp").mkdir()
    with pytest.raises(dcpcpp.CheckpointException, match="not a regular file"):
        load(saved)


PLANTED = ["__0_0.distcp", "__0_1.distcp", ".metadata", ".metadata.tmp"]


@pytest.mark.parametrize("name", PLANTED)
@pytest.mark.parametrize("dangling", [False, True], ids=["link", "dangling link"])
def test_a_save_does_not_write_through_a_planted_link(
    tmp_path: Path, name: str, dangling: bool
) -> None:
    victim = tmp_path / "victim"
    directory = tmp_path / "checkpoint"
    directory.mkdir()
    (directory / name).symlink_to(victim)
    if not dangling:
        victim.write_text("precious")
    dcpcpp.save({"w": VALUE}, checkpoint_id=directory)
    assert victim.exists() is not dangling
    if not dangling:
        assert victim.read_text() == "precious"
    assert not (directory / ".metadata").is_symlink()
    assert torch.equal(load(directory), VALUE)


class OwnPlanner(dcpcpp.DefaultSavePlanner):
    pass


def save_safetensors(directory: Path) -> None:
    dcpcpp.save({"w": VALUE}, storage_writer=dcpcpp.HuggingFaceStorageWriter(directory))


SAVES = {
    "torch's protocol": (
        lambda path: dcpcpp.save({"w": VALUE}, checkpoint_id=path, planner=OwnPlanner()),
        ["__0_0.distcp", "__0_1.distcp", ".metadata"],
    ),
    "torch's save": (
        lambda path: stock.save({"w": VALUE}, storage_writer=dcpcpp.FileSystemWriter(path)),
        ["__0_0.distcp", ".metadata"],
    ),
    "a rank alone": (
        lambda path: dcpcpp.save({"w": VALUE}, checkpoint_id=path, use_collectives=False),
        ["__0_0.distcp", "__0.metadata"],
    ),
    "async_save": (
        lambda path: dcpcpp.async_save({"w": VALUE}, checkpoint_id=path).result(),
        ["__0_0.distcp", ".metadata"],
    ),
    "safetensors": (save_safetensors, ["model.safetensors", "model.safetensors.index.json"]),
}


@pytest.mark.parametrize(
    ("save", "name"), [(save, name) for save, (_, names) in SAVES.items() for name in names]
)
@pytest.mark.parametrize("dangling", [False, True], ids=["link", "dangling link"])
def test_no_way_to_save_writes_through_a_planted_link(
    tmp_path: Path, save: str, name: str, dangling: bool
) -> None:
    victim = tmp_path / "victim"
    directory = tmp_path / "checkpoint"
    directory.mkdir()
    (directory / name).symlink_to(victim)
    if not dangling:
        victim.write_text("precious")
    refused = ""
    try:
        SAVES[save][0](directory)
    except stock.CheckpointException as error:
        refused = str(error)
    if refused:
        assert name in refused, "what is in the way is named"
    else:
        assert torch.equal(load_any(directory)["w"], VALUE)
    assert victim.exists() is not dangling
    if not dangling:
        assert victim.read_text() == "precious"


def load_any(directory: Path) -> dict[str, torch.Tensor]:
    alone = (directory / "__0.metadata").exists()
    return dcpcpp.load_full(directory, rank=0 if alone else None)


def test_a_link_in_the_place_of_the_lock_is_refused(tmp_path: Path) -> None:
    directory = tmp_path / "checkpoint"
    directory.mkdir()
    (tmp_path / "victim").write_text("precious")
    (directory / ".dcpcpp.lock").symlink_to(tmp_path / "victim")
    with pytest.raises(dcpcpp.CheckpointException, match=r"\.dcpcpp\.lock"):
        dcpcpp.save({"w": VALUE}, checkpoint_id=directory)
    assert (tmp_path / "victim").read_text() == "precious"
    assert [path.name for path in directory.iterdir()] == [".dcpcpp.lock"]


def test_stock_torch_writes_through_a_planted_link(tmp_path: Path) -> None:
    """What the test above is about."""
    victim = tmp_path / "victim"
    victim.write_text("precious")
    (tmp_path / "checkpoint").mkdir()
    (tmp_path / "checkpoint" / "__0_0.distcp").symlink_to(victim)
    stock.save({"w": VALUE}, checkpoint_id=tmp_path / "checkpoint")
    assert victim.read_bytes() != b"precious"


def test_files_of_others_stay_when_a_checkpoint_is_replaced(tmp_path: Path) -> None:
    directory = tmp_path / "checkpoint"
    dcpcpp.save({"w": VALUE}, checkpoint_id=directory)
    for name in ("config.json", "notes.distcp", "__x_0.distcp", ".dcpcpp-notes"):
        (directory / name).write_text(name)
    first = {path.name for path in directory.iterdir()}
    dcpcpp.save({"w": VALUE + 1}, checkpoint_id=directory)
    second = {path.name for path in directory.iterdir()}
    assert {"config.json", "notes.distcp", "__x_0.distcp", ".dcpcpp-notes"} <= second
    assert len(second) == len(first), "the old save's files are gone, and only they"
    assert torch.equal(load(directory), VALUE + 1)


def test_metadata_cannot_make_a_save_remove_files_of_others(tmp_path: Path) -> None:
    directory = tmp_path / "checkpoint"
    dcpcpp.save({"w": VALUE}, checkpoint_id=directory)
    faults.forget_checksums(directory)
    (tmp_path / "victim").write_text("precious")
    (directory / "config.json").write_text("precious")
    for name in ("../victim", "config.json"):
        faults.point_at(directory, name)
        dcpcpp.save({"w": VALUE}, checkpoint_id=directory)
        faults.forget_checksums(directory)
    assert (tmp_path / "victim").read_text() == "precious"
    assert (directory / "config.json").read_text() == "precious"
