"""tools/install_system_packages.sh, which `make` runs first: as somebody else than root."""

from __future__ import annotations

import pathlib
import re
import subprocess

import pytest

SCRIPT = pathlib.Path(__file__).parents[2] / "tools" / "install_system_packages.sh"
PACKAGES = re.search(r"packages=\((.*?)\)", SCRIPT.read_text(), re.DOTALL)[1].split()


@pytest.fixture
def machine(tmp_path: pathlib.Path) -> pathlib.Path:
    """Programs that stand for those of a Debian machine; apt-get only leaves a trace."""
    programs = tmp_path / "bin"
    programs.mkdir()
    for name, body in {
        "dpkg-query": 'grep -qx "${@: -1}" "$INSTALLED" && echo -n "install ok installed"',
        "id": "echo 1000",
        "apt-get": 'touch "$INSTALLED.changed"',
    }.items():
        (programs / name).write_text(f"#!/bin/bash\n{body}\n")
        (programs / name).chmod(0o755)
    return tmp_path


def run(machine: pathlib.Path, installed: list[str]) -> subprocess.CompletedProcess[str]:
    record = machine / "installed"
    record.write_text("".join(f"{name}\n" for name in installed))
    environment = {"PATH": f"{machine / 'bin'}:/usr/bin:/bin", "INSTALLED": str(record)}
    done = subprocess.run([SCRIPT], env=environment, capture_output=True, text=True, check=False)
    assert not (machine / "installed.changed").exists(), "apt-get was called without root"
    return done


def test_without_root_exactly_the_missing_packages_are_named(machine: pathlib.Path) -> None:
    missing = PACKAGES[1::3]
    done = run(machine, [name for name in PACKAGES if name not in missing])
    assert done.returncode == 1
    assert done.stderr.splitlines() == [
        f"These Debian packages are needed and not installed: {' '.join(missing)}",
        "Install them with:",
        f"  sudo apt-get update && sudo apt-get install -y {' '.join(missing)}",
    ]


def test_where_all_is_installed_root_is_not_asked_for(machine: pathlib.Path) -> None:
    done = run(machine, PACKAGES)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
