"""The pages beside the code: what they name is there."""

from __future__ import annotations

import pathlib
import re

import pytest

ROOT = pathlib.Path(__file__).parents[2]
PAGES = [
    page
    for folder in ("", "benchmarks", "docs", "examples", "src", "tests/golden", "tests/torchtitan")
    for page in sorted((ROOT / folder).glob("**/*.md" if folder else "*.md"))
]
CODE = ("src", "include", "python", "bindings", "cmake", "tools", "examples", "tests")
# Written into tests/golden by scripts, or generated.
LONG = {"python/dcpcpp/_core.pyi", "tests/golden/make_golden.py"}


def name_of(page: pathlib.Path) -> str:
    return str(page.relative_to(ROOT))


def files_of_code() -> list[pathlib.Path]:
    endings = {".cc", ".h", ".py", ".pyi", ".cmake", ".md", ".sh"}
    return [
        path
        for folder in CODE
        for path in (ROOT / folder).rglob("*")
        if path.suffix in endings and path.is_file()
    ]


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_links_lead_somewhere(page: pathlib.Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", page.read_text()):
        if "://" not in target:
            assert (page.parent / target).exists(), target


def test_the_map_of_the_code_names_what_is_there() -> None:
    text = (ROOT / "src" / "README.md").read_text()
    names = re.findall(r"`([\w./]+\.(?:h|cc|py|md|cmake)|[\w./]+/)`", text)
    assert len(names) > 50
    there = [str(path) for path in files_of_code()]
    for name in names:
        beside = (ROOT / name).exists() or (ROOT / "src" / name).exists()
        ending = "/" + name.replace("../", "")
        assert beside or any(path.endswith(ending) for path in there), name


def test_every_module_has_its_row_in_the_map() -> None:
    rows = re.findall(r"^\| `([^`]+)`", (ROOT / "src" / "README.md").read_text(), re.MULTILINE)
    modules = {f"{path.name}/" for path in (ROOT / "src").iterdir() if path.is_dir()}
    assert modules <= set(rows)


def test_each_feature_of_torchtitan_has_its_test() -> None:
    text = (ROOT / "tests" / "torchtitan" / "README.md").read_text()
    rows = re.findall(r"^\| ([^|]+) \| ([^|]+) \|$", text, re.MULTILINE)
    assert len(rows) > 40
    files = {
        path.name: path for path in (ROOT / "tests").rglob("*") if path.suffix in (".cc", ".py")
    }
    for row, tests in rows:
        cited = re.findall(r"`(\w+\.(?:cc|py))::([^`]+)`", tests)
        assert cited or tests.startswith(("[", "not applicable", "tests")), row
        for file, name in cited:
            code = re.sub(r'"\s*\n\s*"', "", files[file].read_text())  # a text in several lines
            assert f'"{name}"' in code or f"def {name}(" in code, (row, name)


def test_a_file_has_300_lines_at_most() -> None:
    too_long = {
        name_of(path): lines
        for path in files_of_code()
        if (lines := len(path.read_text().splitlines())) > 300
    }
    assert set(too_long) <= LONG, too_long
