"""`pip install .`: a wheel that works by itself, away from the tree that it was built in."""

from __future__ import annotations

import os
import pathlib
import re
import subprocess
import sys
import sysconfig
import textwrap
import zipfile

import pytest

from support.cpp_build import REPOSITORY, compile_with_pkg_config, run

# `make`'s own, so that there is nothing to compile; anywhere else pip starts from nothing.
BUILD = pathlib.Path(os.environ.get("DCP_BUILD_DIR", REPOSITORY / "build"))


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    folder = tmp_path_factory.mktemp("wheel")
    options = ["--no-build-isolation", "--no-deps", "--disable-pip-version-check"]
    build = f"build-dir={BUILD}"
    pip = [sys.executable, "-m", "pip", "wheel", *options, "-C", build, "-w", folder, REPOSITORY]
    run(*pip, DCP_BUILD_TESTS="ON")  # as the tree was configured
    (made,) = folder.glob("dcpcpp-*.whl")
    return made


@pytest.fixture(scope="module")
def site(wheel: pathlib.Path) -> pathlib.Path:
    """Where the wheel is installed."""
    folder = wheel.parent / "site"
    with zipfile.ZipFile(wheel) as archive:
        for entry in archive.infolist():
            path = pathlib.Path(archive.extract(entry, folder))
            path.chmod(0o644 | entry.external_attr >> 16)  # as pip does for programs
    return folder


def python(site: pathlib.Path, code: str) -> str:
    """What `code` prints where the wheel is installed, beside torch."""
    # Without `site` there is no .pth file, hence no editable install of the tree.
    path = f"{site}:{sysconfig.get_path('purelib')}:{sysconfig.get_path('platlib')}"
    torchs = next(entry for entry in sys.path if (pathlib.Path(entry) / "torch").is_dir())
    done = subprocess.run(
        [sys.executable, "-S", "-c", textwrap.dedent(code)],
        env={**os.environ, "PYTHONPATH": f"{path}:{torchs}"},
        cwd=site.parent,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_wheel_holds_the_package_and_nothing_else(wheel: pathlib.Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    tops = {name.split("/")[0] for name in names}
    assert {top.split("-")[0] for top in tops} == {"dcpcpp"}
    for part in ("py.typed", "_core.pyi", "cli.py", "include/dcp/checkpoint.h"):
        assert f"dcpcpp/{part}" in names
    for folder, what in (("", "_core"), ("libexec/", "dcpcpp_saver")):
        assert any(name.startswith(f"dcpcpp/{folder}{what}") for name in names)
    assert [name for name in names if "libdcp" in name] == ["dcpcpp/lib/libdcp.so"]
    assert any(name.endswith("licenses/LICENSE") for name in names)
    assert not [name for name in names if "/test" in name or "__pycache__" in name]


def test_it_saves_and_loads_in_both_async_modes(site: pathlib.Path) -> None:
    said = python(
        site,
        """
        import torch, dcpcpp
        from dcpcpp import AsyncCheckpointerType as Type
        for name in ("sync", "THREAD", "PROCESS"):
            state = {"w": torch.arange(1000.0)}
            if name == "sync":
                dcpcpp.save(state, checkpoint_id=name)
            else:
                mode = getattr(Type, name)
                future = dcpcpp.async_save(state, checkpoint_id=name, async_checkpointer_type=mode)
                future.result()
            loaded = {"w": torch.zeros(1000)}
            dcpcpp.load(loaded, checkpoint_id=name)
            assert torch.equal(loaded["w"], state["w"]), name
        print(dcpcpp.__file__)
        """,
    )
    assert said == f"{site}/dcpcpp/__init__.py\n"


def test_its_command_and_its_cpp_side_are_found(site: pathlib.Path) -> None:
    said = python(
        site, "import sys; sys.argv[1:] = ['--version']; from dcpcpp import cli; cli.main()"
    )
    assert said.startswith("dcpcpp ")
    said = python(site, "import dcpcpp; print(dcpcpp.get_include(), dcpcpp.get_cmake_dir())")
    assert said.split() == [f"{site}/dcpcpp/include", f"{site}/dcpcpp/lib/cmake/dcp"]
    source = site.parent / "program.cc"
    source.write_text(
        """
        #include <iostream>
        #include "dcp/file_system.h"
        int main() { std::cout << dcp::MakeMemoryFileSystem()->traits().name; }
        """
    )
    program = compile_with_pkg_config(source, site / "dcpcpp", site.parent / "program")
    assert run(program) == "memory"
    assert f"{site}/dcpcpp/lib/libdcp.so " in run("ldd", program)
    (entry_points,) = site.glob("dcpcpp-*.dist-info/entry_points.txt")
    assert re.search(r"^dcpcpp ?= ?dcpcpp\.cli:main$", entry_points.read_text(), re.MULTILINE)
