"""The phase that a CheckpointException names, `args[0]`, beside the one torch's names.

dcpcpp looks at everything that it can before the first byte is written or read, so some
failures of torch's "write" and "read" come in its "plan": nothing has been touched then.
"""

from __future__ import annotations

import contextlib
import pathlib
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.distributed.checkpoint as stock

import dcpcpp
from support import faults

STATE = {"w": torch.arange(1000.0), "step": 7}

Case = Callable[[Any, pathlib.Path], object]


class Unpicklable:
    def __reduce__(self) -> str:
        raise TypeError("not to be pickled")


class StatefulThatFails:
    def state_dict(self) -> dict[str, Any]:
        raise ValueError("no state")

    def load_state_dict(self, state: dict[str, Any]) -> None:
        raise AssertionError(state)


def saved(library: Any, folder: pathlib.Path) -> pathlib.Path:
    library.save(STATE, checkpoint_id=folder / "c")
    return folder / "c"


def save_over(library: Any, folder: pathlib.Path) -> None:
    writer = library.FileSystemWriter(saved(library, folder), overwrite=False)
    library.save(STATE, storage_writer=writer)


def save_onto_a_file(library: Any, folder: pathlib.Path, *, use_collectives: bool = True) -> None:
    (folder / "c").write_text("the user's")
    library.save(STATE, checkpoint_id=folder / "c", use_collectives=use_collectives)


def save_where_metadata_cannot_be(library: Any, folder: pathlib.Path) -> None:
    (folder / "c" / ".metadata").mkdir(parents=True)
    library.save(STATE, checkpoint_id=folder / "c")


def load_as(template: dict[str, Any]) -> Case:
    def load(library: Any, folder: pathlib.Path) -> None:
        library.load(dict(template), checkpoint_id=saved(library, folder))

    return load


def load_without_data(library: Any, folder: pathlib.Path) -> None:
    (saved(library, folder) / "__0_0.distcp").unlink()
    library.load({"w": torch.zeros(1000)}, checkpoint_id=folder / "c")


def load_damaged_data(library: Any, folder: pathlib.Path) -> None:
    # In the zip record's header, which stock torch looks at.
    data = saved(library, folder) / "__0_0.distcp"
    content = data.read_bytes()
    data.write_bytes(content.replace(b"PK\x03\x04", b"PK\x00\x00"))
    library.load({"w": torch.zeros(1000), "step": 0}, checkpoint_id=folder / "c")


def save_values(state: dict[str, Any], **options: Any) -> Case:
    return lambda library, folder: library.save(state, checkpoint_id=folder / "c", **options)


# name: what fails, torch's phase, ours. None: torch raises the error as it is.
CASES: dict[str, tuple[Case, str | None, str]] = {
    "two values of one key": (save_values({"a": {"b": 1}, "a.b": torch.ones(1)}), "plan", "plan"),
    "there is a checkpoint": (save_over, "plan", "plan"),
    "a file is in the way": (save_onto_a_file, "plan", "plan"),
    "metadata cannot be a file": (save_where_metadata_cannot_be, "write", "plan"),
    "an object does not pickle": (save_values({"a": Unpicklable()}), "write", "plan"),
    "a tensor is sparse": (save_values({"a": torch.eye(3).to_sparse()}), "write", "plan"),
    "a tensor has no data": (save_values({"a": torch.ones(2, device="meta")}), "write", "plan"),
    "a state_dict() fails": (save_values({"a": StatefulThatFails()}), None, "plan"),
    "a rank alone fails": (
        lambda library, folder: save_onto_a_file(library, folder, use_collectives=False),
        None,
        "write",  # its ranks meet once, at the end
    ),
    "no checkpoint": (
        lambda library, folder: library.load({"w": torch.ones(1)}, checkpoint_id=folder),
        "plan",
        "plan",
    ),
    "a key is missing": (load_as({"nope": torch.ones(1)}), "plan", "plan"),
    "another shape": (load_as({"w": torch.ones(1)}), "plan", "plan"),
    "another kind": (load_as({"w": 1}), "plan", "plan"),
    "a data file is missing": (load_without_data, "read", "plan"),
    "data is damaged": (load_damaged_data, "read", "read"),
}


@pytest.mark.parametrize("name", CASES)
def test_a_failure_names_torchs_phase_or_an_earlier_one(tmp_path: pathlib.Path, name: str) -> None:
    fail, torchs, ours = CASES[name]
    for library, phase in ((stock, torchs), (dcpcpp, ours)):
        folder = tmp_path / library.__name__
        folder.mkdir()
        with pytest.raises(BaseException) as info:  # noqa: PT011  # torch's class
            fail(library, folder)
        if phase is None:
            assert not isinstance(info.value, stock.CheckpointException)
        else:
            assert isinstance(info.value, stock.CheckpointException)
            assert info.value.args[0] == phase
            assert list(info.value.failures) == [0]


def test_a_failure_before_the_write_leaves_no_file(tmp_path: pathlib.Path) -> None:
    for name in ("an object does not pickle", "a tensor is sparse", "a state_dict() fails"):
        with contextlib.suppress(dcpcpp.CheckpointException):
            CASES[name][0](dcpcpp, tmp_path)
        assert not faults.content(tmp_path), name
