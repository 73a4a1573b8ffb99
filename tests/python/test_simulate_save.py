"""`dcpcpp simulate save`."""

from __future__ import annotations

from typing import Any

import pytest

from support.command_line import command, json_of

# Two nodes of eight; 53 GB a rank, which 10 GB/s of a node take 42 s for.
SMALL = ("simulate", "save", "--model", "llama3-70b", "--ranks", "16")
NODE_SECONDS = 847e9 / 2 / 10e9


def _save(*options: str) -> dict[str, Any]:
    return json_of(*SMALL, *options)


def test_a_save_is_reported_as_json_and_is_the_same_each_time() -> None:
    report = _save("--mesh", "tp=2")
    assert report == _save("--mesh", "tp=2")
    assert report["mesh"] == {"pp": 1, "dp_replicate": 1, "dp": 8, "tp": 2, "ep": 1}
    assert (report["ranks"], report["nodes"], report["files"]) == (16, 2, 16)
    assert report["ranks_planned"] == 16
    assert report["rates"]["node"] == 10e9
    assert report["items"] > 2892
    assert report["metadata_nbytes"] > 50 * report["items"]
    parts = report["rank_seconds"]
    assert list(parts) == ["plan", "stage", "write", "meet", "commit", "total", "blocked"]
    for spread in (*parts.values(), report["rank_nbytes"], report["node_nbytes"]):
        assert 0 <= spread["least"] <= spread["median"] <= spread["p99"] <= spread["most"]
    assert parts["write"]["most"] == pytest.approx(NODE_SECONDS, rel=0.02)
    assert parts["blocked"] == parts["total"]
    assert report["seconds"] == parts["total"]["most"] == report["even_seconds"]
    assert (report["end"], report["loss"]) == ("saved", None)


def test_an_asynchronous_save_blocks_for_its_copies() -> None:
    report = _save("--async", "--rates", "device=25")
    assert report["rates"]["device"] == 25e9
    blocked = report["rank_seconds"]["blocked"]
    assert blocked["most"] == pytest.approx(847e9 / 16 / 25e9, rel=0.01)
    assert report["seconds"] > 10 * blocked["most"]


def test_slow_ranks_and_nodes_are_waited_for() -> None:
    even = _save()
    slow = _save("--slow", "3=10")
    assert slow["last_rank"] == 3
    assert slow["even_seconds"] == even["seconds"]
    assert slow["seconds"] > 2 * even["seconds"]
    assert slow["rank_seconds"]["meet"]["median"] > even["seconds"]
    node = _save("--slow", "node:1=2", "--slow", "2=1")
    assert node["rank_seconds"]["write"]["most"] == pytest.approx(2 * NODE_SECONDS, rel=0.02)
    drawn = [_save("--stragglers", "2=10", "--seed", str(seed)) for seed in (1, 1, 2)]
    assert drawn[0] == drawn[1]
    assert drawn[0]["last_rank"] != drawn[2]["last_rank"]


@pytest.mark.parametrize(
    ("failure", "noticed", "end"),
    [
        ("kill:3@write", 0.1, "failed"),
        ("kill:0@write", 0.1, "failed"),
        ("hang:3@20.5", 14.5, "failed"),
        ("lose-node:1@20.5", 14.5, "failed"),
        ("stall-node:1@20.5", 300.0, "failed"),
        ("kill:3@commit", 0.1, "saved"),  # the others have their verdicts by then
    ],
)
def test_a_failure_ends_the_save_when_it_is_noticed(failure: str, noticed: float, end: str) -> None:
    report = _save("--fail", failure)
    loss = report["loss"]
    assert loss["noticed"] - loss["seconds"] == pytest.approx(noticed)
    assert report["end"] == end
    if end == "failed":
        assert report["seconds"] == pytest.approx(loss["noticed"], abs=0.2)
    words = command(*SMALL, "--fail", failure).stdout
    assert f"after {loss['seconds']:,.3f} s: noticed {noticed:,.3f} s later" in words
    assert f"\n{end}: " in words


def test_a_heartbeat_of_its_own_is_waited_for() -> None:
    loss = _save("--fail", "hang:3@20.5", "--heartbeat", "5")["loss"]
    assert loss["noticed"] == 25


def test_a_save_is_told_in_words() -> None:
    lines = command(*SMALL, "--rates", "storage=5", "--fail", "kill:1@9999").stdout.splitlines()
    assert lines[0] == "job        llama3-70b with AdamW's state, 16 ranks of 2 nodes: dp=16"
    assert lines[1] == "rates      device 50, rank 4, node 10, storage 5, messages 1 GB/s"
    assert lines[2] == "written    847 GB in 16 files"
    assert lines[4].startswith("a rank     52.9 GB; at most 1.0")
    assert lines[7].split() == ["seconds", "least", "median", "p99", "most"]
    assert lines[-3] == "kill:1@9999 changes nothing: its part was done"
    assert lines[-1] == "saved: all ranks return, the checkpoint is published"


@pytest.mark.parametrize(
    ("options", "why"),
    [
        (("--mesh", "dp=3"), "--mesh dp=3 is one of 3 ranks, not 16"),
        (("--rates", "disk=3"), "not 'disk=3'"),
        (("--rates", "node=-3"), "not 'node=-3'"),
        (("--rates", "node=fast"), "not 'node=fast'"),
        (("--slow", "host:3=2"), "--slow takes 17=4 or node:3=2, not 'host:3=2'"),
        (("--slow", "16=2"), "there is no rank 16 of 16"),
        (("--slow", "3=0.5"), "at least once"),
        (("--stragglers", "node:3=2"), "--stragglers takes 10=4"),
        (("--stragglers", "17=2"), "from 0 to all of its ranks"),
        (("--fail", "burn:3@write"), "not 'burn:3@write'"),
        (("--fail", "kill:3@lunch"), "there is no phase of a save lunch"),
        (("--fail", "lose-node:2@write"), "there is no node 2 of 2"),
        (("--heartbeat", "0"), "a heartbeat"),
    ],
)
def test_a_save_that_cannot_be_is_an_error_that_says_why(
    options: tuple[str, ...], why: str
) -> None:
    done = command(*SMALL, *options)
    assert done.exit_code == 2
    assert why in done.output
