"""What the command lines of TorchTitan's conversion scripts share."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

from dcpcpp.errors import CheckpointError


def add_common_arguments(parser: argparse.ArgumentParser, *, source: str, destination: str) -> None:
    """Add the directories and the model, with TorchTitan's defaults."""
    parser.add_argument("input_dir", type=Path, help=f"directory of the {source}")
    parser.add_argument("output_dir", type=Path, help=f"directory for the {destination}")
    parser.add_argument("--model_name", nargs="?", default="llama3", help="default: llama3")
    parser.add_argument("--model_flavor", nargs="?", default="8B", help="default: 8B")


def run_script(convert: Callable[[], None]) -> None:
    """Call `convert`; its errors are one line and exit code 1."""
    try:
        convert()
    except (CheckpointError, OSError, ValueError, RuntimeError) as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(1)
