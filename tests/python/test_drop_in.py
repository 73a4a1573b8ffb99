"""Names, arguments, defaults, warnings and old entry points are torch's."""

from __future__ import annotations

import inspect
import re
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed.checkpoint as stock
from torch.distributed.checkpoint import _fsspec_filesystem as stock_fsspec

import dcpcpp
from support import faults

STATE = {"w": torch.arange(6.0), "step": 7}
ALONE = (
    "torch.distributed is disabled, unavailable or uninitialized, assuming the intent is to {} in "
    "a single process."
)

FUNCTIONS: list[tuple[Callable[..., Any], Callable[..., Any]]] = [
    (dcpcpp.save, stock.save),
    (dcpcpp.load, stock.load),
    (dcpcpp.save_state_dict, stock.save_state_dict),
    (dcpcpp.load_state_dict, stock.load_state_dict),
    (dcpcpp.FileSystemWriter, stock.FileSystemWriter),
    (dcpcpp.FileSystemReader, stock.FileSystemReader),
    (dcpcpp.FsspecWriter, stock_fsspec.FsspecWriter),
    (dcpcpp.FsspecReader, stock_fsspec.FsspecReader),
    (dcpcpp.async_save, stock.async_save),
    (dcpcpp.HuggingFaceStorageWriter, stock.HuggingFaceStorageWriter),
    (dcpcpp.HuggingFaceStorageReader, stock.HuggingFaceStorageReader),
    (dcpcpp.QuantizedHuggingFaceStorageReader, stock.QuantizedHuggingFaceStorageReader),
]


@pytest.mark.parametrize(("ours", "torchs"), FUNCTIONS, ids=lambda f: f.__module__ + f.__name__)
def test_arguments_have_torchs_names_kinds_order_and_defaults(
    ours: Callable[..., Any], torchs: Callable[..., Any]
) -> None:
    mine = inspect.signature(ours).parameters
    theirs = inspect.signature(torchs).parameters
    assert [name for name in mine if name in theirs] == list(theirs)
    for name, parameter in theirs.items():
        assert mine[name].kind == parameter.kind, name
        if name == "serialization_format":
            continue  # None stands for TORCH_SAVE, which older torch lacks
        assert mine[name].default == parameter.default, name
    for name in set(mine) - set(theirs):
        assert mine[name].kind == inspect.Parameter.KEYWORD_ONLY, name
        assert mine[name].default is not inspect.Parameter.empty, name


def test_every_public_name_of_torchs_package_is_there() -> None:
    public = {
        name
        for name in vars(stock)
        if not name.startswith("_") and not inspect.ismodule(getattr(stock, name))
    }
    assert {"save", "DefaultSavePlanner", "HuggingFaceStorageReader"} <= public
    assert {name for name in public if not hasattr(dcpcpp, name)} == set()


def test_classes_that_are_not_ours_are_torchs_own() -> None:
    ours = {"FileSystemReader", "FileSystemWriter", "CheckpointException"}
    for name in ("Metadata", "SavePlan", "WriteItem", "DefaultSavePlanner", "StorageWriter"):
        assert getattr(dcpcpp, name) is getattr(stock, name)
    for name in ours:
        assert issubclass(getattr(dcpcpp, name), getattr(stock, name))
    assert dcpcpp.state_dict is torch.distributed.checkpoint.state_dict
    with pytest.raises(AttributeError, match="module 'dcpcpp' has no attribute 'nosuch'"):
        dcpcpp.nosuch  # noqa: B018


def test_importing_the_package_does_not_import_torch() -> None:
    done = faults.run_python(
        """
        import sys, dcpcpp
        dir(dcpcpp), dcpcpp.CheckpointCorruptedError
        print("torch" in sys.modules)
        """
    )
    assert done.stdout == "False\n", done.stderr


def warned(call: Callable[[], Any]) -> list[tuple[type[Warning], str, str]]:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        call()
    return [(w.category, str(w.message), Path(w.filename).name) for w in caught]


HERE = Path(__file__).name


def test_warnings_are_torchs_and_point_at_the_caller(tmp_path: Path) -> None:
    def calls(module: Any, directory: Path) -> list[tuple[type[Warning], str, str]]:
        seen = warned(lambda: module.save(STATE, checkpoint_id=directory))
        seen += warned(lambda: module.save(STATE, checkpoint_id=directory))
        seen += warned(lambda: module.load(dict(STATE), checkpoint_id=directory))
        return seen

    ours = calls(dcpcpp, tmp_path / "c")
    torchs = calls(stock, tmp_path / "c")
    assert [w[:2] for w in ours] == [w[:2] for w in torchs if "existing" not in w[1]][:1] + [
        w[:2] for w in torchs[-3:]
    ]
    assert [w[2] for w in ours] == [HERE] * 4
    assert ours[0][1] == ALONE.format("save")
    assert ours[3][1] == ALONE.format("load")
    assert ours[2][1].startswith(
        f"Detected an existing checkpoint in {tmp_path / 'c'}, overwriting"
    )


def test_a_second_positional_argument_is_the_storage_with_torchs_warning(tmp_path: Path) -> None:
    for module in (stock, dcpcpp):
        seen = warned(lambda m=module: m.save(STATE, m.FileSystemWriter(tmp_path / m.__name__)))
        assert seen[0][:2] == (
            UserWarning,
            "The argument order of save has been changed. Please check the document to avoid "
            "future breakages.",
        )
        state = {"w": torch.zeros(6), "step": 0}
        reader = module.FileSystemReader(tmp_path / module.__name__)
        seen = warned(lambda m=module, s=state, r=reader: m.load(s, r))
        assert "The argument order of load has been changed." in seen[0][1]
        assert faults.same(state, STATE)
    with pytest.raises(TypeError, match="positional argument"):
        dcpcpp.save(STATE, dcpcpp.FileSystemWriter(tmp_path / "c"), None)


class Untouchable:
    """A Stateful that the deprecated functions must not call."""

    def state_dict(self) -> dict[str, Any]:
        raise AssertionError("called")

    def load_state_dict(self, state: dict[str, Any]) -> None:
        raise AssertionError("called")

    def __reduce__(self) -> tuple[Any, ...]:
        return (dict, ())


def test_the_deprecated_functions_work_and_warn_as_torchs(tmp_path: Path) -> None:
    for module in (stock, dcpcpp):
        directory = tmp_path / module.__name__
        writer, reader = module.FileSystemWriter(directory), module.FileSystemReader(directory)
        state = {**STATE, "stateful": Untouchable()}
        seen = warned(lambda m=module, w=writer, s=state: m.save_state_dict(s, w, no_dist=True))
        assert seen[0] == (
            FutureWarning,
            "`save_state_dict` is deprecated and will be removed in future versions."
            "Please use `save` instead.",
            HERE,
        )
        loaded = {"w": torch.zeros(6), "step": 0}
        seen = warned(lambda m=module, r=reader, s=loaded: m.load_state_dict(s, r, no_dist=True))
        assert seen[0] == (
            FutureWarning,
            "`load_state_dict` is deprecated and will be removed in future versions. "
            "Please use `load` instead.",
            HERE,
        )
        assert faults.same(loaded, STATE)


def test_save_returns_torchs_metadata(tmp_path: Path) -> None:
    metadata = dcpcpp.save(STATE, checkpoint_id=tmp_path / "c")
    assert isinstance(metadata, stock.Metadata)
    assert set(metadata.state_dict_metadata) == {"w", "step"}
    assert type(metadata) is stock.Metadata
    assert metadata == faults.read_metadata(tmp_path / "c")
    assert dcpcpp.load(dict(STATE), checkpoint_id=tmp_path / "c") is None


def test_an_argument_of_a_newer_torch_that_we_lack_is_an_error_not_ignored(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match=re.escape("unexpected keyword argument 'strict'")):
        dcpcpp.load(dict(STATE), checkpoint_id=tmp_path, strict=True)  # type: ignore[call-arg]
