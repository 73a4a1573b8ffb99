"""Preemption: SIGTERM on one rank, and all save the same step and stop."""

from __future__ import annotations

import logging
import os
import pathlib
import signal
import threading
import time
from typing import Any

import pytest
import torch

from dcpcpp import Preemption, _manager_preemption
from support.ranks import run_on_ranks
from support.runs import Run, steps_in


def end_this_process() -> None:
    os.kill(os.getpid(), signal.SIGTERM)


@pytest.mark.parametrize("mode", ["disabled", "async", "async_with_pinned_mem"])
def test_a_process_that_is_to_end_saves_first(tmp_path: pathlib.Path, mode: str) -> None:
    before = signal.getsignal(signal.SIGTERM)
    with Preemption() as preemption:
        run = Run(tmp_path, given={"preemption": preemption}, interval=100, async_mode=mode)
        assert not run.manager.save(1)
        end_this_process()
        assert not run.manager.is_preempted
        run.progress["step"] = 2
        assert run.manager.save(2)
        assert run.manager.is_preempted
        run.manager.close()
    assert signal.getsignal(signal.SIGTERM) == before
    resumed = Run(tmp_path, seed=1)
    assert resumed.manager.load()
    assert resumed.progress["step"] == 2


def test_handlers_are_called_in_their_order_and_put_back() -> None:
    called: list[str] = []
    before = signal.signal(signal.SIGTERM, lambda *_: called.append("first"))
    first = signal.getsignal(signal.SIGTERM)
    try:
        with Preemption() as preemption:
            end_this_process()
            assert preemption.is_noticed
            assert called == ["first"]
        assert signal.getsignal(signal.SIGTERM) is first
        with Preemption((signal.SIGTERM, signal.SIGUSR1)) as preemption:
            ours = signal.getsignal(signal.SIGTERM)

            def last(number: int, frame: Any) -> None:
                called.append("last")
                assert callable(ours)
                ours(number, frame)

            signal.signal(signal.SIGTERM, last)
        assert signal.getsignal(signal.SIGTERM) is last  # which came later, and calls ours
        end_this_process()
        assert called == ["first", "last", "first"]
    finally:
        signal.signal(signal.SIGTERM, before)


def test_a_forked_process_ends_as_it_would_have() -> None:
    before = signal.signal(signal.SIGTERM, signal.SIG_DFL)
    try:
        with Preemption() as preemption:
            child = os.fork()
            if child == 0:
                end_this_process()
                time.sleep(60)
                os._exit(1)
            _, status = os.waitpid(child, 0)
            assert os.WTERMSIG(status) == signal.SIGTERM
            assert not preemption.is_noticed
    finally:
        signal.signal(signal.SIGTERM, before)


def test_other_threads_give_notice_without_a_handler(tmp_path: pathlib.Path) -> None:
    errors: list[str] = []
    preemption = Preemption()

    def enter() -> None:
        try:
            preemption.__enter__()
        except RuntimeError as error:
            errors.append(str(error))
        preemption.notice()

    thread = threading.Thread(target=enter)
    thread.start()
    thread.join()
    assert "signals are handled in the main thread" in errors[0]
    run = Run(tmp_path, given={"preemption": preemption}, load_only=True)
    assert not run.manager.save(1)
    assert run.manager.is_preempted
    assert not (tmp_path / "checkpoint").exists()


def run_until_preempted(folder: str) -> int:
    """Steps that nothing keeps in step; the slow rank, which is behind, is told to end."""
    rank = torch.distributed.get_rank()
    _manager_preemption._LOOK_SECONDS = 0.1
    with Preemption() as preemption:
        given = {"preemption": preemption}
        run = Run(pathlib.Path(folder), given=given, interval=100_000, async_mode="async")
        with run.manager as manager:
            while run.progress["step"] < 3000 and not manager.is_preempted:
                run.progress["step"] += 1
                if rank == 1 and run.progress["step"] == 5:
                    end_this_process()
                time.sleep(0.005 + 0.01 * rank)
                manager.save(run.progress["step"])
        return run.progress["step"]


def test_ranks_agree_on_the_last_step_when_one_is_to_end(tmp_path: pathlib.Path) -> None:
    steps = run_on_ranks(2, run_until_preempted, str(tmp_path), timeout=60)
    assert steps[0] == steps[1] < 3000
    assert steps_in(tmp_path) == [f"step-{steps[0]}"]
    resumed = Run(tmp_path, seed=1)
    assert resumed.manager.load()
    assert resumed.progress["step"] == steps[0]


def end_before_the_notice(folder: str) -> bool:
    """One rank's last call is over when the other gets its notice."""
    _manager_preemption._LOOK_SECONDS = 0.1
    rank = torch.distributed.get_rank()
    told = []
    for done_first in (0, 1):
        preemption = Preemption()
        run = Run(pathlib.Path(folder), given={"preemption": preemption}, interval=100)
        with run.manager as manager:
            manager.save(1)
            if rank != done_first:
                preemption.notice()
                time.sleep(0.5)  # so that its thread has seen it
            manager.save(2)
            told.append(manager.is_preempted)
    return any(told)


def test_a_rank_that_is_done_keeps_nobody_waiting(tmp_path: pathlib.Path) -> None:
    begin = time.monotonic()
    assert run_on_ranks(2, end_before_the_notice, str(tmp_path), timeout=60) == [False, False]
    assert time.monotonic() - begin < 30
    assert not (tmp_path / "checkpoint").exists()


def disturb_one_rank(failures: int) -> tuple[list[bool], str]:
    """One rank's Store fails before the notice, and it makes more calls than the other."""
    _manager_preemption._LOOK_SECONDS = 0.1
    rank = torch.distributed.get_rank()
    preemption = Preemption()
    call = _manager_preemption.last_call_of(preemption, torch.distributed.group.WORLD)
    warnings: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: warnings.append(record.getMessage())  # type: ignore[method-assign]
    _manager_preemption.logger.addHandler(handler)
    must_end, left = call._must_end, [failures if rank == 1 else 0]

    def fail_at_first(store: Any) -> bool:
        left[0] -= 1
        if left[0] >= 0:
            raise OSError("the Store is gone")
        return must_end(store)

    call._must_end = fail_at_first  # type: ignore[method-assign]
    while left[0] > 0:
        time.sleep(0.05)
    told = [call.is_here() for _ in range(2 + rank)]
    torch.distributed.barrier()
    preemption.notice()
    assert call._thread is not None
    call._thread.join(30)  # it ends with the agreement
    told += [call.is_here() for _ in range(2 - rank)]
    call.close()
    _manager_preemption.logger.removeHandler(handler)
    return told, "\n".join(warnings)


def test_a_rank_connects_once_more_to_a_store_that_failed() -> None:
    first, second = run_on_ranks(2, disturb_one_rank, 1, timeout=60)
    assert first[0] == second[0] == [False, False, False, True]


def test_a_rank_that_cannot_be_told_of_the_end_is_not_waited_for() -> None:
    first, second = run_on_ranks(2, disturb_one_rank, 2, timeout=60)
    assert first[0] == second[0] == [False, False, False, False]
    assert "nothing is saved before, because rank 1 " in first[1]
    assert "this rank cannot be told of an early end" in second[1]


def test_a_rank_that_does_not_answer_is_an_error(tmp_path: pathlib.Path) -> None:
    first, second = run_on_ranks(2, fail_to_agree, str(tmp_path), timeout=60)
    assert "its ranks cannot agree where: the Store is gone" in first
    assert second == ""  # it was told that nothing is agreed on


def fail_to_agree(folder: str) -> str:
    del folder
    _manager_preemption._LOOK_SECONDS = 0.1
    preemption = Preemption()
    call = _manager_preemption.last_call_of(preemption, torch.distributed.group.WORLD)
    rank = torch.distributed.get_rank()
    try:
        if rank == 0:
            call._take = _raise_gone  # type: ignore[method-assign]
        preemption.notice()
        time.sleep(0.5)
        call.is_here()
        return ""
    except RuntimeError as error:
        return str(error)
    finally:
        call.close()


def _raise_gone(*_: Any) -> bytes:
    raise OSError("the Store is gone")
