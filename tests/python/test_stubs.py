"""The type stubs of the extension are those of the extension that is installed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_the_stubs_are_up_to_date() -> None:
    command = [ROOT / "tools" / "generate_stubs.sh", Path(sys.executable).parent, "--check"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"run tools/generate_stubs.sh\n{done.stdout}{done.stderr}"
