"""Ranks that do not call for the same fail at once, all of them, and are named."""

from __future__ import annotations

from pathlib import Path

import pytest

from support import mismatched_ranks
from support.forked_ranks import start_job
from support.lost_ranks import NEW, OLD, value_in
from support.mismatched_ranks import Endings

AT_ONCE = 20.0  # seconds; the timeout of the group is 600


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[Endings], list[int], Path]:
    """What each of two ranks saw; their processes; and the folder."""
    folder = tmp_path_factory.mktemp("differ")
    with start_job(2, mismatched_ranks.differ, folder, timeout=600) as job:
        return job.all_told(), job.pids, folder


@pytest.mark.parametrize(
    ("case", "what"),
    [
        ("kind", "rank 1 {1} loads from {folder}/c, but rank 0 {0} saves to {folder}/c"),
        (
            "mode",
            "rank 1 {1} saves to {folder}/mode, "
            "but rank 0 {0} saves to {folder}/mode with use_collectives=False",
        ),
        ("place", "rank 1 {1} saves to {folder}/own-1, but rank 0 {0} saves to {folder}/own-0"),
        (
            "asynchronous",
            "rank 1 {1} saves to {folder}/own-1, but rank 0 {0} saves to {folder}/own-0",
        ),
        ("load", "rank 1 {1} loads from {folder}/own-1, but rank 0 {0} loads from {folder}/c"),
    ],
)
def test_every_rank_learns_at_once_which_ranks_differ_and_how(
    told: tuple[list[Endings], list[int], Path], case: str, what: str
) -> None:
    endings, pids, folder = told
    for seen in endings:
        seconds, ending = seen[case]
        assert seconds < AT_ONCE
        assert ending.kind == "MismatchedRanksException"
        assert list(ending.failures) == [1]
        text = ending.failures[1]
        for rank, pid in enumerate(pids):
            text = text.replace(f"process {pid})", f"{{{rank}}}")
        text = text.replace(text[text.index("(host") : text.index("{1}")], "", 1)
        text = text.replace(text[text.index("(host") : text.index("{0}")], "", 1)
        assert text == what.replace("{folder}", str(folder)) + "; phase: arrival"


def test_nothing_is_written_for_ranks_that_differ(
    told: tuple[list[Endings], list[int], Path],
) -> None:
    assert not (told[2] / "mode").exists()


def test_the_next_call_that_is_the_same_on_all_ranks_works(
    told: tuple[list[Endings], list[int], Path],
) -> None:
    for seen in told[0]:
        after = {name: ending for name, (_, ending) in seen.items() if name.startswith("after")}
        assert len(after) == 7
        assert all(ending.kind == "" and not ending.left_behind for ending in after.values())
    assert value_in(told[2] / "c", 2) == OLD


def test_a_rank_without_storage_is_named_for_that(
    told: tuple[list[Endings], list[int], Path],
) -> None:
    (_, own), (_, other) = (seen["no storage"] for seen in told[0])
    assert own.kind == "RuntimeError"
    assert "Cannot detect" in other.failures[0]


def test_ranks_that_save_for_themselves_may_have_a_directory_each(
    told: tuple[list[Endings], list[int], Path],
) -> None:
    endings, _, folder = told
    assert [seen["each alone"][1].kind for seen in endings] == ["", ""]
    for rank in range(2):
        assert (folder / f"own-{rank}" / f"__{rank}.metadata").exists()


@pytest.mark.timeout(120)
def test_a_second_thread_in_a_group_is_refused_on_all_ranks(tmp_path: Path) -> None:
    with start_job(2, mismatched_ranks.save_from_two_threads, tmp_path, timeout=600) as job:
        told = job.all_told()
    for first, second, third in told:
        assert (first.kind, third.kind) == ("", "")
        assert second.kind == "BusyCheckpointException"
        assert f"process {job.pids[1]}) is busy: another of its threads" in second.failures[1]
    assert value_in(tmp_path / "c", 2) == NEW


@pytest.mark.timeout(120)
def test_hosts_may_have_directories_of_their_own_and_the_log_says_so_once(tmp_path: Path) -> None:
    with start_job(2, mismatched_ranks.save_on_two_hosts, tmp_path, timeout=600) as job:
        (first, lines), (second, _) = job.all_told()
    assert [ending.failures for ending in [*first, *second]] == [{}] * 4
    places = [line for line in lines if "disk-1/0, but rank 0 (host host-0" in line]
    assert len(places) == 1
    assert not any("disk-1/1" in line for line in lines)


@pytest.mark.timeout(120)
def test_errors_in_a_subgroup_name_the_rank_in_the_job(tmp_path: Path) -> None:
    with start_job(3, mismatched_ranks.fail_in_a_subgroup, tmp_path, timeout=600) as job:
        _, *told = job.all_told()
    for unpicklable, mismatch in told:
        assert "RANK 1 of the group is rank 2\n" in unpicklable
        assert "rank 2 (rank 1 of its group, host " in mismatch
        assert "but rank 1 (rank 0 of its group, host " in mismatch
