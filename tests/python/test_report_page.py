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
from dcpcpp import _report_data, _report_timeline
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
    assert data["timeline"] is None


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


@pytest.mark.parametrize("options", [[], ["--verify"], ["--tensor", "a", "--compare"]])
def test_a_single_safetensors_file_has_a_page(tmp_path: Path, options: list[str]) -> None:
    file = tmp_path / "model.safetensors"
    save_file({"a": ramp(4), "b": ramp(3)}, file)
    others = [file] if "--compare" in options else []
    data = data_in(page_of(file, *options, *others))
    assert (data["info"]["format"], data["info"]["tensors"]) == ("safetensors", 2)
    assert [found["name"] for found in data["layout"]["files"]] == ["model.safetensors"]
    if "--verify" in options:
        assert (data["verify"]["status"], data["verify"]["files"]) == ("clean", 1)
    if others:
        assert data["compare"]["status"] == "equal"


def test_a_page_draws_the_time_line_of_the_save(tmp_path: Path) -> None:
    stats = dcpcpp.SaveStats()
    dcpcpp.save(state(), checkpoint_id=tmp_path / "step-1", stats=stats)
    assert data_in(page_of(tmp_path / "step-1"))["timeline"] is None
    stats.write_trace(tmp_path / "0.json")
    stats.rank = 1
    stats.write_trace(tmp_path / "1.json")
    traces = [option for name in "10" for option in ("--trace", tmp_path / f"{name}.json")]
    line = data_in(page_of(tmp_path / "step-1", *traces))["timeline"]
    assert set(line["names"]) == set(stats.phases)
    assert [rank["rank"] for rank in line["ranks"]] == [0, 1]
    rank = line["ranks"][0]
    assert rank["path"] == str(tmp_path / "step-1")
    assert rank["phases"] == [stats.phases[name] for name in line["names"]]
    assert stats.seconds is not None
    assert stats.seconds <= line["seconds"] == pytest.approx(stats.seconds, abs=0.01)
    spans = [span for thread in rank["threads"] for span in thread]
    written = sum(nbytes for name, *_, nbytes in spans if line["names"][name] == "write")
    assert written == stats.nbytes
    assert all(0 <= begin <= end <= line["seconds"] for _, begin, end, _ in spans)


def test_spans_that_are_less_than_a_pixel_apart_are_drawn_as_one(tmp_path: Path) -> None:
    events = [
        {"name": name, "ts": 1e6 * begin, "dur": 1e6 * took, "tid": tid, "args": {"nbytes": 1}}
        for tid in range(40)
        for name, begin, took in (
            ("write", 0, 0.1),
            ("write", 0.1004, 0.1),
            ("fill", 0.15, 0.2),
            ("write", 0.9, 0.1),
        )
    ]
    about = {"rank": 3, "path": "/c", "seconds": 1.0, "dropped": 0, "phases": {}}
    content = {"traceEvents": events, "otherData": about}
    (tmp_path / "trace.json").write_text(json.dumps(content))
    line = _report_timeline.timeline_json([str(tmp_path / "trace.json")])
    assert line is not None
    (rank,) = line["ranks"]
    assert (len(rank["threads"]), rank["thread_count"]) == (32, 40)
    for thread in rank["threads"]:
        spans = [(line["names"][name], *map(pytest.approx, span)) for name, *span in thread]
        assert spans == [("write", 0, 0.2004, 2), ("fill", 0.15, 0.35, 1), ("write", 0.9, 1, 1)]


def test_a_time_line_stays_small_whatever_the_trace(tmp_path: Path) -> None:
    events = [
        {"name": name, "ts": 10.0 * i, "dur": 1, "tid": tid, "args": {}}
        for i in range(100)
        for tid in range(8)
        for name in ("fill", "write")
    ]
    about = {"rank": 0, "path": "/c", "seconds": None, "dropped": 0, "phases": {}}
    content = {"traceEvents": events, "otherData": about}
    (tmp_path / "trace.json").write_text(json.dumps(content))
    line = _report_timeline.timeline_json([str(tmp_path / "trace.json")] * 40)
    assert line is not None
    assert (len(line["ranks"]), line["rank_count"]) == (32, 40)
    drawn = sum(len(thread) for rank in line["ranks"] for thread in rank["threads"])
    assert drawn <= _report_timeline.MAX_SPANS


@pytest.mark.parametrize(
    "content",
    [
        "",
        "[]",
        "{}",
        '{"traceEvents": [], "otherData": {"dropped": 0}}',
        '{"traceEvents": [{"ts": NaN}], "otherData": {}}',
        "[" * 100_000,
    ],
)
def test_what_is_no_trace_is_told_in_one_line(places: Path, tmp_path: Path, content: str) -> None:
    (tmp_path / "trace.json").write_text(content)
    done = command("report", places / "step-1", "--trace", tmp_path / "trace.json")
    assert done.exit_code == 2
    (line,) = done.stderr.splitlines()
    assert "is no trace of a save: SaveStats.write_trace writes one" in line


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
