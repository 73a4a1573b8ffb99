"""Checkpoints at `scheme://` paths: memory and an S3 server, with stock torch on either side."""

from __future__ import annotations

import io
import uuid
from collections.abc import Iterator
from typing import Any

import fsspec
import pytest
import safetensors.torch
import torch
import torch.distributed.checkpoint as stock
from fsspec.implementations.memory import MemoryFileSystem
from torch.distributed.checkpoint import _fsspec_filesystem as stock_fsspec

import dcpcpp

STATE: dict[str, Any] = {
    "w": torch.arange(700_000, dtype=torch.float32).reshape(700, 1000),
    "half": torch.ones(33, dtype=torch.bfloat16),
    "step": 7,
    "nested": {"list": [1, "two"]},
}


def template() -> dict[str, Any]:
    return {
        "w": torch.zeros(700, 1000),
        "half": torch.zeros(33, dtype=torch.bfloat16),
        "step": 0,
        "nested": {"list": None},
    }


def assert_loaded(state: dict[str, Any]) -> None:
    assert torch.equal(state["w"], STATE["w"])
    assert torch.equal(state["half"], STATE["half"])
    assert (state["step"], state["nested"]["list"]) == (7, [1, "two"])


@pytest.fixture(params=["memory", "s3"])
def place(request: pytest.FixtureRequest) -> tuple[str, dict[str, Any]]:
    """A URL that nobody used before, and the options for its file system."""
    name = uuid.uuid4().hex
    if request.param == "memory":
        return f"memory://{name}/c", {}
    return f"s3://bucket/{name}/c", request.getfixturevalue("s3_options")


Place = tuple[str, dict[str, Any]]


def names_at(place: Place) -> list[str]:
    fs, path = fsspec.core.url_to_fs(place[0], **place[1])
    fs.invalidate_cache()
    return sorted(name.rsplit("/", 1)[-1] for name in fs.ls(path, detail=False))


def test_what_is_saved_is_loaded(place: Place) -> None:
    url, options = place
    dcpcpp.save(STATE, storage_writer=dcpcpp.FsspecWriter(url, **options))
    state = template()
    dcpcpp.load(state, storage_reader=dcpcpp.FsspecReader(url, **options))
    assert_loaded(state)
    names = names_at(place)
    assert names[1:] == [".metadata", "__0_0.distcp"]
    assert names[0].startswith(".dcpcpp-")
    assert not names[0].endswith(".tmp")


def test_stock_torch_reads_what_we_wrote(place: Place) -> None:
    url, options = place
    dcpcpp.save(STATE, storage_writer=dcpcpp.FsspecWriter(url, **options))
    state = template()
    stock.load(state, storage_reader=stock_fsspec.FsspecReader(url, **options))
    assert_loaded(state)


def test_we_read_what_stock_torch_wrote(place: Place) -> None:
    url, options = place
    stock.save(STATE, storage_writer=stock_fsspec.FsspecWriter(url, **options))
    state = template()
    dcpcpp.load(state, storage_reader=dcpcpp.FsspecReader(url, **options))
    assert_loaded(state)


def test_our_classes_work_inside_stock_torch(place: Place) -> None:
    url, options = place
    stock.save(STATE, storage_writer=dcpcpp.FsspecWriter(url, **options))
    state = template()
    stock.load(state, storage_reader=dcpcpp.FsspecReader(url, **options))
    assert_loaded(state)
    assert any(name.startswith(".dcpcpp-") for name in names_at(place))


def test_torchs_classes_work_inside_ours(place: Place) -> None:
    url, options = place
    dcpcpp.save(STATE, storage_writer=stock_fsspec.FsspecWriter(url, **options))
    state = template()
    dcpcpp.load(state, storage_reader=stock_fsspec.FsspecReader(url, **options))
    assert_loaded(state)


def test_a_newer_save_replaces_the_older(place: Place) -> None:
    url, options = place
    for value in (1, 2):
        writer = dcpcpp.FsspecWriter(url, **options)
        dcpcpp.save({"w": torch.full((9,), value)}, storage_writer=writer)
    state = {"w": torch.zeros(9, dtype=torch.int64)}
    dcpcpp.load(state, storage_reader=dcpcpp.FsspecReader(url, **options))
    assert torch.equal(state["w"], torch.full((9,), 2))
    assert names_at(place)[1:] == [".metadata", "__0_1.distcp"]
    writer = dcpcpp.FsspecWriter(url, overwrite=False, **options)
    with pytest.raises(dcpcpp.CheckpointException, match="already exists"):
        dcpcpp.save({"w": torch.zeros(9)}, storage_writer=writer)


def test_damage_is_found_and_nothing_is_an_error(place: Place) -> None:
    url, options = place
    with pytest.raises(dcpcpp.CheckpointException) as info:
        dcpcpp.load(template(), storage_reader=dcpcpp.FsspecReader(url, **options))
    assert isinstance(info.value.failures[0][0], FileNotFoundError)
    dcpcpp.save(STATE, storage_writer=dcpcpp.FsspecWriter(url, **options))
    fs, path = fsspec.core.url_to_fs(url, **options)
    data = bytearray(fs.cat_file(f"{path}/__0_0.distcp"))
    data[2_000_000] ^= 1
    fs.pipe_file(f"{path}/__0_0.distcp", bytes(data))
    with pytest.raises(dcpcpp.CheckpointCorruptedError, match="key w"):
        dcpcpp.load(template(), storage_reader=dcpcpp.FsspecReader(url, **options))


def test_single_files_are_verified_where_they_lie(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    url, options = place
    monkeypatch.setitem(fsspec.config.conf, url.partition(":")[0], options)
    fs, path = fsspec.core.url_to_fs(url, **options)
    tensors = {"w": STATE["w"], "half": STATE["half"]}
    written = io.BytesIO()
    torch.save(STATE, written)
    for name, data, keys in (
        ("model.pt", written.getvalue(), (2, 2)),
        ("model.safetensors", safetensors.torch.save(tensors), (2, 0)),
    ):
        fs.pipe_file(f"{path}/{name}", data)
        report = dcpcpp.verify(f"{url}/{name}")
        assert report.ok, report.damages
        assert (report.tensors, report.objects, report.files) == (*keys, 1)
        fs.pipe_file(f"{path}/{name}", data[:-1])
        assert [damage.path for damage in dcpcpp.verify(f"{url}/{name}").damages]
    damaged = bytearray(written.getvalue())
    damaged[1_000_000] ^= 1
    fs.pipe_file(f"{path}/model.pt", bytes(damaged))
    (damage,) = dcpcpp.verify(f"{url}/model.pt").damages
    assert (damage.key, damage.path.strip("/")) == ("w", f"{path}/model.pt".strip("/"))
    with pytest.raises(FileNotFoundError, match="there is nothing at"):
        dcpcpp.verify(f"{url}/nosuch.pt")


def test_scheme_paths_choose_fsspec_by_themselves() -> None:
    url = f"memory://{uuid.uuid4().hex}/c"
    dcpcpp.save(STATE, checkpoint_id=url)
    state = template()
    dcpcpp.load(state, checkpoint_id=url)
    assert_loaded(state)
    assert dcpcpp.open(url)["step"] == 7
    assert dcpcpp.load_full(url)["nested"] == {"list": [1, "two"]}


class Recording(MemoryFileSystem):
    """Notes what is done to it, and fails where it is told to."""

    protocol = "recording"
    store: dict[str, Any] = {}  # noqa: RUF012  # as in its base class
    pseudo_dirs = [""]  # noqa: RUF012
    done: list[tuple[str, str]] = []  # noqa: RUF012
    fails_on = "nothing"
    options: dict[str, Any] = {}  # noqa: RUF012

    def __init__(self, flavour: str = "plain", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        type(self).options = {"flavour": flavour}

    def _open(self, path: str, mode: str = "rb", **kwargs: Any) -> Any:
        if "w" in mode:
            self.done.append(("write", path.rsplit("/", 1)[-1]))
            return UploadedOnClose(self, path)
        return super()._open(path, mode, **kwargs)

    def pipe_file(self, path: str, value: bytes, mode: str = "overwrite", **kwargs: Any) -> None:
        """One request, which is done or not, as in an object store."""
        self.done.append(("write", path.rsplit("/", 1)[-1]))
        if self.fails_on in path:
            raise OSError(5, "the bucket is on fire", path)
        self.publish(path, value)

    def publish(self, path: str, value: bytes) -> None:
        with MemoryFileSystem._open(self, path, "wb") as stream:
            stream.write(value)

    def mv(self, path1: str, path2: str, **kwargs: Any) -> None:
        self.done.append(("rename", path1))

    def rm_file(self, path: str) -> None:
        self.done.append(("remove", path.rsplit("/", 1)[-1]))
        del self.store[self._strip_protocol(path)]


class UploadedOnClose(io.BytesIO):
    """An object that appears, with what it has, when it is closed: also by the collector."""

    def __init__(self, fs: Recording, path: str) -> None:
        super().__init__()
        self._fs = fs
        self._path = path

    def write(self, data: Any) -> int:
        if self._fs.fails_on in self._path:
            super().write(bytes(data)[: len(data) // 2])
            raise OSError(5, "the bucket is on fire", self._path)
        return super().write(data)

    def discard(self) -> None:
        super().close()

    def close(self) -> None:
        if not self.closed:
            self._fs.publish(self._path, self.getvalue())
        super().close()

    def __del__(self) -> None:
        self.close()


fsspec.register_implementation("recording", Recording)


@pytest.fixture
def recording() -> Iterator[type[Recording]]:
    Recording.store.clear()
    Recording.done.clear()
    yield Recording
    Recording.fails_on = "nothing"


def test_options_reach_the_file_system(recording: type[Recording]) -> None:
    dcpcpp.FsspecWriter("recording://a/c", flavour="spicy")
    assert recording.options == {"flavour": "spicy"}
    dcpcpp.FsspecReader("recording://a/c", flavour="mild")
    assert recording.options == {"flavour": "mild"}


def test_the_commit_object_goes_last_and_nothing_is_renamed(recording: type[Recording]) -> None:
    for _ in range(2):
        dcpcpp.save(STATE, checkpoint_id="recording://a/c")
    written = [name for verb, name in recording.done if verb == "write"]
    assert [written[0], written[2], written[3], written[5]] == [
        "__0_0.distcp",
        ".metadata",
        "__0_1.distcp",
        ".metadata",
    ]
    assert [verb for verb, _ in recording.done].count("rename") == 0
    # What the old one consisted of goes after the new one is there.
    removed = [position for position, (verb, _) in enumerate(recording.done) if verb == "remove"]
    last_commit = max(i for i, step in enumerate(recording.done) if step == ("write", ".metadata"))
    assert len(removed) == 2
    assert min(removed) > last_commit


@pytest.mark.parametrize("fails_on", ["__0_1.distcp", ".dcpcpp-", ".metadata"])
def test_an_upload_that_fails_leaves_the_old_checkpoint(
    recording: type[Recording], fails_on: str
) -> None:
    url = "recording://a/c"
    dcpcpp.save({"w": torch.ones(9)}, checkpoint_id=url)
    before = {path: bytes(file.getvalue()) for path, file in recording.store.items()}
    recording.fails_on = fails_on
    with pytest.raises(dcpcpp.CheckpointException, match="the bucket is on fire") as info:
        dcpcpp.save({"w": torch.zeros(9)}, checkpoint_id=url)
    assert isinstance(info.value.failures[0][0], OSError)
    recording.fails_on = "nothing"
    del info
    state = {"w": torch.zeros(9)}
    dcpcpp.load(state, checkpoint_id=url)
    assert torch.equal(state["w"], torch.ones(9))
    after = {path: bytes(file.getvalue()) for path, file in recording.store.items()}
    assert after.items() >= before.items()
    if fails_on != ".metadata":  # which may have been published, for all a writer knows
        assert after == before
