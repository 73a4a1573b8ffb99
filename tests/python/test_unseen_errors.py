"""The failure of an async save that nobody waits for: logged at once, raised on every rank."""

from __future__ import annotations

import collections
from pathlib import Path

import pytest

from support import faults
from support.forked_ranks import start_job
from support.saving import ASYNC, SUFFIX, How, Way
from support.scoreboard import report, report_skipped, trials
from support.unseen_errors import DISK_NBYTES, KINDS, Kind, all_failures, fail_unseen


@pytest.mark.row("R16")
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("world_size", [1, 2])
@pytest.mark.parametrize("how", ASYNC)
def test_a_failure_is_logged_and_raised_by_the_next_call(
    tmp_path: Path, how: How, world_size: int
) -> None:
    kinds: list[Kind] = list(KINDS)
    with faults.maybe_small_disk(tmp_path / "disk", DISK_NBYTES) as disk:
        if disk is None:
            kinds.remove("disk")
            report_skipped("R16", "full disk", "this process may not mount a file system")
        failures = all_failures(kinds) * trials(quick=1, deep=10)
        arguments = (tmp_path, disk, Way(how), failures)
        with start_job(world_size, fail_unseen, *arguments) as job:
            told = job.all_told(timeout=1500)
    wrong: collections.Counter[str] = collections.Counter()
    for failure, found in zip(failures, zip(*told, strict=True), strict=True):
        if any(found):
            wrong[f"{failure.kind}: {', '.join(map(repr, found))}"] += 1
    what = f"un-awaited, {world_size} rank(s){SUFFIX[how]}"
    note = f"{', '.join(kinds)}; told by the next " + ", ".join(
        dict.fromkeys(failure.call for failure in failures)
    )
    report("R16", what, count=len(failures), bad=wrong.total(), seed=0, note=note)
    assert not wrong
