"""What a test of the reliability scoreboard counts, and where it reports it.

A row of the scoreboard (tests/scoreboard/rows.py) is shown by tests with its mark, e.g.
`@pytest.mark.row("R9")`. `make test` runs them with their quick count, `make test-deep`
with the full one.

    def test_a_flipped_bit_is_noticed(...):
        count = trials(quick=200, deep=10_000)
        ...
        report("R9", "one bit flipped, our files", count=count, bad=silent, seed=SEED)
        assert silent == 0

Stock DCP is measured by the same code, in the deep run only:

    @pytest.mark.parametrize("subject", SUBJECTS)
"""

from __future__ import annotations

import json
import os
import pathlib
from typing import Literal

Subject = Literal["dcpcpp", "stock"]

IS_DEEP = os.environ.get("DCP_DEPTH") == "deep"


def within(seconds: float) -> float:
    """What a test takes for "within `seconds`", in seconds.

    The deep run measures that itself; `make test` shares its machine with whatever else runs
    there, where a process may wait for seconds to be scheduled, and knows by this that no time
    limit (15 seconds and more) had to pass.
    """
    return seconds if IS_DEEP else 10.0


ONE_SECOND = within(1.0)
# Who is tried: ourselves, and in the deep run stock DCP, whose failures are counted and
# not asserted.
SUBJECTS: tuple[Subject, ...] = ("dcpcpp", "stock") if IS_DEEP else ("dcpcpp",)


def trials(*, quick: int, deep: int) -> int:
    """How many trials to run."""
    return deep if IS_DEEP else quick


def report(
    row: str,
    trial: str,
    *,
    count: int,
    bad: int,
    seed: int,
    subject: Subject = "dcpcpp",
    note: str = "",
) -> None:
    """Append a line to the file that DCP_SCOREBOARD names; without it, nothing.

    Args:
        row: e.g. "R9".
        trial: what was done, as a few words; the same for both subjects.
        count: trials that were run.
        bad: of these, lost, unreadable, silently wrong or hung.
        seed: of the trials.
        subject: who was tried.
        note: e.g. how the trials ended.
    """
    _append(
        {
            "row": row,
            "trial": trial,
            "subject": subject,
            "count": count,
            "bad": bad,
            "seed": seed,
            "note": note,
        }
    )


def report_skipped(row: str, trial: str, why: str) -> None:
    """The same for a row that cannot run here; then skip the test with `why`."""
    _append({"row": row, "trial": trial, "subject": "dcpcpp", "skipped": why})


def _append(line: dict[str, object]) -> None:
    path = os.environ.get("DCP_SCOREBOARD")
    if path is not None:
        with pathlib.Path(path).open("a") as file:
            file.write(json.dumps(line) + "\n")
