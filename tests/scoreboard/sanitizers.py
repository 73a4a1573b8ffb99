"""Row R24: builds all C++ tests with sanitizers and runs them, at their quick counts.

    python tests/scoreboard/sanitizers.py

A report of a sanitizer ends its test program with an error, so each program that fails
counts as bad. There are no suppressions: the environment's are taken away, and code
that turns a sanitizer off for itself counts as bad, too.
"""

from __future__ import annotations

import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import xml.etree.ElementTree as ET

REPOSITORY = pathlib.Path(__file__).parents[2]
# Build directory, what CMake calls them, and what the page does.
SANITIZERS = (
    ("build-sanitized", "address,undefined", "ASan and UBSan"),
    ("build-threads", "thread", "TSan"),
)
OPTIONS = {
    "ASAN_OPTIONS": "detect_stack_use_after_return=1:strict_string_checks=1",
    "UBSAN_OPTIONS": "print_stacktrace=1",
    "TSAN_OPTIONS": "halt_on_error=1:second_deadlock_stack=1",
}
# How a piece of code may hide from a sanitizer.
HIDING = r"no_sanitize|NO_SANITIZE|__(asan|tsan|ubsan|lsan)_[a-z_]*(suppressions|ignore|disable)"


def environment() -> dict[str, str]:
    """With the virtual environment's tools, and without suppressions of the user's."""
    tools = pathlib.Path(sys.executable).parent
    # The tests' counts are those of `make test`; what they report is other rows'.
    kept = {k: v for k, v in os.environ.items() if k not in ("DCP_DEPTH", "DCP_SCOREBOARD")}
    return {**kept, **OPTIONS, "PATH": f"{tools}:{os.environ['PATH']}"}


def build(directory: pathlib.Path, sanitizers: str) -> None:
    """Configure and build all of the C++ tests."""
    options = ["-DDCP_BUILD_PYTHON=OFF", "-DDCP_BUILD_TESTS=ON", f"-DDCP_SANITIZE={sanitizers}"]
    configure = ["cmake", "-S", REPOSITORY, "-B", directory, "-G", "Ninja", *options]
    for command in (configure, ["cmake", "--build", directory]):
        subprocess.run(command, env=environment(), check=True)


def run(directory: pathlib.Path) -> tuple[int, list[str]]:
    """Run all test programs: how many there are, and the names of those that fail."""
    jobs = str(os.cpu_count() or 1)
    with tempfile.NamedTemporaryFile("r", suffix=".xml") as results:
        subprocess.run(
            ["ctest", "--output-on-failure", "-j", jobs, "--output-junit", results.name],
            cwd=directory,
            env=environment(),
            check=False,
        )
        cases = list(ET.parse(results.name).getroot().iter("testcase"))
    failed = [case.get("name", "") for case in cases if case.get("status") != "run"]
    return len(cases), failed


def hiding_places() -> list[str]:
    """Lines of what is built into the tests that turn a sanitizer off."""
    found = []
    files = [REPOSITORY / "CMakeLists.txt"]
    for folder in ("bindings", "cmake", "examples", "include", "src", "tests/cpp"):
        files += sorted((REPOSITORY / folder).rglob("*.*"))
    for source in files:
        for number, line in enumerate(source.read_text(errors="replace").splitlines(), 1):
            if re.search(HIDING, line):
                found.append(f"{source.relative_to(REPOSITORY)}:{number}")
    return found


def report(trial: str, count: int, bad: list[str]) -> None:
    """Print, and append a line to the file that DCP_SCOREBOARD names."""
    line = {
        "row": "R24",
        "trial": trial,
        "subject": "dcpcpp",
        "count": count,
        "bad": len(bad),
        "seed": 0,
        "note": ", ".join(bad) or "no report",
    }
    print(f"{trial}: {count} test programs, {line['note']}", flush=True)
    path = os.environ.get("DCP_SCOREBOARD")
    if path is not None:
        with pathlib.Path(path).open("a") as file:
            file.write(json.dumps(line) + "\n")


def main() -> int:
    """Build, run and report with each kind of sanitizer."""
    hiding = hiding_places()
    failures = list(hiding)
    for name, sanitizers, title in SANITIZERS:
        directory = REPOSITORY / name
        build(directory, sanitizers)
        count, failed = run(directory)
        report(title, count, failed + hiding)
        failures += failed
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
