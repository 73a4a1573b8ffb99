"""async_save on several ranks."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest

from support import async_ranks, lost_ranks
from support.forked_ranks import start_job
from support.scoreboard import ONE_SECOND


@pytest.mark.timeout(120)
def test_saves_and_collectives_of_the_training_do_not_disturb_each_other(tmp_path: Path) -> None:
    with start_job(2, async_ranks.train_beside_saves, tmp_path, 6) as job:
        assert job.all_told() == [2 * 20 * 6] * 2
    for number in range(6):
        assert lost_ranks.value_in(tmp_path / str(number), 2) == number


@pytest.mark.timeout(120)
@pytest.mark.parametrize("protocol", ["ours", "torch"])
def test_a_rank_without_a_state_fails_the_save_on_all_and_the_next_works(
    tmp_path: Path, protocol: str
) -> None:
    with start_job(2, async_ranks.fail_once, tmp_path / "c", protocol) as job:
        (other, *others_next), (broken, *broken_next) = job.all_told()
    assert broken.kind == "LookupError"
    assert "no state on rank 1" in other.failures[1]
    for ending in (*others_next, *broken_next):
        assert ending.kind == ""
    assert lost_ranks.value_in(tmp_path / "c", 2) == 1.0


@pytest.mark.timeout(120)
@pytest.mark.parametrize("protocol", ["ours", "torch"])
def test_a_stager_that_fails_on_one_rank_fails_the_save_on_all_and_the_next_works(
    tmp_path: Path, protocol: str
) -> None:
    with start_job(2, async_ranks.fail_in_stager, tmp_path / "c", protocol) as job:
        (other, *others_next), (broken, *broken_next) = job.all_told()
    assert list(other.failures) == [1]
    assert "CheckpointException" in other.failures[1]
    assert broken.kind == "CheckpointException"
    for ending in (*others_next, *broken_next):
        assert ending.kind == ""


@pytest.mark.timeout(120)
def test_a_call_that_is_left_while_it_waits_for_its_copy_has_begun_its_save(tmp_path: Path) -> None:
    with start_job(2, async_ranks.leave_a_call, tmp_path) as job:
        (stayed, *after_it), (left, *after_that) = job.all_told()
    assert stayed.kind == ""
    assert left.kind == "TimeoutError"
    for ending in (*after_it, *after_that):
        assert ending.kind == ""
    for number in range(3):
        assert lost_ranks.value_in(tmp_path / str(number), 2) == number


@pytest.mark.timeout(120)
@pytest.mark.parametrize("protocol", ["ours", "torch"])
def test_a_failure_that_one_rank_has_not_seen_fails_the_next_save_on_all(
    tmp_path: Path, protocol: str
) -> None:
    with start_job(2, async_ranks.fail_unseen, tmp_path / "c", protocol) as job:
        saw, did_not_see = job.all_told()
    assert "No space left" in saw[0].failures[1]
    assert did_not_see[0].kind == ""
    assert "No space left" in str(saw[1].failures)
    assert "No space left" in str(did_not_see[1].failures)
    assert saw[2].kind == did_not_see[2].kind == ""
    assert lost_ranks.value_in(tmp_path / "c", 2) == 2.0


@pytest.mark.timeout(120)
def test_a_rank_that_dies_in_the_background_is_known_within_a_second(tmp_path: Path) -> None:
    with start_job(2, async_ranks.die_in_background, tmp_path / "c") as job:
        for rank in range(2):
            job.wait_for(f"writing-{rank}")
        os.kill(job.pids[1], signal.SIGKILL)
        killed_at = time.monotonic()
        (ending,) = job.told(0)
    assert ending.at - killed_at < ONE_SECOND
    assert "is gone: its process ended" in ending.failures[1]
    assert lost_ranks.value_in(tmp_path / "c", 2) == 1.0
