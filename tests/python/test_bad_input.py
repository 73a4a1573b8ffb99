"""What a caller may get wrong, compared with what stock torch raises for it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
import torch.distributed.checkpoint as stock
from torch.distributed.checkpoint.api import CheckpointException as TorchCheckpointException

import dcpcpp

STATE = {"w": torch.arange(6.0).reshape(2, 3), "step": 7, "nested": {"a": "x"}}


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    dcpcpp.save(STATE, checkpoint_id=tmp_path / "saved")
    return tmp_path / "saved"


def caught(call: Callable[[], object]) -> BaseException:
    try:
        call()
    except BaseException as error:
        return error
    raise AssertionError("nothing was raised")


def cause(error: BaseException) -> BaseException:
    """The error of rank 0 in a CheckpointException."""
    assert isinstance(error, TorchCheckpointException)
    assert list(error.failures) == [0]
    return error.failures[0][0]


LOADS: dict[str, tuple[dict[str, Any], type[Exception], str]] = {
    "another shape": (
        {"w": torch.zeros(3, 2)},
        ValueError,
        r"Size mismatch between saved torch.Size\(\[2, 3\]\) and current: "
        r"torch.Size\(\[3, 2\]\) for w",
    ),
    "fewer dimensions": ({"w": torch.zeros(6)}, ValueError, "Size mismatch .* for w"),
    "a missing key": (
        {"nope": torch.zeros(1)},
        RuntimeError,
        r"Missing key in checkpoint state_dict: nope\.",
    ),
    "a missing object": ({"nested": {"b": 1}}, RuntimeError, r"Missing key .*: nested\.b\."),
    "an object for a tensor": (
        {"w": 3},
        ValueError,
        "Invalid checkpoint metadata for w, expected BytesStorageMetadata but found ",
    ),
    "a meta tensor without a process group": (
        {"w": torch.zeros(2, 3, device="meta")},
        ValueError,
        "Default process group has not been initialized",
    ),
}


@pytest.mark.parametrize("wrong", LOADS)
def test_a_wrong_template_raises_what_torch_raises(saved: Path, wrong: str) -> None:
    template, kind, message = LOADS[wrong]
    ours = caught(lambda: dcpcpp.load(dict(template), checkpoint_id=saved))
    assert f"in a load from {saved}" in str(ours)
    torchs = caught(lambda: stock.load(dict(template), checkpoint_id=saved))
    assert isinstance(ours, dcpcpp.CheckpointException)
    assert type(cause(ours)) is type(cause(torchs)) is kind
    with pytest.raises(kind, match=message):
        raise cause(ours)


SAVES: dict[str, dict[str, Any]] = {
    "a local function": {"f": lambda: 1},
    "a sparse tensor": {"t": torch.zeros(2).to_sparse()},
    "a meta tensor": {"t": torch.zeros(2, device="meta")},
    "two keys that flatten to one": {"a": {"b": 1}, "a.b": 2},
}


@pytest.mark.parametrize("wrong", SAVES)
def test_an_unsavable_state_raises_what_torch_raises(tmp_path: Path, wrong: str) -> None:
    ours = caught(lambda: dcpcpp.save(SAVES[wrong], checkpoint_id=tmp_path / "ours"))
    torchs = caught(lambda: stock.save(SAVES[wrong], checkpoint_id=tmp_path / "stock"))
    assert type(cause(ours)) is type(cause(torchs))
    assert not (tmp_path / "ours" / ".metadata").exists()


def test_the_key_of_an_unsavable_tensor_is_named(tmp_path: Path) -> None:
    error = caught(
        lambda: dcpcpp.save(
            {"model": {"t": torch.zeros(2, device="meta")}}, checkpoint_id=tmp_path / "c"
        )
    )
    assert "model.t" in str(cause(error))


def bare_calls(module: ModuleType, directory: Path) -> dict[str, Callable[[], object]]:
    return {
        "save without an id": lambda: module.save(STATE, checkpoint_id=None),
        "load without an id": lambda: module.load({}, checkpoint_id=None),
        "save to an empty id": lambda: module.save(STATE, checkpoint_id=""),
        "save to an unknown scheme": lambda: module.save(STATE, checkpoint_id="nosuch://bucket/c"),
        "load from an unknown scheme": lambda: module.load({}, checkpoint_id="nosuch://bucket/c"),
    }


@pytest.mark.parametrize("call", bare_calls(stock, Path()))
def test_what_torch_raises_bare_stays_bare(tmp_path: Path, call: str) -> None:
    ours = caught(bare_calls(dcpcpp, tmp_path)[call])
    torchs = caught(bare_calls(stock, tmp_path)[call])
    assert type(ours) is type(torchs) is RuntimeError
    assert str(ours).startswith(str(torchs))


DIRECTORIES: dict[str, tuple[str, type[Exception]]] = {
    "under a file": ("file/sub", NotADirectoryError),
    "a file": ("file", FileExistsError),
    "where nothing can be made": ("/proc/nosuch/c", FileNotFoundError),
}


@pytest.mark.parametrize("wrong", DIRECTORIES)
def test_a_directory_that_cannot_be_raises_what_torch_raises(tmp_path: Path, wrong: str) -> None:
    name, kind = DIRECTORIES[wrong]
    (tmp_path / "file").write_text("not a directory")
    ours = caught(lambda: dcpcpp.save(STATE, checkpoint_id=tmp_path / name))
    torchs = caught(lambda: stock.save(STATE, checkpoint_id=tmp_path / name))
    assert type(cause(ours)) is type(cause(torchs)) is kind
    error = cause(ours)
    assert isinstance(error, OSError)
    assert error.filename is not None
    assert error.errno
    assert (tmp_path / "file").read_text() == "not a directory"


@pytest.mark.parametrize("name", ["absent", "absent/below", "empty"])
def test_loading_from_nowhere_names_the_path(tmp_path: Path, name: str) -> None:
    (tmp_path / "empty").mkdir()
    state = {"w": torch.zeros(2, 3)}
    error = caught(lambda: dcpcpp.load(state, checkpoint_id=tmp_path / name))
    with pytest.raises(FileNotFoundError, match=str(tmp_path / name)):
        raise cause(error)
    assert "step" not in state
    assert torch.equal(state["w"], torch.zeros(2, 3))


def test_loading_from_under_a_file_says_so(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    error = caught(lambda: dcpcpp.load({}, checkpoint_id=tmp_path / "file"))
    assert type(cause(error)) is NotADirectoryError


def test_overwrite_false_refuses_with_torchs_words_and_changes_nothing(saved: Path) -> None:
    before = (saved / ".metadata").read_bytes()
    errors = [
        caught(
            lambda m=module: m.save(
                {"other": 1}, storage_writer=m.FileSystemWriter(saved, overwrite=False)
            )
        )
        for module in (dcpcpp, stock)
    ]
    for error in errors:
        with pytest.raises(RuntimeError, match=r"already exists and self\.overwrite=False\."):
            raise cause(error)
    assert str(saved) in str(cause(errors[0]))
    assert (saved / ".metadata").read_bytes() == before


def test_our_exception_is_caught_by_except_exception_and_as_torchs(saved: Path) -> None:
    for kind in (Exception, TorchCheckpointException, dcpcpp.CheckpointException):
        with pytest.raises(kind, match="Missing key"):
            dcpcpp.load({"nope": 1}, checkpoint_id=saved)
    assert not issubclass(stock.CheckpointException, Exception)


def test_our_exception_can_be_pickled(saved: Path) -> None:
    import pickle

    error = caught(lambda: dcpcpp.load({"nope": 1}, checkpoint_id=saved))
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is type(error)
    assert str(cause(again)) == str(cause(error))


def test_a_failed_load_leaves_the_template_as_it_was(saved: Path) -> None:
    state = {"step": 1, "w": torch.full((2, 3), 5.0), "x": torch.zeros(1)}
    with pytest.raises(dcpcpp.CheckpointException, match=r"Missing key .*: x\."):
        dcpcpp.load(state, checkpoint_id=saved)
    assert state["step"] == 1
    assert torch.equal(state["w"], torch.full((2, 3), 5.0))


def test_unknown_options_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match='io_engine must be "auto", "io_uring" or "threads"'):
        dcpcpp.FileSystemWriter(tmp_path, io_engine="nvme")
    with pytest.raises(ValueError, match="compression must be None or \"zstd\", not 'lz4'"):
        dcpcpp.FileSystemWriter(tmp_path, compression="lz4")
    with pytest.raises(ValueError, match="compression must be"):
        dcpcpp.save(STATE, checkpoint_id=tmp_path / "c", compression="lz4")
    with pytest.raises(TypeError, match="unexpected keyword"):
        dcpcpp.save(STATE, checkpoint_id=tmp_path / "c", nosuch=1)


@pytest.mark.parametrize("state", [5, [torch.ones(1)], None, "state"])
@pytest.mark.parametrize("call", [dcpcpp.save, dcpcpp.load, dcpcpp.async_save])
def test_a_state_dict_that_is_none_is_a_type_error(tmp_path: Path, call: Any, state: Any) -> None:
    with pytest.raises(TypeError, match=rf"must be a dict, not a {type(state).__name__}"):
        call(state, checkpoint_id=tmp_path / "c")
    assert not (tmp_path / "c").exists()
