"""Programs of tests/cpp/fuzz that tell what libdcp's parsers make of their input."""

from __future__ import annotations

import json
import struct
import subprocess
from pathlib import Path
from typing import Any

from support import cpp_build


class Lister:
    """A program that answers each input with a line of JSON.

    Args:
        name: of the program.
        folder: where to build it if libdcp is built nowhere.
    """

    def __init__(self, name: str, folder: Path) -> None:
        self._process = subprocess.Popen(
            [cpp_build.test_program(name, folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            bufsize=1 << 16,
        )

    def __call__(self, data: bytes) -> dict[str, Any]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(struct.pack("<Q", len(data)) + data)
        self._process.stdin.flush()
        listed: dict[str, Any] = json.loads(self._process.stdout.readline())
        return listed

    def close(self) -> None:
        """End the program, which must not have failed."""
        self._process.communicate()
        assert self._process.returncode == 0
