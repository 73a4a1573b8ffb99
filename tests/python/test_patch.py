"""patch_torch puts dcpcpp behind torch's names, and takes it away again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed.checkpoint as stock

import dcpcpp
from support import faults

STATE = {"w": torch.arange(6.0), "step": 7}

SWAPPED = [
    ("", "save", dcpcpp.save),
    ("state_dict_saver", "save", dcpcpp.save),
    ("", "load", dcpcpp.load),
    ("state_dict_loader", "load", dcpcpp.load),
    ("", "save_state_dict", dcpcpp.save_state_dict),
    ("", "load_state_dict", dcpcpp.load_state_dict),
    ("", "FileSystemWriter", dcpcpp.FileSystemWriter),
    ("filesystem", "FileSystemWriter", dcpcpp.FileSystemWriter),
    ("", "FileSystemReader", dcpcpp.FileSystemReader),
    ("filesystem", "FileSystemReader", dcpcpp.FileSystemReader),
    ("_fsspec_filesystem", "FsspecWriter", dcpcpp.FsspecWriter),
    ("_fsspec_filesystem", "FsspecReader", dcpcpp.FsspecReader),
]


def current(module: str, name: str) -> Any:
    return getattr(getattr(stock, module) if module else stock, name)


@pytest.mark.filterwarnings("ignore:.*before patch_torch")
def test_patch_torch_swaps_torchs_names_and_undo_restores_them(tmp_path: Path) -> None:
    originals = [current(module, name) for module, name, _ in SWAPPED]
    patch = dcpcpp.patch_torch()
    try:
        assert [current(module, name) for module, name, _ in SWAPPED] == [s[2] for s in SWAPPED]
        torch.distributed.checkpoint.save(STATE, checkpoint_id=tmp_path / "c")
        assert list((tmp_path / "c").glob(".dcpcpp-*")), "libdcp saved"
    finally:
        patch.undo()
    assert [current(module, name) for module, name, _ in SWAPPED] == originals
    patch.undo()  # a second time does nothing
    assert [current(module, name) for module, name, _ in SWAPPED] == originals


@pytest.mark.filterwarnings("ignore:.*before patch_torch")
def test_patch_torch_as_a_context_manager_restores_after_an_error() -> None:
    original = stock.save

    def fail_while_patched() -> None:
        with dcpcpp.patch_torch():
            assert stock.save is dcpcpp.save
            raise LookupError

    with pytest.raises(LookupError):
        fail_while_patched()
    assert stock.save is original


@pytest.mark.filterwarnings("ignore:.*before patch_torch")
def test_patches_nest() -> None:
    original = stock.save
    with dcpcpp.patch_torch():
        with dcpcpp.patch_torch():
            assert stock.save is dcpcpp.save
        assert stock.save is dcpcpp.save
    assert stock.save is original


def test_patch_torch_warns_of_who_imported_a_name_earlier(tmp_path: Path) -> None:
    (tmp_path / "early_trainer.py").write_text(
        "from torch.distributed.checkpoint import save as keep\n"
        "from torch.distributed.checkpoint import FileSystemReader\n"
    )
    done = faults.run_python(
        """
        import sys, warnings
        sys.path.insert(0, sys.argv[1])
        import early_trainer
        import dcpcpp
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            dcpcpp.patch_torch()
        for warning in caught:
            print(warning.filename == "<string>", warning.message)
        """,
        tmp_path,
    )
    told = {
        line.partition(" was imported before patch_torch() and stays torch's own ")[::2]
        for line in done.stdout.splitlines()
    }
    package = "torch.distributed.checkpoint"
    assert told == {
        ("True early_trainer.keep", f"{package}.state_dict_saver.save"),
        ("True early_trainer.FileSystemReader", f"{package}.filesystem.FileSystemReader"),
    }, done.stdout + done.stderr


@pytest.mark.filterwarnings("ignore:.*before patch_torch")
def test_what_torch_wrote_unpickles_while_patched(tmp_path: Path) -> None:
    """Stock metadata names classes of the patched modules."""
    stock.save(STATE, checkpoint_id=tmp_path / "c")
    with dcpcpp.patch_torch():
        state = {"w": torch.zeros(6), "step": 0}
        stock.load(state, checkpoint_id=tmp_path / "c")
    assert faults.same(state, STATE)
