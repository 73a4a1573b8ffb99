"""R22: names, links and special files lead no load and no save out of the directory."""

from __future__ import annotations

import contextlib
import json
import shutil
import signal
import subprocess
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

import dcpcpp
from support import faults, formats
from support.bad_paths import NAMES, SPECIAL, link, replace_by
from support.formats import FORMATS, IN, LIBRARIES, Format
from support.scoreboard import SUBJECTS, Subject, report

MAX_SECONDS = 10
LATE = MAX_SECONDS + 1
OURS, SECRET = 1.0, 2.0  # what lies in the checkpoint, and outside of it

INDEX = "model.safetensors.index.json"
# A data file, and what names it; NAMES say the former as native checkpoints do.
READ_FILES: dict[Format, list[str]] = {
    "native": ["__0_0.distcp", ".metadata"],
    "safetensors": ["model-00001-of-00001.safetensors", INDEX],
}
# Others that a save makes, or may replace.
WRITTEN_FILES: dict[Format, list[str]] = {
    "native": ["__0_1.distcp", ".metadata.tmp", ".dcpcpp.lock"],
    "safetensors": ["model.safetensors", ".dcpcpp.lock"],
}


def state(value: float) -> dict[str, Any]:
    return {"w": torch.full((100,), value)}


@contextlib.contextmanager
def no_longer_than(seconds: int) -> Iterator[None]:
    """Raises TimeoutError in whatever takes longer."""

    def ring(*_: object) -> None:
        raise TimeoutError("hung")

    before = signal.signal(signal.SIGALRM, ring)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


@contextlib.contextmanager
def pipes_open_after(seconds: int, directory: Path) -> Iterator[None]:
    """Opens pipes in `directory` for whoever waits for that, where no signal is answered."""
    script = f'sleep {seconds}; for f in "$0"/*; do [ -p "$f" ] && : <> "$f"; done'
    with subprocess.Popen(["/bin/sh", "-c", script, str(directory)]) as process:
        try:
            yield
        finally:
            process.kill()


def point_at(directory: Path, file_format: Format, name: str) -> None:
    """Make the checkpoint name one file as that of every tensor."""
    if file_format == "native":
        faults.point_at(directory, name)
        return
    index = json.loads((directory / INDEX).read_text())
    index["weight_map"] = dict.fromkeys(index["weight_map"], name)
    (directory / INDEX).write_text(json.dumps(index))


class Corpus:
    """Checkpoints of one format with something bad in them, for one library.

    Attributes:
        bad: what led out of the directory, hung, or harmed.
        count: of the trials.
    """

    def __init__(self, folder: Path, subject: Subject, file_format: Format) -> None:
        self._folder = folder
        self._subject = subject
        self._format = file_format
        self.bad: list[str] = []
        self.count = 0
        # `out` holds what nobody may touch.
        for name, value in (("out", SECRET), ("good", OURS)):
            writer = formats.writer("stock", file_format, folder / name)
            with warnings.catch_warnings(action="ignore"):
                LIBRARIES["stock"].save(state(value), storage_writer=writer, no_dist=True)

    def fresh_copy(self) -> Path:
        directory = self._folder / "c"
        shutil.rmtree(directory, ignore_errors=True)
        shutil.copytree(self._folder / "good", directory)
        return directory

    def load_names(self) -> None:
        data_file = READ_FILES[self._format][0]
        for name in NAMES:
            directory = self.fresh_copy()
            (directory / "sub").mkdir()
            place = {"out": self._folder / "out", "parent": self._folder.name, "name": "c"}
            path = (name.format(**place) if "{" in name else name).replace(
                "__0_0.distcp", data_file
            )
            point_at(directory, self._format, path)
            self._judge(repr(name[:60]), self._load_fault(directory))
        directory = self.fresh_copy()
        link(directory / "way", "../out")
        point_at(directory, self._format, f"way/{data_file}")
        self._judge("a link to a directory out", self._load_fault(directory))

    def load_special_files(self) -> None:
        for file in READ_FILES[self._format]:
            for what, plant in SPECIAL.items():
                directory = self.fresh_copy()
                plant(directory / file)
                self._judge(f"{what} for {file}", self._load_fault(directory))

    def save_over_special_files(self) -> None:
        out = self._folder / "out"
        for file in WRITTEN_FILES[self._format]:
            (out / file).write_text("precious")
        victims = faults.content(out)
        by_hard_link = replace_by(lambda path: path.hardlink_to(out / path.name))
        plants = {**SPECIAL, "a hard link": by_hard_link}
        for file in READ_FILES[self._format] + WRITTEN_FILES[self._format]:
            for what, plant in plants.items():
                directory = self.fresh_copy()
                plant(directory / file)
                self._judge(f"{what} for {file}, save", self._save_fault(directory, victims))
                restore(out, victims)

    def _judge(self, what: str, fault: str) -> None:
        self.count += 1
        if fault:
            self.bad.append(f"{what}: {fault}")

    def _load_fault(self, directory: Path) -> str:
        """What is wrong with how a load of `directory` ends, empty if nothing is."""
        wanted = state(0)
        is_ours = self._subject == "dcpcpp"
        kind = dcpcpp.CheckpointException if is_ours else BaseException
        try:
            with (
                contextlib.nullcontext() if is_ours else pipes_open_after(LATE, directory),
                no_longer_than(MAX_SECONDS),
                warnings.catch_warnings(action="ignore"),
            ):
                reader = formats.reader(self._subject, self._format, directory)
                LIBRARIES[self._subject].load(wanted, storage_reader=reader, no_dist=True)
        except TimeoutError:
            return "hung"
        except kind as error:
            return "hung" if "hung" in str(error) else ""
        # Some names lead back into the checkpoint.
        return "" if torch.equal(wanted["w"], state(OURS)["w"]) else "read a file outside"

    def _save_fault(self, directory: Path, victims: dict[str, bytes]) -> str:
        """What a save into `directory` does to files outside, empty if nothing."""
        try:
            with no_longer_than(MAX_SECONDS), warnings.catch_warnings(action="ignore"):
                writer = formats.writer(self._subject, self._format, directory)
                LIBRARIES[self._subject].save(state(3.0), storage_writer=writer, no_dist=True)
        except TimeoutError:
            return "hung"
        except BaseException as error:  # a refusal does no harm
            if "hung" in str(error):
                return "hung"
        return "" if faults.content(directory.parent / "out") == victims else "overwrote"


@pytest.mark.row("R22")
@pytest.mark.timeout(900)
@pytest.mark.parametrize("file_format", FORMATS)
@pytest.mark.parametrize("subject", SUBJECTS)
def test_no_path_leads_out_of_the_directory(
    tmp_path: Path, subject: Subject, file_format: Format
) -> None:
    corpus = Corpus(tmp_path, subject, file_format)
    corpus.load_names()
    corpus.load_special_files()
    corpus.save_over_special_files()
    report(
        "R22",
        "names, links and special files, loaded and saved over" + IN[file_format],
        subject=subject,
        count=corpus.count,
        bad=len(corpus.bad),
        seed=0,
        note=", ".join(sorted({fault.rpartition(": ")[2] for fault in corpus.bad})),
    )
    assert corpus.count >= 100
    assert subject == "stock" or corpus.bad == []


def restore(directory: Path, files: dict[str, bytes]) -> None:
    shutil.rmtree(directory)
    directory.mkdir()
    for name, content in files.items():
        (directory / name).write_bytes(content)
