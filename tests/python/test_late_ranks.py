"""A rank that comes late is waited for and named; one that never comes is an error."""

from __future__ import annotations

import re
import socket
from pathlib import Path

import pytest

from dcpcpp import _arrival
from dcpcpp._watch import heartbeat_timeout
from support import lost_ranks
from support.forked_ranks import start_job


@pytest.mark.timeout(120)
@pytest.mark.parametrize(("late", "world_size"), [(0, 2), (1, 2), (2, 4)])
def test_a_late_rank_is_waited_for_and_named(tmp_path: Path, late: int, world_size: int) -> None:
    arguments = (tmp_path / "c", late, 2.6)
    with start_job(world_size, lost_ranks.save_late, *arguments) as job:
        told = job.all_told()
    waiting = range(1, world_size) if late == 0 else [0]
    where = re.escape(f"(host {socket.gethostname()}, process {job.pids[late]})")
    for rank in waiting:
        lines, _ = told[rank]
        for seconds in (1, 2):
            text = rf"waiting for rank .*\b{late} {where} to arrive: {seconds} s so far"
            assert [line for line in lines if re.fullmatch(text, line)], lines
    assert [ending.failures for _, ending in told] == [{}] * world_size


@pytest.mark.timeout(120)
@pytest.mark.parametrize("late", [0, 1])
def test_a_rank_that_never_comes_is_an_error_at_the_timeout_of_the_group(
    tmp_path: Path, late: int
) -> None:
    arguments = (tmp_path / "c", late, 600)
    with start_job(2, lost_ranks.save_late, *arguments, timeout=3) as job:
        lines, ending = job.told(1 - late)
    assert f"rank {late} (host" in ending.failures[late]
    assert "has not arrived within the group's timeout of 3 s" in ending.failures[late]
    assert any(f"waiting for rank {late}" in line for line in lines)


def test_15_seconds_are_the_deadline_and_between_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DCPCPP_HEARTBEAT_TIMEOUT", raising=False)
    assert heartbeat_timeout() == _arrival.LATE_SECONDS == 15.0


@pytest.mark.parametrize("text", ["1", "601", "soon", ""])
def test_the_deadline_must_be_from_2_to_600_seconds(
    text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DCPCPP_HEARTBEAT_TIMEOUT", text)
    with pytest.raises(ValueError, match="from 2 to 600 seconds"):
        heartbeat_timeout()


@pytest.mark.timeout(120)
def test_nothing_is_left_in_the_store(tmp_path: Path) -> None:
    with start_job(4, lost_ranks.count_keys, tmp_path / "c") as job:
        counts = job.told(0)
    assert len(set(counts)) == 1, counts
