"""The command line in this process: Python and torch take seconds to start."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from click.testing import Result
from typer.testing import CliRunner

from dcpcpp.cli import app


def command(*arguments: str | Path) -> Result:
    """Run `dcpcpp` with these arguments."""
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def json_of(*arguments: str | Path, code: int = 0) -> dict[str, Any]:
    """What a command that ends with `code` prints with --json, without its schema's number."""
    done = command(*arguments, "--json")
    assert done.exit_code == code, done.output
    report: dict[str, Any] = json.loads(done.stdout)
    assert report.pop("schema") == 1
    return report
