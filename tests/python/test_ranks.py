"""The runner of ranks itself: a test on ranks must fail, not hang."""

from __future__ import annotations

import os
import threading
from typing import Any

import pytest
import torch
import torch.distributed as dist

from support import ranks


def sum_of_ranks(start: int) -> tuple[int, int]:
    total = torch.tensor([start + dist.get_rank()])
    dist.all_reduce(total)
    return dist.get_rank(), int(total)


def one_raises_and_one_hangs() -> None:
    if dist.get_rank() == 0:
        raise ValueError("broken on purpose")
    threading.Event().wait()


def one_dies() -> None:
    if dist.get_rank() == 1:
        os._exit(7)
    threading.Event().wait()


@pytest.fixture
def pool(monkeypatch) -> Any:
    monkeypatch.setattr(ranks, "_GRACE_SECONDS", 1.0)
    pool = ranks.RankPool(2)
    yield pool
    pool.close()


def test_results_come_by_rank(pool) -> None:
    assert pool.run(sum_of_ranks, 10) == [(0, 21), (1, 21)]
    assert pool.run(sum_of_ranks, 0) == [(0, 1), (1, 1)]
    with pytest.raises(ranks.RankError) as caught:
        pool.run(one_raises_and_one_hangs)
    assert "ValueError: broken on purpose" in caught.value.by_rank[0]
    assert caught.value.by_rank[1] == "did not answer in time"
    assert pool.is_broken


def test_a_dead_rank_is_told(pool) -> None:
    with pytest.raises(ranks.RankError, match="died: exit code 7"):
        pool.run(one_dies)
