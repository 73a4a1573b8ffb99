"""Builds C++ programs against an installed libdcp, as its users do."""

from __future__ import annotations

import os
import pathlib
import shutil
import subprocess
import sys

REPOSITORY = pathlib.Path(__file__).parents[3]
EXAMPLES = REPOSITORY / "examples" / "cpp"


def run(*command: str | pathlib.Path, **environment: str) -> str:
    """Run a program and return what it said; an AssertionError tells why it failed."""
    # The tools of a virtual environment need not be in PATH.
    path = f"{pathlib.Path(sys.executable).parent}:{os.environ['PATH']}"
    finished = subprocess.run(
        [str(part) for part in command],
        env={**os.environ, "PATH": path, **environment},
        capture_output=True,
        text=True,
        timeout=600,
    )
    said = finished.stdout + finished.stderr
    assert finished.returncode == 0, f"{' '.join(map(str, command))}\n{said}"
    return finished.stdout


def build_tree(fallback: pathlib.Path, *targets: str) -> pathlib.Path:
    """Where libdcp is built: `make`'s folder, $DCP_BUILD_DIR, or else `fallback`.

    Args:
        fallback: where to build if it is built nowhere.
        targets: what to build; all that is installed, if there are none.
    """
    tree = pathlib.Path(os.environ.get("DCP_BUILD_DIR", REPOSITORY / "build"))
    if not (tree / "CMakeCache.txt").exists():
        tree = fallback
        run("cmake", "-S", REPOSITORY, "-B", tree, "-G", "Ninja", "-DDCP_BUILD_BENCHMARKS=OFF")
    installed = ("dcp", "dcp_static", "dcp_mpi", "dcpcpp_saver")
    run("cmake", "--build", tree, "--target", *(targets or installed))
    return tree


def test_program(name: str, fallback: pathlib.Path) -> pathlib.Path:
    """A program of tests/cpp, built as `build_tree` does."""
    (program,) = build_tree(fallback, name).glob(f"tests/cpp/*/{name}")
    return program


def install(tree: pathlib.Path, prefix: pathlib.Path) -> None:
    """Install libdcp, shared and static, and what it has for MPI, to `prefix`."""
    for component in ("library", "static", "mpi"):
        run("cmake", "--install", tree, "--prefix", prefix, "--component", component)


def build_examples(folder: pathlib.Path, options: list[str], *targets: str) -> pathlib.Path:
    """Build examples/cpp in `folder` with CMake; `targets` or all of it."""
    launcher = ["-DCMAKE_CXX_COMPILER_LAUNCHER=ccache"] if shutil.which("ccache") else []
    # Compiling takes most of the time, and debug code takes less of it.
    build_type = "-DCMAKE_BUILD_TYPE=Debug"
    run("cmake", "-S", EXAMPLES, "-B", folder, "-G", "Ninja", build_type, *launcher, *options)
    run("cmake", "--build", folder, *(["--target", *targets] if targets else []))
    return folder


def compile_with_pkg_config(
    source: pathlib.Path, prefix: pathlib.Path, program: pathlib.Path, *options: str
) -> pathlib.Path:
    """Compile one file as `c++ $(pkg-config OPTIONS --cflags --libs dcp)` does."""
    flags = pkg_config(prefix, *options, "--cflags", "--libs")
    rpath = f"-Wl,-rpath,{prefix / 'lib'}"
    run("c++", source, "-o", program, *flags, rpath, "-pthread")
    return program


def pkg_config(prefix: pathlib.Path, *what: str) -> list[str]:
    """What pkg-config says of the libdcp in `prefix`."""
    return run(
        "pkg-config", *what, "dcp", PKG_CONFIG_PATH=str(prefix / "lib" / "pkgconfig")
    ).split()
