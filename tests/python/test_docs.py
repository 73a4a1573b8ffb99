"""docs/: the site can be built, and what its pages quote is what the library says."""

from __future__ import annotations

import importlib.util
import pathlib
import re
import subprocess
import sys
from types import ModuleType

import pytest

import dcpcpp

ROOT = pathlib.Path(__file__).parents[2]
DOCS = ROOT / "docs"


def test_the_site_is_built_without_a_warning(tmp_path: pathlib.Path) -> None:
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet"]
    done = subprocess.run(
        [*command, "-f", str(ROOT / "mkdocs.yml"), "-d", str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    reference = (tmp_path / "api.html").read_text()
    assert "an older step" in (tmp_path / "troubleshooting.html").read_text()
    assert "Save a distributed state dict" in reference
    assert (tmp_path / "src" / "format" / "FORMAT.html").exists()


def test_every_page_is_in_the_navigation() -> None:
    navigation = (ROOT / "mkdocs.yml").read_text()
    missing = [page.name for page in DOCS.glob("*.md") if f": {page.name}\n" not in navigation]
    assert missing == []


def test_every_name_of_ours_is_in_the_reference() -> None:
    described = set(re.findall(r"^::: dcpcpp\.(\w+)$", (DOCS / "api.md").read_text(), re.MULTILINE))
    ours = {
        name
        for name in dcpcpp.__all__
        if getattr(dcpcpp, name).__module__.partition(".")[0] == "dcpcpp"
    }
    assert described == ours


@pytest.fixture(scope="module")
def transcripts() -> ModuleType:
    path = ROOT / "tools" / "cli_transcripts.py"
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_commands_print_what_the_pages_show(transcripts: ModuleType) -> None:
    pages = list(transcripts.filled_pages())
    assert DOCS / "command_line.md" in [page for page, _ in pages]
    for page, text in pages:
        assert page.read_text() == text, f"{page.name}: run tools/cli_transcripts.py"


def test_the_errors_that_are_explained_are_ones_that_are_raised() -> None:
    sources = [*(ROOT / "src").rglob("*.cc"), *(ROOT / "python").rglob("*.py")]
    said = "\n".join(path.read_text() for path in sources)
    said = re.sub(r'"\s*\n\s*f?"', "", said)  # a text in several lines
    messages = re.findall(r"^\| `(.+?)`", (DOCS / "troubleshooting.md").read_text(), re.MULTILINE)
    assert len(messages) > 10
    for message in messages:
        for part in message.split("…"):
            assert part.strip() in said, message
