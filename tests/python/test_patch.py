"""patch_torch puts dcpcpp behind torch's names, and takes it away again."""

from __future__ import annotations

import importlib
import runpy
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed.checkpoint as stock

import dcpcpp
from support import faults
from support.states import blank, require_equal

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
    ("_storage_utils", "FileSystemWriter", dcpcpp.FileSystemWriter),
    ("format_utils", "FileSystemReader", dcpcpp.FileSystemReader),
    ("_fsspec_filesystem", "FsspecWriter", dcpcpp.FsspecWriter),
    ("_fsspec_filesystem", "FsspecReader", dcpcpp.FsspecReader),
]


def current(module: str, name: str) -> Any:
    return getattr(importlib.import_module(f"{stock.__name__}.{module}".rstrip(".")), name)


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


# A trainer that knows nothing of dcpcpp, in the ways that trainers import and call these.
TRAINER = """
import torch
import torch.distributed.checkpoint as dcp
from torch.distributed.checkpoint import FileSystemReader, FileSystemWriter, load, save
from torch.distributed.checkpoint.state_dict import get_state_dict, set_state_dict
from torch.distributed.checkpoint.stateful import Stateful
from torch.distributed.checkpoint.state_dict_loader import load as load_again


class AppState(Stateful):
    def __init__(self, seed):
        torch.manual_seed(seed)
        self.model = torch.nn.Sequential(torch.nn.Linear(4, 3), torch.nn.Linear(3, 2))
        self.optim = torch.optim.AdamW(self.model.parameters(), lr=0.1)
        self.model(torch.ones(1, 4)).sum().backward()
        self.optim.step()

    def state_dict(self):
        model, optim = get_state_dict(self.model, self.optim)
        return {"model": model, "optim": optim}

    def load_state_dict(self, state):
        set_state_dict(
            self.model, self.optim, model_state_dict=state["model"], optim_state_dict=state["optim"]
        )


trained, resumed, again = AppState(1), AppState(2), AppState(3)
dcp.save({"app": trained}, checkpoint_id=f"{folder}/step-1")
save({"app": trained, "step": 2}, storage_writer=FileSystemWriter(f"{folder}/step-2"))
dcp.load({"app": resumed}, checkpoint_id=f"{folder}/step-1")
step = {"app": again, "step": 0}
load(step, storage_reader=FileSystemReader(f"{folder}/step-2"))
load_again(step, checkpoint_id=f"{folder}/step-2")
states = [app.state_dict() for app in (trained, resumed, again)]
"""


@pytest.mark.filterwarnings("ignore:.*before patch_torch")
def test_a_trainer_that_cannot_be_edited_saves_and_loads_through_dcpcpp(tmp_path: Path) -> None:
    script = tmp_path / "trainer.py"
    script.write_text(TRAINER)
    with dcpcpp.patch_torch():
        ran = runpy.run_path(str(script), {"folder": str(tmp_path)}, run_name="__main__")
    trained, resumed, again = ran["states"]
    require_equal(resumed, trained)
    require_equal(again, trained)
    assert ran["step"]["step"] == 2
    for step in ("step-1", "step-2"):
        assert list((tmp_path / step).glob(".dcpcpp-*")), f"libdcp wrote {step}"
        by_stock = {"app": blank(trained)}
        stock.load(by_stock, checkpoint_id=tmp_path / step)
        require_equal(by_stock["app"], trained)


@pytest.mark.filterwarnings("ignore:.*before patch_torch")
def test_torchs_converters_read_and_write_through_dcpcpp(tmp_path: Path) -> None:
    """Its two functions are swapped, and names of its own for readers and writers."""
    from torch.distributed.checkpoint import format_utils

    stock.save(STATE, checkpoint_id=tmp_path / "c")
    damaged = tmp_path / "c" / "__0_0.distcp"
    format_utils.dcp_to_torch_save(tmp_path / "c", tmp_path / "plain.pt")
    faults.flip_byte(damaged, damaged.read_bytes().index(STATE["w"].numpy().tobytes()))
    with dcpcpp.patch_torch(), pytest.raises(dcpcpp.CheckpointCorruptedError):
        format_utils.dcp_to_torch_save(tmp_path / "c", tmp_path / "damaged.pt")
    assert not (tmp_path / "damaged.pt").exists()
    plain = torch.load(tmp_path / "plain.pt", weights_only=True)
    assert torch.equal(plain["w"], STATE["w"])
