"""R22: names, links and special files lead no load and no save out of the directory."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed.checkpoint as stock

import dcpcpp
from support import faults
from support.scoreboard import SUBJECTS, Subject, report

MAX_SECONDS = 10
OURS, SECRET = 1.0, 2.0  # what lies in the checkpoint, and outside of it

# {out} is a directory beside the checkpoint, with a data file that would fit.
NAMES = [
    "../out/__0_0.distcp",
    "sub/../../out/__0_0.distcp",
    "./../out/__0_0.distcp",
    "..//out/__0_0.distcp",
    "../../{parent}/out/__0_0.distcp",
    "../{name}/../out/__0_0.distcp",
    "sub/./../../out/__0_0.distcp",
    "sub//../../out/__0_0.distcp",
    "{out}/__0_0.distcp",
    "/{out}/__0_0.distcp",
    "//{out}/__0_0.distcp",
    "{out}/../out/__0_0.distcp",
    "file://{out}/__0_0.distcp",
    "/proc/self/root{out}/__0_0.distcp",
    "/proc/self/cwd/../out/__0_0.distcp",
    "/proc/self/environ",
    "/dev/zero",
    "/dev/stdin",
    "/dev/fd/0",
    "/dev/urandom",
    "/etc/passwd",
    "~/.bashrc",
    "$HOME/x",
    "%2e%2e/out/__0_0.distcp",
    "..\\out\\__0_0.distcp",
    "C:\\x",
    "\\\\server\\share",
    "",
    ".",
    "..",
    "...",
    "/",
    "//",
    "sub/",
    "/sub",
    "sub//data",
    "./__0_0.distcp",
    "__0_0.distcp/",
    "__0_0.distcp/.",
    "__0_0.distcp/x",
    "sub/.",
    "sub/..",
    "a\0b",
    "__0_0.distcp\0",
    "\0",
    "a\nb",
    "a\rb",
    "a\tb",
    "a\x1b[2Jb",
    "a\x7fb",
    "a\x80b",
    " ",
    " __0_0.distcp",
    "__0_0.distcp ",
    "a:b",
    "a*",
    "a?b",
    "a|b",
    "<x>",
    '"x"',
    "'x'",
    "`x`",
    "a;b",
    "a&b",
    "a$b",
    "\u202ea",
    "a\u200bb",
    "\ufeffa",
    "a\u2028b",
    "\u2024\u2024/out/__0_0.distcp",
    "\uff0e\uff0e/out/__0_0.distcp",
    "\u2215out",
    "x" * 256,
    "x" * 5000,
    "x/" * 2000 + "x",
    "a/b/c/d/e/f/g/h/i",
    "/".join(["x" * 255] * 9),
    "../" * 500 + "etc/passwd",
]


def link(path: Path, target: str | Path) -> None:
    path.unlink(missing_ok=True)
    path.symlink_to(target)


def replace_by(make: Callable[[Path], object]) -> Callable[[Path], object]:
    def plant(path: Path) -> None:
        path.unlink(missing_ok=True)
        make(path)

    return plant


# What may stand in the place of a file; each gets the file's path.
SPECIAL: dict[str, Callable[[Path], Any]] = {
    "a link out": lambda path: link(path, f"../out/{path.name}"),
    "an absolute link out": lambda path: link(path, path.parent.parent / "out" / path.name),
    "a link to a link out": lambda path: (
        link(path.parent / "hop", f"../out/{path.name}"),
        link(path, "hop"),
    ),
    "a link out through /proc": lambda path: link(
        path, f"/proc/self/root{path.parent.parent}/out/{path.name}"
    ),
    "a link to itself": lambda path: link(path, path.name),
    "a link to nothing": lambda path: link(path, "../out/nothing"),
    "a link to /dev/zero": lambda path: link(path, "/dev/zero"),
    "a link to standard input": lambda path: link(path, "/proc/self/fd/0"),
    "a pipe": replace_by(os.mkfifo),
    "a socket": replace_by(lambda path: os.mknod(path, 0o140600)),
    "a directory": replace_by(Path.mkdir),
}
READ_FILES = ["__0_0.distcp", ".metadata"]
WRITTEN_FILES = ["__0_0.distcp", "__0_1.distcp", ".metadata", ".metadata.tmp", ".dcpcpp.lock"]


def state(value: float) -> dict[str, Any]:
    return {"w": torch.full((100,), value)}


@contextlib.contextmanager
def no_longer_than(seconds: int) -> Iterator[None]:
    """Raises TimeoutError in whatever takes longer."""

    def ring(*_: object) -> None:
        raise TimeoutError("hung")

    before = signal.signal(signal.SIGALRM, ring)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A directory for checkpoints, beside `out`, which holds what nobody may touch."""
    with warnings.catch_warnings(action="ignore"):
        stock.save(state(SECRET), checkpoint_id=tmp_path / "out", no_dist=True)
        stock.save(state(OURS), checkpoint_id=tmp_path / "good", no_dist=True)
    return tmp_path


def fresh_copy(place: Path) -> Path:
    directory = place / "c"
    shutil.rmtree(directory, ignore_errors=True)
    shutil.copytree(place / "good", directory)
    (directory / "sub").mkdir()
    return directory


def module_of(subject: Subject) -> Any:
    return dcpcpp if subject == "dcpcpp" else stock


def load_fault(subject: Subject, directory: Path) -> str:
    """What is wrong with how a load of `directory` ends, empty if nothing is."""
    wanted = state(0)
    kind = dcpcpp.CheckpointException if subject == "dcpcpp" else BaseException
    try:
        with no_longer_than(MAX_SECONDS), warnings.catch_warnings(action="ignore"):
            module_of(subject).load(wanted, checkpoint_id=directory, no_dist=True)
    except TimeoutError:
        return "hung"
    except kind as error:
        return "hung" if "hung" in str(error) else ""
    # Some names lead back into the checkpoint.
    return "" if torch.equal(wanted["w"], state(OURS)["w"]) else "read a file outside"


def save_fault(subject: Subject, directory: Path, victims: dict[str, bytes]) -> str:
    """What a save into `directory` does to files outside, empty if nothing."""
    try:
        with no_longer_than(MAX_SECONDS), warnings.catch_warnings(action="ignore"):
            module_of(subject).save(state(3.0), checkpoint_id=directory, no_dist=True)
    except TimeoutError:
        return "hung"
    except BaseException as error:  # a refusal does no harm
        if "hung" in str(error):
            return "hung"
    return "" if faults.content(directory.parent / "out") == victims else "overwrote"


@pytest.mark.row("R22")
@pytest.mark.timeout(900)
@pytest.mark.parametrize("subject", SUBJECTS)
def test_no_path_leads_out_of_the_directory(place: Path, subject: Subject) -> None:
    bad = []
    count = 0

    def judge(what: str, fault: str) -> None:
        nonlocal count
        count += 1
        if fault:
            bad.append(f"{what}: {fault}")

    for name in NAMES:
        directory = fresh_copy(place)
        names = {"out": place / "out", "parent": place.name, "name": directory.name}
        faults.point_at(directory, name.format(**names) if "{" in name else name)
        judge(repr(name[:60]), load_fault(subject, directory))
    for file in READ_FILES:
        for what, plant in SPECIAL.items():
            directory = fresh_copy(place)
            plant(directory / file)
            judge(f"{what} for {file}", load_fault(subject, directory))
    directory = fresh_copy(place)
    link(directory / "way", "../out")
    faults.point_at(directory, "way/__0_0.distcp")
    judge("a link to a directory out", load_fault(subject, directory))
    (place / "out" / "__0_1.distcp").write_text("precious")
    (place / "out" / ".metadata.tmp").write_text("precious")
    (place / "out" / ".dcpcpp.lock").write_text("precious")
    victims = faults.content(place / "out")
    for file in WRITTEN_FILES:
        for what, plant in SPECIAL.items():
            directory = fresh_copy(place)
            plant(directory / file)
            judge(f"{what} for {file}, save", save_fault(subject, directory, victims))
            restore(place / "out", victims)
        directory = fresh_copy(place)
        (directory / file).unlink(missing_ok=True)
        (directory / file).hardlink_to(place / "out" / file)
        judge(f"a hard link for {file}, save", save_fault(subject, directory, victims))
        restore(place / "out", victims)
    report(
        "R22",
        "names, links and special files, loaded and saved over",
        subject=subject,
        count=count,
        bad=len(bad),
        seed=0,
        note=", ".join(sorted({fault.rpartition(": ")[2] for fault in bad})),
    )
    assert count >= 100
    assert subject == "stock" or bad == []


def restore(directory: Path, files: dict[str, bytes]) -> None:
    shutil.rmtree(directory)
    directory.mkdir()
    for name, content in files.items():
        (directory / name).write_bytes(content)
