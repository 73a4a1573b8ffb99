"""R9: one flipped bit, anywhere in a checkpoint, never changes a value unnoticed."""

from __future__ import annotations

import collections
import random
from pathlib import Path

import pytest
import torch

import dcpcpp
from support import trials
from support.formats import Format
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
    if error.byte_offset is None:  # a header that is not what the format says
        assert bit // 8 < checkpoint.data_offset(name)
        return
    assert error.nbytes is not None
    assert error.byte_offset <= bit // 8 < error.byte_offset + error.nbytes
    if name.endswith(".safetensors") and error.byte_offset == 0:
        return  # the block of the header, which is what tells the tensors
    assert error.key
    assert error.key in str(error)


class Flips:
    """Bits of one checkpoint of `state_of(1)` that are flipped, one at a time.

    Attributes:
        outcomes: how many loads ended how.
        silent: the bits, as (file, bit), that changed a value unnoticed.
        unharmed: the files in which a bit changed nothing.
    """

    def __init__(self, loader: Subject, checkpoint: Checkpoint, file_format: Format) -> None:
        self._checkpoint = checkpoint
        self._judge = Loader(loader, file_format)
        self._expected = state_of(1, file_format)
        self.outcomes: collections.Counter[str] = collections.Counter()
        self.silent: list[tuple[str, int]] = []
        self.unharmed: set[str] = set()

    def run(self, number: int) -> None:
        draw = random.Random(SEED)
        with trials.one_thread():
            assert self._load() == "unharmed", self._judge.error
            for _ in range(number):
                self._try(*draw_bit(draw, self._checkpoint))

    def _try(self, name: str, bit: int) -> None:
        self._checkpoint.flip(name, bit)
        outcome = self._load()
        self._checkpoint.flip(name, bit)
        self.outcomes[outcome] += 1
        if outcome == "silent":
            self.silent.append((name, bit))
        elif outcome == "unharmed":
            self.unharmed.add(name)
        elif self._judge.subject == "dcpcpp" and name in self._checkpoint.data_files:
            require_named(self._judge.error, self._checkpoint, name, bit)
        elif self._judge.subject == "dcpcpp":
            assert str(self._checkpoint.directory) in str(self._judge.error), self._judge.error

    def _load(self) -> trials.Outcome:
        return self._judge.judge(self._checkpoint.directory, self._expected)


def flip(
    loader: Subject, checkpoint: Checkpoint, what: str, number: int, file_format: Format = "native"
) -> Flips:
    """Flip bits, and report what came of it."""
    flips = Flips(loader, checkpoint, file_format)
    flips.run(number)
    report(
        "R9",
        f"a bit flipped in {what}",
        subject=loader,
        count=number,
        bad=flips.outcomes["silent"],
        seed=SEED,
        note=trials.count(flips.outcomes),
    )
    return flips


@pytest.mark.row("R9")
@pytest.mark.timeout(3600)
@pytest.mark.parametrize(("loader", "writer"), PAIRS)
def test_no_flipped_bit_changes_a_value_unnoticed(
    tmp_path: Path, loader: Subject, writer: Subject
) -> None:
    checkpoint = Checkpoint(trials.save(writer, 1, tmp_path / "c"))
    files = "our own files" if writer == "dcpcpp" else "files of stock torch"
    flips = flip(loader, checkpoint, files, trial_count(quick=2000, deep=10_000))
    if loader == "dcpcpp":
        assert flips.silent == []
    if (loader, writer) == ("dcpcpp", "dcpcpp"):
        # A save id that is not ours any more makes the checkpoint stock torch's, whose items
        # have checksums, too. All else is under a checksum of ours.
        assert flips.unharmed <= {trials.METADATA}


@pytest.mark.row("R9")
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("files", [1, 2])
def test_no_flipped_bit_in_our_safetensors_changes_a_value_unnoticed(
    tmp_path: Path, files: int
) -> None:
    checkpoint = Checkpoint(trials.save("dcpcpp", 1, tmp_path / "c", "safetensors", files))
    what = "our own safetensors" + (", a single file" if files == 1 else "")
    flips = flip("dcpcpp", checkpoint, what, trial_count(quick=150, deep=10_000), "safetensors")
    assert flips.silent == []
    # A single file has no index that binds it to its checksums: if these are unreadable, it
    # counts as another program's.
    sidecars = {name for name in checkpoint.files if name.startswith(".dcpcpp-")}
    assert flips.unharmed <= (sidecars if files == 1 else set())


def test_damage_behind_the_first_block_of_safetensors_names_the_tensor(tmp_path: Path) -> None:
    state = {name: torch.full((400_000,), 1.0) for name in "abc"}
    dcpcpp.save(state, storage_writer=dcpcpp.HuggingFaceStorageWriter(tmp_path), no_dist=True)
    checkpoint = Checkpoint(tmp_path)
    (name,) = checkpoint.data_files
    bit = 8 * (len(checkpoint.files[name]) - 10)
    checkpoint.flip(name, bit)
    with pytest.raises(dcpcpp.CheckpointException) as raised:
        dcpcpp.load(state, checkpoint_id=tmp_path, no_dist=True)
    require_named(raised.value, checkpoint, name, bit)
    assert raised.value.key == "c"


@pytest.mark.row("R9")
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("loader", SUBJECTS)
def test_safetensors_of_others_have_no_checksums(tmp_path: Path, loader: Subject) -> None:
    """What must be as the format says is checked; what tensors hold is what it is."""
    checkpoint = Checkpoint(trials.save("stock", 1, tmp_path / "c", "safetensors"))
    what = "safetensors of stock torch, which have no checksums"
    flips = flip(loader, checkpoint, what, trial_count(quick=100, deep=10_000), "safetensors")
    assert flips.silent
    if loader == "dcpcpp":
        offsets = {name: checkpoint.data_offset(name) for name in checkpoint.data_files}
        in_heads = [(name, bit) for name, bit in flips.silent if bit // 8 < offsets.get(name, bit)]
        assert in_heads == []
