"""`dcpcpp ls`, `info`, `tree`, `stats` and `diff`; `verify` of safetensors files."""

from __future__ import annotations

from pathlib import Path

import pytest
import safetensors.torch
import torch

import dcpcpp
from support import faults
from support.command_line import command, json_of
from support.states import ramp


def model() -> dict[str, torch.Tensor]:
    return {
        "model.layers.0.weight": ramp(30, 40),
        "model.layers.1.weight": ramp(30, 40),
        "model.norm": ramp(40, dtype=torch.bfloat16),
        "head": torch.tensor([1.0, -3.0, float("nan"), 5.0]),
    }


NBYTES = 2 * 30 * 40 * 4 + 80 + 16


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The same model in every format."""
    root = tmp_path_factory.mktemp("places")
    dcpcpp.save({**model(), "step": 7}, checkpoint_id=root / "step-7")
    (root / "hf").mkdir()
    safetensors.torch.save_file(model(), root / "hf" / "model.safetensors")
    torch.save(model(), root / "model.pt")
    return {
        "dcp": root / "step-7",
        "safetensors": root / "hf",
        "file": root / "hf" / "model.safetensors",
        "torch": root / "model.pt",
    }


@pytest.mark.parametrize("name", ["dcp", "safetensors", "file", "torch"])
def test_every_format_is_described(places: dict[str, Path], name: str) -> None:
    about = json_of("info", places[name])
    assert about["format"] == ("safetensors" if name == "file" else name)
    assert about["written_by_dcpcpp"] == (name == "dcp")
    assert (about["step"], about["ranks"]) == ((7, 1) if name == "dcp" else (None, None))
    assert (about["tensors"], about["objects"]) == (4, 1 if name == "dcp" else 0)
    assert about["nbytes"] == NBYTES
    assert [total["name"] for total in about["by_dtype"]] == ["float32", "bfloat16"]
    assert about["by_module"][0] == {
        "name": "model",
        "tensors": 3,
        "elements": 2440,
        "nbytes": NBYTES - 16,
    }
    text = command("info", places[name]).stdout
    assert "4 tensors, 2,444 elements, 9.7 kB (9,696 bytes)" in text
    listed = json_of("ls", places[name])["tensors"]
    shapes = {tensor["key"]: tuple(tensor["shape"]) for tensor in listed}
    assert shapes == {key: tuple(tensor.shape) for key, tensor in model().items()}


def test_ls_lists_what_matches(places: dict[str, Path]) -> None:
    lines = command("ls", places["dcp"], "*.0.*", "st?p").stdout.splitlines()
    assert lines[0].split() == ["dtype", "shape", "size", "chunks", "key"]
    assert lines[1].split() == ["float32", "[30,", "40]", "4.8", "kB", "1", "model.layers.0.weight"]
    assert lines[2].split()[0] == "object"
    assert lines[2].endswith("step")
    assert len(lines) == 3
    for name in ("ls", "layout"):
        done = command(name, places["dcp"], "x*", "y")
        assert (done.exit_code, done.stderr) == (0, "no key matches x* or y\n")
    listed = json_of("ls", places["dcp"], "model.norm")
    assert listed["objects"] == []
    assert listed["tensors"] == [
        {
            "key": "model.norm",
            "dtype": "bfloat16",
            "shape": [40],
            "nbytes": 80,
            "chunks": 1,
            "files": ["__0_0.distcp"],
        }
    ]


def test_tree_shows_modules_down_to_a_depth(places: dict[str, Path]) -> None:
    lines = command("tree", places["safetensors"], "--depth", "2").stdout.splitlines()
    names = [line.lstrip("└├│─ ").split()[0] for line in lines[1:]]
    assert sorted(names) == ["head", "layers", "model", "norm"]
    (layers,) = (line for line in lines if "layers" in line)
    assert layers.split()[-4:] == ["2", "tensors", "9.6", "kB"]
    told = json_of("tree", places["safetensors"], "--depth", "2")
    assert (told["format"], told["tensors"]) == ("safetensors", 4)
    (of_model,) = (child for child in told["children"] if child["name"] == "model")
    below = {child["name"]: child for child in of_model["children"]}
    assert below["layers"] == {"name": "layers", "tensors": 2, "nbytes": 9600, "children": []}


def test_stats_are_those_of_torch(places: dict[str, Path]) -> None:
    tensor = model()["model.layers.1.weight"].double()
    for name in ("dcp", "safetensors", "torch"):
        found = json_of("stats", places[name], "model.layers.1.weight")
        assert found["min"] == tensor.min().item()
        assert found["max"] == tensor.max().item()
        assert found["mean"] == pytest.approx(tensor.mean().item(), rel=1e-12)
        assert found["std"] == pytest.approx(tensor.std(correction=0).item(), rel=1e-12)
    for key, hint in (
        ("model.layer.1.weight", "did you mean model.layers.1.weight?"),
        ("step", "step is an object"),
        ("xyz", "`dcpcpp ls` lists those that there are"),
    ):
        done = command("stats", places["dcp"], key)
        error = f"dcpcpp: error: no tensor {key} in the checkpoint; {hint}\n"
        assert (done.exit_code, done.stderr) == (2, error)
    found = json_of("stats", places["dcp"], "head")
    assert (found["nan"], found["max"], found["mean"]) == (1, 5.0, 1.0)
    assert "nan           1" in command("stats", places["dcp"], "head").stdout


def test_diff_tells_keys_forms_and_values(places: dict[str, Path], tmp_path: Path) -> None:
    same = json_of("diff", places["safetensors"], places["torch"], "--values")
    assert same["status"] == "equal"
    assert same["nbytes_compared"] == NBYTES
    other = model()
    del other["model.layers.0.weight"]
    other["model.norm"] = other["model.norm"].float()
    other["head"][1] = -2.5
    torch.save(other, tmp_path / "other.pt")
    different = json_of("diff", places["dcp"], tmp_path / "other.pt", "--values", code=1)
    assert different["only_in_a"] == ["model.layers.0.weight", "step"]
    assert different["only_in_b"] == []
    assert different["forms"] == [
        {
            "key": "model.norm",
            "a": {"dtype": "bfloat16", "shape": [40]},
            "b": {"dtype": "float32", "shape": [40]},
        }
    ]
    assert different["values"] == [{"key": "head", "elements": 1, "max_distance": 0.5}]
    done = command("diff", places["dcp"], tmp_path / "other.pt", "--values")
    assert done.exit_code == 1
    assert "~ model.norm: bfloat16 [40] -> float32 [40]" in done.stdout
    assert "! head: 1 element differs, by 0.5 at most" in done.stdout


def test_wrong_use_is_one_line_and_exit_code_2(places: dict[str, Path], tmp_path: Path) -> None:
    nowhere = tmp_path / "nowhere"
    for arguments in (
        ["info", nowhere],
        ["ls", "s3://bucket/step-7"],
        ["stats", places["dcp"], "step"],
        ["diff", places["dcp"], nowhere],
    ):
        done = command(*arguments)
        assert done.exit_code == 2, arguments
        (line,) = done.stderr.splitlines()
        assert line.startswith("dcpcpp: error: ")
    page = nowhere / "page.html"
    done = command("report", places["dcp"], "-o", page)
    assert done.stderr == f"dcpcpp: error: {page}: No such file or directory\n"


def test_a_path_without_a_checkpoint_is_told_for_what_it_is(
    places: dict[str, Path], tmp_path: Path
) -> None:
    nowhere, empty, run, unfinished = (
        tmp_path / name for name in ("nowhere", "empty", "run", "unfinished")
    )
    empty.mkdir()
    for step in ("step-7", "step-12", "step-notes"):
        (run / step).mkdir(parents=True)
    unfinished.mkdir()
    (unfinished / "__0_0.distcp").write_bytes(b"x")
    says = {
        nowhere: f"there is nothing at {nowhere}",
        empty: f"there is no checkpoint in {empty}: it has neither .metadata nor safetensors files",
        run: f"{run} is a folder of steps, not a checkpoint; name one, {run}/step-12 for example",
        unfinished: f"there is no checkpoint in {unfinished}: it has data files, but not "
        ".metadata, which a save writes last; none was finished here",
    }
    for path, text in says.items():
        for arguments in (
            ["info", path],
            ["ls", path],
            ["tree", path],
            ["layout", path],
            ["stats", path, "w"],
            ["diff", places["dcp"], path],
            ["verify", path, "--json"],
            ["report", path, "-o", tmp_path / "page.html"],
            ["convert", path, tmp_path / "new"],
            ["cp", path, tmp_path / "new"],
            ["reshard", path, tmp_path / "new", "--ranks", "2"],
        ):
            done = command(*arguments)
            said = (done.exit_code, done.stdout, done.stderr)
            assert said == (2, "", f"dcpcpp: error: {text}\n"), arguments
    assert not (tmp_path / "new").exists()


def test_damage_is_exit_code_1(places: dict[str, Path], tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    path.write_bytes(places["file"].read_bytes()[:-1])
    done = command("tree", path)
    assert done.exit_code == 1
    assert str(path) in done.stderr


def test_verify_checks_safetensors_files(places: dict[str, Path], tmp_path: Path) -> None:
    whole = dcpcpp.verify(places["safetensors"])
    assert whole.ok
    assert (whole.format, whole.written_by, whole.tensors) == ("safetensors", None, 4)
    done = command("verify", places["safetensors"])
    assert "4 tensors, 0 objects, 1 file, without checksums of their data; checked h" in done.stdout
    alone = dcpcpp.verify(places["file"])
    assert alone.ok
    assert (alone.written_by, alone.tensors, alone.files) == (None, 4, 1)
    writer = dcpcpp.HuggingFaceStorageWriter(tmp_path / "ours")
    dcpcpp.save(model(), storage_writer=writer)
    assert json_of("verify", tmp_path / "ours")["written_by"] == "dcpcpp"
    path = tmp_path / "ours" / "model.safetensors"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    damaged = json_of("verify", tmp_path / "ours", code=1)
    assert damaged["status"] == "damaged"
    assert damaged["damages"][0]["path"] == str(path)
    assert json_of("verify", path, code=1)["damages"] == damaged["damages"]


def test_looking_needs_no_torch(places: dict[str, Path]) -> None:
    done = faults.run_python(
        f"""
        import sys
        sys.modules["torch"] = sys.modules["numpy"] = None  # imports of them fail
        sys.argv = ["dcpcpp", "diff", {str(places["dcp"])!r}, {str(places["torch"])!r}, "--values"]
        from dcpcpp.cli import main
        main()
        """
    )
    assert done.returncode == 1, done.stderr
    assert "- step" in done.stdout


def test_info_imports_nothing_that_it_does_not_need(places: dict[str, Path]) -> None:
    """It answers at once, or nobody asks it."""
    others = ["torch", "numpy", "rich", "statistics", "tempfile", "dcpcpp._convert"]
    done = faults.run_python(
        f"""
        import contextlib, sys
        sys.argv = ["dcpcpp", "info", {str(places["dcp"])!r}]
        from dcpcpp.cli import main
        with contextlib.suppress(SystemExit):
            main()
        print("imported:", sorted(sys.modules.keys() & {others!r}))
        """
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "imported: []"


def test_a_command_that_is_not_there_is_told_what_was_meant() -> None:
    done = command("inof")
    assert done.exit_code == 2
    assert "info" in done.stderr
