"""How the ranks of a CheckpointManager agree."""

from __future__ import annotations

import traceback
from collections.abc import Callable
from typing import Any, TypeVar

import torch.distributed as dist

from dcpcpp._exceptions import CheckpointException, Failures

T = TypeVar("T")


def on_first_rank(group: Any, call: Callable[[], T]) -> T:
    """What `call` returns or raises on the first rank of `group`, on all of its ranks.

    Collective. `group` is None for this process alone.
    """
    if group is None:
        return call()
    answer: list[Any] = [None]
    if dist.get_rank(group) == 0:
        try:
            answer = [(call(), None)]
        except Exception as error:
            answer = [(None, error)]
    dist.broadcast_object_list(answer, src=dist.get_global_rank(group, 0), group=group)
    result: T = answer[0][0]
    failure: Exception | None = answer[0][1]
    if failure is not None:
        raise failure
    return result


def on_all_ranks(group: Any, phase: str, call: Callable[[], None]) -> None:
    """Have every rank of `group` `call`; if it raises on one of them, all raise.

    Collective. That rank raises its own error, the others a CheckpointException that
    names it. `group` is None for this process alone.
    """
    error: Exception | None = None
    try:
        call()
    except Exception as failure:
        error = failure
    texts: list[str | None] = [None]
    if group is not None:
        texts *= dist.get_world_size(group)
        text = None if error is None else f"{type(error).__name__}: {error}"
        dist.all_gather_object(texts, text, group=group)
    if error is not None:
        raise error
    failures: Failures = {
        rank: (RuntimeError(text), traceback.StackSummary())
        for rank, text in enumerate(texts)
        if text is not None
    }
    if failures:
        raise CheckpointException(phase, failures)


def require_open(is_closed: bool) -> None:
    """A manager that did nothing after its end would lose what is to be saved.

    Raises:
        RuntimeError: it is closed.
    """
    if is_closed:
        raise RuntimeError("this CheckpointManager is closed")
