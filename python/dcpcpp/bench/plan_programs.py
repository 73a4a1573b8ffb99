"""What the programs print that measure planning: `dcp_plan_bench` and `dcp_closed_plan_bench`.

They are built with the C++ tests and are in no wheel.
"""

from __future__ import annotations

import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

import dcpcpp

# Where `make build` puts them, beside the package that runs.
DEFAULT_FOLDER = Path(dcpcpp.__file__).parents[2] / "build" / "benchmarks"

_SECTION = re.compile(r"(?P<name>columns|items)(?=: )|(?P<title>\w.*)(?=, \d+ ranks$)")
_FIGURE = re.compile(
    r"\s*(?P<what>\S.*?)\s+(?P<value>\d+(?:\.\d+)?) (?P<unit>s|ms|ns|MB|MiB)\b"
    r"(?:\s+(?P<rate>\d+) MB/s)?"
)


@dataclass(frozen=True)
class Figure:
    """A number of s, ms, ns, MB or MiB, and its rate in MB/s: nan if there is none."""

    value: float
    unit: str
    rate: float


Section = dict[str, Figure]


def run_program(name: str, ranks: int, folder: Path) -> dict[str, Section]:
    """The figures that `name` prints for `ranks` ranks, by section and what they are of.

    Raises:
        FileNotFoundError: the program is not in `folder`.
        RuntimeError: it failed; its words are in the message.
    """
    program = folder / name
    if not program.exists():
        raise FileNotFoundError(
            f"there is no {program}: what measures planning is built with the C++ tests "
            "(`make build`) and is in no wheel; --programs says where it is"
        )
    done = subprocess.run([program, str(ranks)], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"{name} failed: {done.stderr.strip()}")
    return parse(done.stdout)


def parse(text: str) -> dict[str, Section]:
    """The figures in what a program printed.

    Example:
        >>> parse("reads the messages            0.500 s      20 MB/s")[""]["reads the messages"]
        Figure(value=0.5, unit='s', rate=20.0)
    """
    section: Section = {}
    sections = {"": section}  # of what comes before the first section
    for line in text.splitlines():
        if found := _SECTION.match(line):
            section = sections.setdefault(found["name"] or found["title"], {})
        elif found := _FIGURE.match(line):
            rate = float(found["rate"] or "nan")
            section[found["what"]] = Figure(float(found["value"]), found["unit"], rate)
    return sections
