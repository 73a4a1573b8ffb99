"""The ways in which a test saves: at once, or asynchronously."""

from __future__ import annotations

from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from torch.distributed.checkpoint.state_dict_saver import AsyncCheckpointerType

from dcpcpp._saver import process_saver
from support import formats
from support.formats import LIBRARIES, Format
from support.scoreboard import Subject

How = Literal["save", "thread", "process"]
ASYNC: tuple[How, ...] = ("thread", "process")
HOWS: tuple[How, ...] = ("save", *ASYNC)
# What is added to a line of the scoreboard.
SUFFIX: dict[How, str] = {
    "save": "",
    "thread": ", async saves",
    "process": ", async saves by another process",
}
NBYTES = 280_000  # of each tensor: more than what files keep in one block


@dataclass(frozen=True)
class Way:
    """Who saves, and how.

    Attributes:
        how: at once, in a thread, or by another process.
        subject: whose call it is.
        nbytes: of each tensor. The larger, the more of a save is writing.
        file_format: of the checkpoints.
    """

    how: How = "save"
    subject: Subject = "dcpcpp"
    nbytes: int = NBYTES
    file_format: Format = "native"

    @property
    def library(self) -> Any:
        return LIBRARIES[self.subject]

    def writer(self, directory: Path) -> Any:
        """A storage writer of one file for each rank, or for all of them."""
        return formats.writer(self.subject, self.file_format, directory)

    def begin(self, state: dict[str, Any], **options: Any) -> Future[Any]:
        """An async save's future."""
        response = self.respond(state, **options)
        upload: Future[Any] = getattr(response, "upload_completion", response)
        return upload

    def respond(self, state: dict[str, Any], **options: Any) -> Any:
        """What async_save returns."""
        if self.how == "process":
            options["async_checkpointer_type"] = AsyncCheckpointerType.PROCESS
        return self.library.async_save(state, **options)

    def save(self, state: dict[str, Any], **options: Any) -> None:
        """Returns when the checkpoint is there."""
        if self.how == "save":
            self.library.save(state, **options)
        else:
            self.begin(state, **options).result()


def saver_process() -> int:
    """The process that saves for this one."""
    process = process_saver().process_id
    assert process is not None
    return process
