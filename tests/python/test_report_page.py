"""`dcpcpp report`: a page that shows a checkpoint, and runs nothing that is in its names."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

import dcpcpp
from dcpcpp import _report_data
from support.command_line import command
from support.states import ramp

HOSTILE = [
    "</script><script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "<!--<script>",
    "{{script}}",
    "&lt;b&gt;\u2028\N{SNOWMAN}",
]


def state() -> dict[str, Any]:
    tensors = {"model.a": ramp(30, 40), "model.b": torch.tensor([1.0, 2.0, float("inf")])}
    return {**tensors, **{key: ramp(4) for key in HOSTILE}, "step": 7}


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("places")
    dcpcpp.save(state(), checkpoint_id=root / "step-1")
    other = state()
    other["model.a"] = other["model.a"] + 1
    del other["model.b"]
    dcpcpp.save(other, checkpoint_id=root / "step-2")
    return root


def page_of(*arguments: str | Path) -> str:
    output = Path(str(arguments[0])).parent / "page.html"
    done = command("report", *arguments, "-o", output)
    assert done.exit_code == 0, done.output
    return output.read_text(encoding="utf-8")


def data_in(page: str) -> dict[str, Any]:
    (text,) = re.findall(r'<script type="application/json" id="data">(.*?)</script>', page)
    data: dict[str, Any] = json.loads(text)
    assert data["schema"] == 1
    return data


def test_names_in_a_checkpoint_never_become_markup(places: Path) -> None:
    page = page_of(places / "step-1")
    assert page.lower().count("<script") == page.lower().count("</script>") == 2
    assert "<img" not in page
    assert "<!--" not in page
    assert {tensor["key"] for tensor in data_in(page)["tensors"]} >= set(HOSTILE)
    assert "\u2028" not in page


def test_the_policy_lets_only_the_pages_own_script_run(places: Path) -> None:
    page = page_of(places / "step-1")
    script = page.rpartition("<script>")[2].rpartition("</script>")[0]
    style = page.partition("<style>")[2].partition("</style>")[0]
    (policy,) = re.findall(r'Content-Security-Policy" content="([^"]*)"', page)
    hashes = [
        base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        for text in (script, style)
    ]
    assert policy == (
        f"default-src 'none'; script-src 'sha256-{hashes[0]}'; style-src 'sha256-{hashes[1]}'"
    )
    assert "innerHTML" not in script
    assert set(re.findall(r"https?://[^\"]*", page)) == {"http://www.w3.org/2000/svg"}


def test_a_page_shows_what_the_other_commands_tell(places: Path) -> None:
    data = data_in(page_of(places / "step-1"))
    assert data["info"]["tensors"] == len(state()) - 1
    assert data["tree"]["nbytes"] == data["info"]["nbytes"]
    assert {child["name"] for child in data["tree"]["children"]} >= {"model", "{{script}}"}
    assert data["layout"]["files"][0]["name"] == "__0_0.distcp"
    assert (data["verify"], data["histograms"], data["compare"]) == (None, [], None)


def test_data_is_read_where_that_is_asked(places: Path) -> None:
    page = page_of(
        places / "step-1",
        *("--verify", "--tensor", "model.*", "--compare", places / "step-2", "--values"),
    )
    data = data_in(page)
    assert (data["verify"]["status"], data["verify"]["has_checksums"]) == ("clean", True)
    a, b = data["histograms"]
    assert sum(a["counts"]) == 1200
    assert (sum(b["counts"]), b["positive_inf"]) == (2, 1)
    compare = data["compare"]
    assert compare["only_in_a"] == ["model.b"]
    assert [value["key"] for value in compare["values"]] == ["model.a"]
    assert compare["values_count"] == 1
    assert compare["other"]["step"] == 2


@pytest.mark.parametrize("arguments", [["--tensor", "absent"], ["--values"]])
def test_a_wrong_wish_is_one_line(places: Path, arguments: list[str], tmp_path: Path) -> None:
    done = command("report", places / "step-1", *arguments, "-o", tmp_path / "page.html")
    assert done.exit_code == 2
    assert len(done.stderr.splitlines()) == 1
    assert not (tmp_path / "page.html").exists()


def test_files_without_checksums_are_not_called_whole(tmp_path: Path) -> None:
    (tmp_path / "hf").mkdir()
    save_file({"a": ramp(4)}, tmp_path / "hf" / "model.safetensors")
    page = page_of(tmp_path / "hf", "--verify")
    verify = data_in(page)["verify"]
    assert (verify["status"], verify["has_checksums"]) == ("clean", False)
    assert '"headers only: these files have no checksums", ""' in page


def test_the_largest_boxes_are_opened_first() -> None:
    sizes = {f"optimizer.{i}.{j}": 8 for i in range(100) for j in range(60)}
    sizes |= {f"model.{i}": 400 for i in range(10)}
    tensors = [SimpleNamespace(fqn=key, nbytes=nbytes) for key, nbytes in sizes.items()]
    about: Any = SimpleNamespace(tensors=tensors)
    top = _report_data._tree_json(about)
    optimizer, model = top["children"]
    assert len(optimizer["children"]) == 81
    assert len(model["children"]) == 10
    assert sum(len(child["children"]) > 0 for child in optimizer["children"]) >= 60


def test_a_page_stays_small_whatever_the_checkpoint(tmp_path: Path) -> None:
    tensors = {f"layers.{i}.weight": torch.zeros(1) for i in range(3000)}
    dcpcpp.save(tensors, checkpoint_id=tmp_path / "many")
    data = data_in(page_of(tmp_path / "many"))
    assert len(data["tensors"]) == 500
    (layers,) = data["tree"]["children"]
    assert layers["children"][-1]["name"] == "(2,920 others)"
    assert layers["children"][-1]["nbytes"] == 2920 * 4
