"""What `make` would do: everything on a new machine, and on the next one only what is new."""

from __future__ import annotations

import os
import pathlib
import subprocess

import pytest

ROOT = pathlib.Path(__file__).parents[2]


def recipes(target: str, folder: pathlib.Path) -> list[str]:
    """The lines that `make target` would run, with its environment and build in `folder`."""
    places = [f"VENV={folder / 'venv'}", f"BUILD={folder / 'build'}"]
    command = ["make", "--dry-run", "--no-print-directory", target, *places]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    return done.stdout.splitlines()


@pytest.fixture
def ready(tmp_path: pathlib.Path) -> pathlib.Path:
    """A folder with the marks of a set-up and of a build that have been."""
    for mark in ("venv/.ready", "build/.installed"):
        (tmp_path / mark).parent.mkdir()
        (tmp_path / mark).touch()
    return tmp_path


SET_UP = ("tools/install_system_packages.sh", "-m venv", "-r requirements-dev.txt", "-e .")


@pytest.mark.parametrize(
    ("target", "last"), [("demo", "examples/python/demo.py"), ("test", "-m pytest")]
)
def test_a_first_run_sets_up_builds_and_runs(
    target: str, last: str, tmp_path: pathlib.Path
) -> None:
    lines = recipes(target, tmp_path)
    text = "\n".join(lines)
    at = [text.index(word) for word in (*SET_UP, "cmake --build", last)]
    assert at == sorted(at)
    assert lines[-1].endswith(last)


@pytest.mark.parametrize("target", ["demo", "test"])
def test_a_second_run_sets_nothing_up_again(target: str, ready: pathlib.Path) -> None:
    text = "\n".join(recipes(target, ready))
    assert not [word for word in (*SET_UP, "pip install") if word in text]
    assert "cmake --build" in text, "what was edited is built"


def test_other_requirements_are_installed(ready: pathlib.Path) -> None:
    os.utime(ready / "venv" / ".ready", (0, 0))
    text = "\n".join(recipes("demo", ready))
    assert all(word in text for word in SET_UP)


def test_ci_is_all_tests_and_then_all_linters() -> None:
    commands = [
        line for line in (ROOT / ".ci" / "run").read_text().splitlines() if line.startswith("make ")
    ]
    assert commands == ["make test", "make lint"]
    linters = (ROOT / "tools" / "lint.sh").read_text()
    for name in ("clang-format", "clang-tidy", "ruff", "mypy"):
        assert f"\nstep {name} " in linters
