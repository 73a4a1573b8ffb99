"""Checks an installed wheel of dcpcpp by what users do first; `make dist` runs it.

Where torch is not installed, and with --torch where it is:

    python -I tools/check_wheel.py [--torch]
"""

from __future__ import annotations

import importlib.util
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import warnings

IMPORT_SECONDS = 0.2
# What the wheel has to bring along, or to do without.
CARRIED = re.compile(r"libdcp|libabsl|libisal|liburing|libzstd")
ABSENT = re.compile(r"libtorch|libc10|libcuda|libnccl")


def require(condition: bool, what: str) -> None:
    """Print `what`, or end with it as the error."""
    if not condition:
        sys.exit(f"FAILED: {what}")
    print(f"ok: {what}")


def check_import() -> None:
    """It is quick, and all that it maps lies in the wheel."""
    # Of the processor, because the machine may be busy with something else.
    code = "import time; t = time.process_time(); import dcpcpp; print(time.process_time() - t)"
    command = [sys.executable, "-I", "-c", code]
    best = min(float(subprocess.check_output(command)) for _ in range(5))
    require(best < IMPORT_SECONDS, f"importing dcpcpp takes {best:.3f} s")
    import dcpcpp

    site = pathlib.Path(dcpcpp.__file__).parents[1]
    maps = pathlib.Path("/proc/self/maps").read_text()
    libraries = {pathlib.Path(found) for found in re.findall(r"/\S*\.so\S*", maps)}
    carried = sorted(path for path in libraries if CARRIED.match(path.name))
    strangers = [str(path) for path in carried if site not in path.parents]
    require(len(carried) >= 5 and not strangers, f"its {len(carried)} libraries are its own")
    absent = [str(path) for path in libraries if ABSENT.match(path.name)]
    require(not absent, f"neither torch nor CUDA is needed {' '.join(absent)}".rstrip())


def check_command() -> None:
    """The console script runs."""
    command = pathlib.Path(sys.executable).parent / "dcpcpp"
    said = subprocess.check_output([command, "--version"], text=True)
    require(said.startswith("dcpcpp "), f"{command.name} --version says {said.strip()!r}")


def check_saves() -> None:
    """What is saved in each way is loaded, by stock torch, too."""
    import torch
    import torch.distributed.checkpoint as stock

    import dcpcpp

    warnings.filterwarnings("ignore", message="torch.distributed is")  # one process saves
    saved = {"weight": torch.arange(1000.0), "step": 7}
    for way in ("save", "THREAD", "PROCESS"):
        if way == "save":
            dcpcpp.save(saved, checkpoint_id=way)
        else:
            kind = getattr(dcpcpp.AsyncCheckpointerType, way)
            dcpcpp.async_save(saved, checkpoint_id=way, async_checkpointer_type=kind).result()
        for library in (dcpcpp, stock):
            loaded = {"weight": torch.zeros(1000), "step": 0}
            library.load(loaded, checkpoint_id=way)
            same = torch.equal(loaded["weight"], saved["weight"]) and loaded["step"] == 7
            require(same, f"{library.__name__} loads what was saved by {way}")
    require(dcpcpp.verify("save").ok, "verify finds it whole")


def main() -> None:
    """Run the checks of one of the two environments."""
    wants_torch = "--torch" in sys.argv[1:]
    has_torch = importlib.util.find_spec("torch") is not None
    require(has_torch == wants_torch, f"torch is {'' if wants_torch else 'not '}installed")
    if not wants_torch:
        check_import()
        check_command()
        return
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        check_saves()


if __name__ == "__main__":
    main()
