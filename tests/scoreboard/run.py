"""Runs rows of the reliability scoreboard at their full counts, and writes the page.

    python tests/scoreboard/run.py --build build            # all rows
    python tests/scoreboard/run.py --build build --part io  # one part
    python tests/scoreboard/run.py --build build --row R4   # one row

Results are kept in benchmarks/reliability.json, from which benchmarks/reliability.md is
written; a row that is run again replaces its results.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import time
from typing import Any

from page import render
from rows import PARTS, ROWS, Row

REPOSITORY = pathlib.Path(__file__).parents[2]
RESULTS = REPOSITORY / "benchmarks" / "reliability.json"
PAGE = REPOSITORY / "benchmarks" / "reliability.md"
MAX_SECONDS_OF_PART = 90 * 60


def commands_of(row: Row, build: pathlib.Path, sanitized: pathlib.Path) -> list[list[str]]:
    """The test programs of a row, with the arguments that select it."""
    programs = [[*_find(build, name), f"[{row.name}]"] for name in row.programs]
    fuzzers = [
        [*_find(sanitized, name), "--runs", str(runs), "--seed", "1"] for name, runs in row.fuzzers
    ]
    tests = [[sys.executable, "-m", "pytest", "-q", "--row", row.name, *row.python]]
    scripts = [[sys.executable, script] for script in row.scripts]
    return programs + fuzzers + (tests if row.python else []) + scripts


def run(
    row: Row, build: pathlib.Path, sanitized: pathlib.Path, max_seconds: float
) -> dict[str, Any]:
    """Run all of a row, for `max_seconds` at most; what its tests reported."""
    lines: list[dict[str, Any]] = []
    failures: list[str] = []
    start = time.monotonic()
    for command in commands_of(row, build, sanitized):
        with tempfile.NamedTemporaryFile("r", suffix=".jsonl") as report:
            environment = {**os.environ, "DCP_DEPTH": "deep", "DCP_SCOREBOARD": report.name}
            print(f"{row.name}: {' '.join(command)}", flush=True)
            left = max(0.0, max_seconds - (time.monotonic() - start))
            if not _succeeds(command, environment, left):
                failures.append(" ".join(command))
            lines += [json.loads(line) for line in report]
    lines = [line for line in lines if line["row"] == row.name]
    if not lines:
        failures.append("nothing was reported")
    return {
        "lines": lines,
        "failures": failures,
        "target": row.target,
        "seconds": round(time.monotonic() - start, 1),
        "date": datetime.date.today().isoformat(),
        "commit": _commit(),
    }


def main() -> int:
    """Run the rows that the arguments select."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--build", type=pathlib.Path, default=REPOSITORY / "build")
    sanitized = REPOSITORY / "build-sanitized"
    parser.add_argument("--sanitized", type=pathlib.Path, default=sanitized, help="for fuzzers")
    parser.add_argument("--part", choices=PARTS, action="append")
    parser.add_argument("--row", choices=[row.name for row in ROWS], action="append")
    arguments = parser.parse_args()
    selected = [
        row
        for row in ROWS
        if (not arguments.part or row.part in arguments.part)
        and (not arguments.row or row.name in arguments.row)
    ]
    results = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    failed = []
    left = dict.fromkeys(PARTS, float(MAX_SECONDS_OF_PART))
    for row in selected:
        results[row.name] = run(row, arguments.build, arguments.sanitized, left[row.part])
        left[row.part] -= results[row.name]["seconds"]
        if results[row.name]["failures"]:
            failed.append(row.name)
        RESULTS.write_text(json.dumps(results, indent=1, sort_keys=True) + "\n")
        PAGE.write_text(render(ROWS, results))
    print(f"{len(selected)} rows, {len(failed)} failed {' '.join(failed)}")
    return 1 if failed else 0


def _succeeds(command: list[str], environment: dict[str, str], max_seconds: float) -> bool:
    try:
        done = subprocess.run(
            command, env=environment, cwd=REPOSITORY, check=False, timeout=max_seconds
        )
    except subprocess.TimeoutExpired:
        print(f"the part's {MAX_SECONDS_OF_PART // 60} minutes are over", flush=True)
        return False
    return done.returncode == 0


def _find(build: pathlib.Path, name: str) -> list[str]:
    found = [path for path in build.rglob(name) if path.is_file() and os.access(path, os.X_OK)]
    if not found:
        raise SystemExit(f"{name} is not in {build}: run `make build` first")
    return [str(found[0])]


def _commit() -> str:
    """What is tested; the results that this program writes do not count as changes."""

    def git(*arguments: str) -> str:
        command = ["git", *arguments]
        done = subprocess.run(command, cwd=REPOSITORY, check=True, capture_output=True, text=True)
        return done.stdout.strip()

    is_changed = git("status", "--porcelain", "--", ".", ":!benchmarks/reliability.*")
    return git("rev-parse", "--short", "HEAD") + ("-dirty" if is_changed else "")


if __name__ == "__main__":
    sys.exit(main())
