"""Hooks of a CheckpointManager are told of each save and load, and can do no harm."""

from __future__ import annotations

import logging
import pathlib

import pytest

from dcpcpp import CheckpointEvent
from support.runs import Run


@pytest.mark.parametrize("mode", ["disabled", "async", "async_with_pinned_mem"])
def test_hooks_are_told_of_each_save_and_load(tmp_path: pathlib.Path, mode: str) -> None:
    told: list[CheckpointEvent] = []
    options = {"async_mode": mode, "export_dtype": "bfloat16", "last_save_in_hf": True}
    Run(tmp_path, given={"hooks": [told.append]}, **options).train(5, last=5)
    resumed = Run(tmp_path, given={"hooks": [told.append]}, **options)
    assert resumed.manager.load()
    seen = [(e.kind, e.step, e.format, e.model_only, e.dtype) for e in told]
    assert seen == [
        ("save", 2, "dcp", False, None),
        ("save", 4, "dcp", False, None),
        ("save", 5, "hf", True, "bfloat16"),
        ("load", 4, "dcp", False, None),
    ]
    assert [pathlib.Path(e.path).name for e in told] == ["step-2", "step-4", "step-5", "step-4"]
    for event in told:
        assert event.nbytes > 0
        assert event.gigabytes_per_second == event.nbytes / event.seconds / 1e9


@pytest.mark.parametrize("mode", ["async", "async_with_pinned_mem"])
def test_a_hook_may_wait_for_the_save_it_is_told_of(tmp_path: pathlib.Path, mode: str) -> None:
    told: list[int | None] = []

    def wait(event: CheckpointEvent) -> None:
        run.manager.wait()
        told.append(event.step)

    run = Run(tmp_path, given={"hooks": [wait]}, async_mode=mode)
    run.train(4)
    assert told == [2, 4]


def test_a_hook_that_fails_is_logged(
    tmp_path: pathlib.Path, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(event: CheckpointEvent) -> None:
        raise ConnectionError("no such project")

    told: list[CheckpointEvent] = []
    run = Run(tmp_path, given={"hooks": [fail, told.append]})
    with caplog.at_level(logging.WARNING, logger="dcpcpp"):
        assert run.manager.save(2)
    assert "failed after the save of" in caplog.text
    assert "no such project" in caplog.text
    assert len(told) == 1
