"""R9: one flipped bit, anywhere in a checkpoint, never changes a value unnoticed."""

from __future__ import annotations

import collections
import random
from pathlib import Path

import pytest

import dcpcpp
from support import trials
from support.scoreboard import SUBJECTS, Subject, report
from support.scoreboard import trials as trial_count
from support.trials import Checkpoint, Loader, state_of

SEED = 909
# Who loads, and who wrote what is loaded.
PAIRS = [(loader, "stock") for loader in SUBJECTS] + [("dcpcpp", "dcpcpp")]


def draw_bit(draw: random.Random, checkpoint: Checkpoint) -> tuple[str, int]:
    """A bit of any file: by size, and as often by file, so that small ones get theirs."""
    names = list(checkpoint.files)
    weights = [len(content) for content in checkpoint.files.values()]
    (name,) = draw.choices(names, weights) if draw.random() < 0.5 else draw.choices(names)
    return name, draw.randrange(len(checkpoint.files[name]) * 8)


def require_named(error: BaseException | None, checkpoint: Checkpoint, name: str, bit: int) -> None:
    """The error for damage in a data file names file, range and tensor."""
    assert isinstance(error, dcpcpp.CheckpointCorruptedError), error
    assert error.path == str(checkpoint.path(name))
    assert error.byte_offset is not None
    assert error.nbytes is not None
    assert error.byte_offset <= bit // 8 < error.byte_offset + error.nbytes
    assert error.key
    assert error.key in str(error)


@pytest.mark.row("R9")
@pytest.mark.timeout(3600)
@pytest.mark.parametrize(("loader", "writer"), PAIRS)
def test_no_flipped_bit_changes_a_value_unnoticed(
    tmp_path: Path, loader: Subject, writer: Subject
) -> None:
    checkpoint = Checkpoint(trials.save(writer, 1, tmp_path / "c"))
    expected = state_of(1)
    judge = Loader(loader)
    draw = random.Random(SEED)
    number = trial_count(quick=2000, deep=10_000)
    outcomes: collections.Counter[str] = collections.Counter()
    silent = []
    unharmed = set()
    with trials.one_thread():
        assert judge.judge(checkpoint.directory, expected) == "unharmed", judge.error
        for _ in range(number):
            name, bit = draw_bit(draw, checkpoint)
            checkpoint.flip(name, bit)
            outcome = judge.judge(checkpoint.directory, expected)
            checkpoint.flip(name, bit)
            outcomes[outcome] += 1
            if outcome == "silent":
                silent.append((name, bit))
            if outcome == "unharmed":
                unharmed.add(name)
            if loader == "dcpcpp" and outcome == "detected" and name in checkpoint.data_files:
                require_named(judge.error, checkpoint, name, bit)
    files = "our own files" if writer == "dcpcpp" else "files of stock torch"
    report(
        "R9",
        f"a bit flipped in {files}",
        subject=loader,
        count=number,
        bad=outcomes["silent"],
        seed=SEED,
        note=trials.count(outcomes),
    )
    if loader == "dcpcpp":
        assert silent == []
    if (loader, writer) == ("dcpcpp", "dcpcpp"):
        # A save id that is not ours any more makes the checkpoint stock torch's, whose items
        # have checksums, too. All else is under a checksum of ours.
        assert unharmed <= {trials.METADATA}
