"""What the calls of a CheckpointManager begin with."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import torch.distributed as dist

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


def require_open(is_closed: bool) -> None:
    """A manager that did nothing after its end would lose what is to be saved.

    Raises:
        RuntimeError: it is closed.
    """
    if is_closed:
        raise RuntimeError("this CheckpointManager is closed")
