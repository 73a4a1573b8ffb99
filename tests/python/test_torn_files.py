"""R10 and R11: files that are torn, lost, swapped, or of another step, run or rank."""

from __future__ import annotations

import collections
import random
from collections.abc import Callable
from pathlib import Path

import pytest

from support import trials
from support.formats import FORMATS, IN, Format
from support.scoreboard import SUBJECTS, Subject, report
from support.scoreboard import trials as trial_count
from support.trials import Checkpoint, Loader, state_of

SEED = 1011
PAGE = 4096


def cut(draw: random.Random, checkpoint: Checkpoint) -> None:
    name = draw.choice(list(checkpoint.files))
    content = checkpoint.files[name]
    checkpoint.put(name, content[: draw.randrange(len(content))])


def cut_a_little(draw: random.Random, checkpoint: Checkpoint) -> None:
    name = draw.choice(list(checkpoint.files))
    content = checkpoint.files[name]
    checkpoint.put(name, content[: -1 - draw.randrange(min(PAGE, len(content) - 1))])


def zero(name: str, begin: int, end: int, checkpoint: Checkpoint) -> None:
    content = checkpoint.files[name]
    checkpoint.put(name, content[:begin] + bytes(end - begin) + content[end:])


def zero_a_page(draw: random.Random, checkpoint: Checkpoint) -> None:
    name = draw.choice(checkpoint.data_files)
    size = len(checkpoint.files[name])
    begin = draw.randrange(0, size, PAGE)
    zero(name, begin, min(begin + PAGE, size), checkpoint)


def zero_the_tail(draw: random.Random, checkpoint: Checkpoint) -> None:
    """A crash before delayed allocation leaves the right size."""
    name = draw.choice(list(checkpoint.files))
    size = len(checkpoint.files[name])
    zero(name, draw.randrange(size - 1), size, checkpoint)


def lose(draw: random.Random, checkpoint: Checkpoint) -> None:
    checkpoint.path(draw.choice(list(checkpoint.files))).unlink()


def swap(draw: random.Random, checkpoint: Checkpoint) -> None:
    first, second = draw.sample(list(checkpoint.files), 2)
    checkpoint.put(first, checkpoint.files[second])
    checkpoint.put(second, checkpoint.files[first])


def add(draw: random.Random, checkpoint: Checkpoint) -> None:
    name = draw.choice(list(checkpoint.files))
    checkpoint.put(name, checkpoint.files[name] + draw.randbytes(1 + draw.randrange(PAGE)))


TEARS: list[Callable[[random.Random, Checkpoint], None]] = [
    cut,
    cut_a_little,
    zero_a_page,
    zero_the_tail,
    lose,
    swap,
    add,
]


def is_torn(checkpoint: Checkpoint) -> bool:
    """Whether anything differs: a page may have been zero before."""
    return any(
        not checkpoint.path(name).exists() or checkpoint.path(name).read_bytes() != content
        for name, content in checkpoint.files.items()
    )


PAIRS = [(loader, "stock") for loader in SUBJECTS] + [("dcpcpp", "dcpcpp")]
Counts = collections.Counter[str]


def tear(
    loader: Subject, checkpoint: Checkpoint, what: str, number: int, file_format: Format = "native"
) -> tuple[Counts, Counts]:
    """Tear files of `state_of(1)`, and report: the outcomes, and what did silent harm."""
    expected = state_of(1, file_format)
    judge = Loader(loader, file_format)
    draw = random.Random(SEED)
    outcomes: Counts = collections.Counter()
    silent: Counts = collections.Counter()
    with trials.one_thread():
        while outcomes.total() < number:
            damage = draw.choice(TEARS)
            damage(draw, checkpoint)
            if is_torn(checkpoint):
                outcome = judge.judge(checkpoint.directory, expected)
                outcomes[outcome] += 1
                if outcome == "silent":
                    silent[damage.__name__] += 1
            checkpoint.restore()
    report(
        "R10",
        f"{what} cut, zeroed, lost, swapped, longer",
        subject=loader,
        count=number,
        bad=outcomes["silent"],
        seed=SEED,
        note=trials.count(outcomes),
    )
    return outcomes, silent


@pytest.mark.row("R10")
@pytest.mark.timeout(3600)
@pytest.mark.parametrize(("loader", "writer"), PAIRS)
def test_no_torn_file_changes_a_value_unnoticed(
    tmp_path: Path, loader: Subject, writer: Subject
) -> None:
    checkpoint = Checkpoint(trials.save(writer, 1, tmp_path / "c"))
    number = trial_count(quick=500, deep=5000)
    files = "our own files" if writer == "dcpcpp" else "files of stock torch"
    outcomes, silent = tear(loader, checkpoint, files, number)
    if loader == "dcpcpp":
        assert outcomes["silent"] == 0, silent
    if (loader, writer) == ("dcpcpp", "dcpcpp"):
        assert outcomes == {"detected": number}, "every byte of ours has a checksum"


@pytest.mark.row("R10")
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("files", [1, 2])
def test_no_torn_file_of_our_safetensors_changes_a_value_unnoticed(
    tmp_path: Path, files: int
) -> None:
    checkpoint = Checkpoint(trials.save("dcpcpp", 1, tmp_path / "c", "safetensors", files))
    number = trial_count(quick=80, deep=5000)
    what = "our own safetensors" + (", a single file," if files == 1 else "")
    outcomes, silent = tear("dcpcpp", checkpoint, what, number, "safetensors")
    assert outcomes["silent"] == 0, silent
    # Without its checksums a single file is as good as another program's.
    assert files == 1 or outcomes == {"detected": number}


@pytest.mark.row("R10")
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("loader", SUBJECTS)
def test_only_what_tensors_hold_can_change_in_safetensors_of_others(
    tmp_path: Path, loader: Subject
) -> None:
    checkpoint = Checkpoint(trials.save("stock", 1, tmp_path / "c", "safetensors"))
    what = "safetensors of stock torch, which have no checksums,"
    number = trial_count(quick=80, deep=5000)
    _, silent = tear(loader, checkpoint, what, number, "safetensors")
    assert set(silent) == {"zero_a_page", "zero_the_tail"}


SETS: list[tuple[Format, int]] = [("native", 2), ("safetensors", 2), ("safetensors", 1)]


def role_of(name: str) -> str:
    """The same in every checkpoint: sidecars have the save's id in their name."""
    return "sidecar" if name.startswith(".dcpcpp-") else name


def exchange(victim: Checkpoint, other: Checkpoint, roles: set[str]) -> None:
    """Give `victim` the other's files; a sidecar under the name that is looked for."""
    content = {role_of(name): data for name, data in other.files.items()}
    for name in victim.files:
        if role_of(name) in roles:
            victim.put(name, content[role_of(name)])


@pytest.mark.row("R11")
@pytest.mark.timeout(3600)
@pytest.mark.parametrize(("file_format", "files"), SETS)
@pytest.mark.parametrize("subject", SUBJECTS)
def test_files_of_different_saves_are_told_apart(
    tmp_path: Path, subject: Subject, file_format: Format, files: int
) -> None:
    """Their names are equal, and but for a digit in a text their sizes."""
    if (subject, files) == ("stock", 1):
        pytest.skip("stock DCP writes one file, and there is nothing to mix")
    saves = [
        (step, Checkpoint(trials.save(subject, step, tmp_path / f"{step}", file_format, files)))
        for step in range(1, 7)
    ]
    judge = Loader(subject, file_format)
    draw = random.Random(SEED)
    number = trial_count(quick=200 if file_format == "native" else 40, deep=2000)
    outcomes: collections.Counter[str] = collections.Counter()
    with trials.one_thread():
        for _ in range(number):
            (step, victim), (other_step, other) = draw.sample(saves, 2)
            roles = [role_of(name) for name in victim.files]
            some = set(draw.sample(roles, draw.randrange(1, len(roles))))
            exchange(victim, other, some)
            outcome = judge.judge(victim.directory, state_of(step, file_format))
            # All data of the other step, or another metadata of the same: no mix.
            if outcome == "silent":
                another = judge.judge(victim.directory, state_of(other_step, file_format))
                outcome = "unharmed" if another == "unharmed" else "silent"
            victim.restore()
            outcomes[outcome] += 1
    report(
        "R11",
        "some files of a checkpoint from another step or run"
        + IN[file_format]
        + (", a single file" if files == 1 else ""),
        subject=subject,
        count=number,
        bad=outcomes["silent"],
        seed=SEED,
        note=trials.count(outcomes),
    )
    if subject == "dcpcpp":
        assert outcomes == {"detected": number}


@pytest.mark.row("R11")
@pytest.mark.parametrize("file_format", FORMATS)
@pytest.mark.parametrize("subject", SUBJECTS)
def test_files_of_different_ranks_are_told_apart(
    tmp_path: Path, subject: Subject, file_format: Format
) -> None:
    checkpoint = Checkpoint(trials.save(subject, 1, tmp_path / "c", file_format))
    first, second = checkpoint.data_files
    checkpoint.put(first, checkpoint.files[second])
    expected = state_of(1, file_format)
    outcome = Loader(subject, file_format).judge(checkpoint.directory, expected)
    bad = int(outcome == "silent")
    what = ("another rank's file" if file_format == "native" else "another file") + IN[file_format]
    report("R11", what, subject=subject, count=1, bad=bad, seed=0, note=outcome)
    assert subject == "stock" or outcome == "detected"
