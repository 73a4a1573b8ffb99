"""Names: torch's own objects under torch's names, and no torch where none is needed."""

from __future__ import annotations

import importlib
import pathlib
import pickle
import re
import subprocess
import sys
import textwrap

import pytest
import torch
import torch.distributed.checkpoint as stock

import dcpcpp
from support.states import ramp

# torch's classes and functions that dcpcpp hands on, by the module that torch has them in.
SAME = {
    "": "BytesStorageMetadata ChunkStorageMetadata DefaultLoadPlanner DefaultSavePlanner "
    "LoadPlan LoadPlanner Metadata ReadItem SavePlan SavePlanner StorageReader StorageWriter "
    "TensorStorageMetadata WriteItem load_sharded_optimizer_state_dict",
    "metadata": "MetadataIndex StorageMeta TensorProperties",
    "planner": "LoadItemType TensorWriteData WriteItemType",
    "storage": "WriteResult",
    "stateful": "Stateful",
    "filesystem": "FileSystem FileSystemBase SerializationFormat",
    "default_planner": "create_default_global_load_plan create_default_global_save_plan "
    "create_default_local_load_plan create_default_local_save_plan",
    "_extension": "ExtensionRegistry StreamTransformExtension ZStandard",
    "staging": "AsyncStager BlockingAsyncStager StagingOptions",
    "state_dict_saver": "AsyncCheckpointerType AsyncSaveResponse",
}
# Those that are ours, and derive from torch's.
DERIVED = {
    "CheckpointException": "",
    "FileSystemReader": "",
    "FileSystemWriter": "",
    "FsspecReader": "_fsspec_filesystem",
    "FsspecWriter": "_fsspec_filesystem",
    "HuggingFaceStorageReader": "",
    "HuggingFaceStorageWriter": "",
    "QuantizedHuggingFaceStorageReader": "",
}


def torchs(module: str, name: str):
    path = "torch.distributed.checkpoint" + (f".{module}" if module else "")
    return getattr(importlib.import_module(path), name)


@pytest.mark.parametrize(
    ("module", "name"), [(module, name) for module, names in SAME.items() for name in names.split()]
)
def test_torchs_classes_are_torchs_own_objects(module: str, name: str) -> None:
    assert getattr(dcpcpp, name) is torchs(module, name)
    assert name in dir(dcpcpp)


@pytest.mark.parametrize("name", DERIVED)
def test_our_classes_derive_from_torchs(name: str) -> None:
    theirs = torchs(DERIVED[name], name)
    assert issubclass(getattr(dcpcpp, name), theirs)
    assert getattr(dcpcpp, name) is not theirs


SUBMODULES = [
    *("_extension", "_fsspec_filesystem", "_nested_dict", "api", "default_planner", "filesystem"),
    *("hf_storage", "logger", "metadata", "optimizer", "planner"),
    *("planner_helpers", "resharding", "staging", "state_dict", "state_dict_loader"),
    *("state_dict_saver", "stateful", "storage", "utils"),
]


@pytest.mark.parametrize("module", SUBMODULES)
def test_torchs_submodules_are_reachable(module: str) -> None:
    assert getattr(dcpcpp, module) is importlib.import_module(
        f"torch.distributed.checkpoint.{module}"
    )


def test_torchs_submodules_can_be_imported_under_our_name() -> None:
    for name in SUBMODULES:
        theirs = importlib.import_module(f"torch.distributed.checkpoint.{name}")
        spec = theirs.__spec__
        assert importlib.import_module(f"dcpcpp.{name}") is theirs
        assert theirs.__spec__ is spec
        assert theirs.__name__ == f"torch.distributed.checkpoint.{name}"
    with pytest.raises(ModuleNotFoundError, match=r"dcpcpp\.nonsense"):
        importlib.import_module("dcpcpp.nonsense")


def test_no_module_of_ours_hides_one_of_torchs() -> None:
    ours = pathlib.Path(dcpcpp.__file__).parent
    theirs = pathlib.Path(stock.__file__).parent
    hidden = {path.name for path in ours.iterdir()} & {path.name for path in theirs.iterdir()}
    # Those that take over torch's functions, and hand out the rest.
    own = {"_consolidate_hf_safetensors.py", "format_utils.py"}
    assert hidden - {"__init__.py", "__pycache__"} == own


def test_every_public_name_exists() -> None:
    for name in dcpcpp.__all__:
        assert getattr(dcpcpp, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        _ = dcpcpp.nonsense


def run_python(code: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


WITHOUT_TORCH = """
    import sys

    class NoTorch:
        def find_spec(self, name, path=None, target=None):
            if name.partition(".")[0] == "torch":
                raise ModuleNotFoundError(f"No module named {name!r}", name=name)

    sys.meta_path.insert(0, NoTorch())
"""


def test_importing_needs_no_torch() -> None:
    printed = run_python(
        WITHOUT_TORCH
        + """
    import dcpcpp
    from dcpcpp import CheckpointCorruptedError, LoadReport
    dcpcpp.show_config()
    assert "save" in dir(dcpcpp)
    try:
        dcpcpp.save
    except AttributeError as error:
        print("asked:", error)
    except ModuleNotFoundError as error:
        print("asked:", error)
    assert not any(name.partition(".")[0] == "torch" for name in sys.modules)
    """
    )
    assert "I/O engine" in printed
    assert "asked:" in printed
    assert "torch" in printed.partition("asked:")[2]


def test_importing_imports_no_torch_that_is_there() -> None:
    run_python("import dcpcpp, sys; assert 'torch' not in sys.modules")


def test_nothing_links_torch_or_cuda_or_python() -> None:
    core = pathlib.Path(importlib.import_module("dcpcpp._core").__file__)
    libraries = [core, *core.parent.glob("lib/libdcp.so")]
    assert len(libraries) == 2
    for library in libraries:
        listed = subprocess.run(
            ["readelf", "--dynamic", library], capture_output=True, text=True, check=True
        )
        needed = re.findall(r"\(NEEDED\).*\[lib([a-z0-9_]+)", listed.stdout)
        assert "stdc" in needed
        assert not [name for name in needed if re.match("torch|c10|cuda|nccl|nvidia|python", name)]


def test_the_result_of_a_save_is_torchs_metadata_in_every_use(tmp_path: pathlib.Path) -> None:
    """It is made when first looked at, which nobody should notice."""
    import copy
    import dataclasses

    def save() -> stock.Metadata:
        return dcpcpp.save({"w": ramp(3), "step": 1}, checkpoint_id=tmp_path)

    assert isinstance(save(), stock.Metadata)
    assert set(save().state_dict_metadata) == {"w", "step"}
    for copied in (copy.copy(save()), copy.deepcopy(save()), pickle.loads(pickle.dumps(save()))):
        assert type(copied) is stock.Metadata
        assert copied.planner_data == {"w": ("w",), "step": ("step",)}
    assert dataclasses.replace(save(), version="2").version == "2"
    assert [field.name for field in dataclasses.fields(save())]
    assert "state_dict_metadata" in vars(save())
    assert "TensorStorageMetadata" in repr(save())
    metadata = save()
    metadata.planner_data = None
    assert metadata.planner_data is None


def test_metadata_on_disk_is_what_save_returned(tmp_path: pathlib.Path) -> None:
    returned = dcpcpp.save({"w": ramp(3), "step": 1}, checkpoint_id=tmp_path)
    with (tmp_path / ".metadata").open("rb") as file:
        assert pickle.load(file) == returned
    assert returned.storage_meta.checkpoint_id == str(tmp_path)
    assert torch.equal(dcpcpp.load_full(tmp_path)["w"], ramp(3))
