"""benchmarks/reliability.md."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rows import Row

HEAD = """# Reliability scoreboard

Written by `make test-deep` (`tests/scoreboard/run.py`); do not edit.

"bad" counts trials after which a checkpoint was lost, unreadable, silently wrong or
mixed, or a call that hung. Stock DCP (torch 2.13) is measured by the same test. A row
that could not run says SKIPPED and does not count.

"""


def render(rows: Sequence[Row], results: dict[str, Any]) -> str:
    """The page, from what run.py collected."""
    text = HEAD
    text += "| row | what is tried | who | trials | bad | seed | how they ended |\n"
    text += "|---|---|---|---:|---:|---:|---|\n"
    for row in rows:
        text += "".join(_lines(row, results.get(row.name)))
    text += "\n## Targets, commands and dates\n\n"
    text += "| row | target | command | commit | date | seconds |\n|---|---|---|---|---|---:|\n"
    for row in rows:
        if (result := results.get(row.name)) is not None:
            verdict = "" if not result["failures"] else " **FAILED**"
            if any("skipped" in line for line in result["lines"]):
                verdict += " **SKIPPED** in part"
            if result["target"] != row.target:
                verdict += f" (TO BE RUN AGAIN; asked for now: {row.target})"
            text += (
                f"| {row.name} | {result['target']}{verdict} | `make test-deep ROW={row.name}` | "
                f"{result['commit']} | {result['date']} | {result['seconds']:.0f} |\n"
            )
    return text


def _lines(row: Row, result: dict[str, Any] | None) -> list[str]:
    if result is None or not result["lines"]:
        return [f"| {row.name} | {row.title} | | not run | | | |\n"]
    return [_line(row, line) for line in result["lines"]]


def _line(row: Row, line: dict[str, Any]) -> str:
    what = f"{row.title}: {line['trial']}"
    if "skipped" in line:
        return f"| {row.name} | {what} | | SKIPPED | | | {line['skipped']} |\n"
    who = "dcpcpp" if line["subject"] == "dcpcpp" else "stock DCP"
    return (
        f"| {row.name} | {what} | {who} | {line['count']:,} | {line['bad']:,} | {line['seed']} | "
        f"{line['note']} |\n"
    )
