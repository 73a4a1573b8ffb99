"""Safetensors at URLs, and our classes for them in torch's own save and load."""

from __future__ import annotations

import json
import uuid
from pathlib import Path

import fsspec
import pytest
import safetensors.torch
import torch
import torch.distributed.checkpoint as stock

import dcpcpp
from support.states import blank, ramp, require_equal

MODEL = {"embed": ramp(300, 1000), "norm": ramp(40).bfloat16()}
FILES = {"embed": "model-00001-of-00002.safetensors", "norm": "model-00002-of-00002.safetensors"}


@pytest.fixture(params=["one", "several"])
def url(request: pytest.FixtureRequest) -> str:
    """Where files are that Hugging Face's tools wrote."""
    place = f"memory://{uuid.uuid4().hex}/model"
    files = {"model.safetensors": MODEL}
    fs, path = fsspec.core.url_to_fs(place)
    if request.param == "several":
        files = {file: {key: MODEL[key]} for key, file in FILES.items()}
        index = {"metadata": {}, "weight_map": FILES}
        fs.pipe_file(f"{path}/model.safetensors.index.json", json.dumps(index).encode())
    for name, tensors in files.items():
        fs.pipe_file(f"{path}/{name}", safetensors.torch.save(tensors))
    return place


def test_what_lies_at_a_url_is_loaded(url: str) -> None:
    for options in (
        {"checkpoint_id": url},
        {"storage_reader": dcpcpp.HuggingFaceStorageReader(url)},
        {"storage_reader": dcpcpp.FsspecReader(url)},
        {"storage_reader": dcpcpp.HuggingFaceStorageReader("nosuch"), "checkpoint_id": url},
    ):
        state = blank(MODEL)
        dcpcpp.load(state, **options)
        require_equal(state, MODEL)
    part = dcpcpp.open(url).get("embed", (slice(7, 9), slice(0, 3)))
    assert torch.equal(part, MODEL["embed"][7:9, :3])
    assert dcpcpp.verify(url).ok
    state = blank(MODEL)
    stock.load(state, storage_reader=dcpcpp.HuggingFaceStorageReader(url))
    require_equal(state, MODEL)


def test_a_save_to_a_url_is_refused_before_anything_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(NotImplementedError, match="a directory instead of memory://m/7, and copy"):
        dcpcpp.HuggingFaceStorageWriter("memory://m/7")
    writer = dcpcpp.HuggingFaceStorageWriter(tmp_path)
    with pytest.raises(NotImplementedError, match="a directory instead of memory://m/8, and copy"):
        dcpcpp.save(MODEL, storage_writer=writer, checkpoint_id="memory://m/8")
    assert list(tmp_path.iterdir()) == []


def test_torchs_save_does_not_take_our_writer_and_says_what_does(tmp_path: Path) -> None:
    writer = dcpcpp.HuggingFaceStorageWriter(tmp_path / "hf")
    with pytest.raises(
        stock.api.CheckpointException,
        match=r"saves with dcpcpp\.save .*or with torch's save after dcpcpp\.patch_torch\(\)",
    ):
        stock.save(MODEL, storage_writer=writer)
    assert not list(tmp_path.glob("hf/*"))
    with dcpcpp.patch_torch():
        stock.save(MODEL, storage_writer=dcpcpp.HuggingFaceStorageWriter(tmp_path / "hf"))
    state = blank(MODEL)
    stock.load(state, storage_reader=dcpcpp.HuggingFaceStorageReader(tmp_path / "hf"))
    require_equal(state, MODEL)
