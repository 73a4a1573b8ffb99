"""SIGTERM beside an async save: done within the time of grace, or abandoned without damage."""

from __future__ import annotations

import collections
from pathlib import Path

import pytest

from support.forked_ranks import start_job
from support.saving import ASYNC, NBYTES, SUFFIX, How, Way
from support.scoreboard import SUBJECTS, Subject, report, trials
from support.signalled_lines import terminate_at_each_line
from support.terminations import FINE, Terminations

SEED = 18


def note_of(outcomes: collections.Counter[str]) -> str:
    return ", ".join(f"{outcome}: {times}" for outcome, times in sorted(outcomes.items()))


def terminate(folder: Path, count: int, way: Way) -> None:
    """Try, report, and fail if it was ours and not all were fine."""
    outcomes = Terminations(folder, [1, 2], way).run(count, SEED)
    bad = sum(times for outcome, times in outcomes.items() if outcome not in FINE)
    note = note_of(outcomes)
    what = "at a random moment, 1 or 2 ranks" + SUFFIX[way.how]
    report("R18", what, count=count, bad=bad, seed=SEED, subject=way.subject, note=note)
    assert bad == 0 or way.subject == "stock", note


@pytest.mark.row("R18")
@pytest.mark.timeout(5400)
@pytest.mark.parametrize("subject", SUBJECTS)
def test_a_save_in_a_thread_is_drained_or_abandoned(tmp_path: Path, subject: Subject) -> None:
    count = trials(quick=30, deep=1000 if subject == "dcpcpp" else 300)
    terminate(tmp_path, count, Way("thread", subject, trials(quick=NBYTES, deep=16_000_000)))


@pytest.mark.row("R18")
@pytest.mark.timeout(5400)
def test_a_save_by_another_process_is_drained_or_abandoned(tmp_path: Path) -> None:
    way = Way("process", nbytes=trials(quick=NBYTES, deep=16_000_000))
    terminate(tmp_path, trials(quick=40, deep=1000), way)


@pytest.mark.row("R18")
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("how", ASYNC)
def test_the_signal_may_come_at_any_line_of_the_call(tmp_path: Path, how: How) -> None:
    step = trials(quick=5, deep=1)
    arguments = (tmp_path / "c", Way(how), step)
    with start_job(1, terminate_at_each_line, *arguments) as job:
        outcomes = job.told(0, timeout=1500)
    bad = sum(times for outcome, times in outcomes.items() if outcome not in ("old", "new"))
    what = "at each line of the call" + SUFFIX[how]
    report("R18", what, count=outcomes.total(), bad=bad, seed=0, note=note_of(outcomes))
    assert bad == 0, note_of(outcomes)
    assert outcomes.total() > 10
