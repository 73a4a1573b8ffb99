"""Names and special files that lead out of a checkpoint, or hang who opens them."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

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
