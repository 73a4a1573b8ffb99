"""verify and latest: is a checkpoint whole, and which one is the newest."""

from __future__ import annotations

import dataclasses
import logging
import os
import pathlib
import time
from typing import Any

from dcpcpp import _core, _plugins
from dcpcpp._text import is_url, path_text

_logger = logging.getLogger("dcpcpp")

JSON_SCHEMA = 1


@dataclasses.dataclass(frozen=True)
class Damage:
    """One thing that is wrong with a checkpoint.

    Where several tensors share the bytes that are wrong, each has a Damage of its own.

    Attributes:
        key: flat key of the tensor or object, or None if none is concerned.
        path: the file.
        byte_offset: where in the file the bytes begin that are wrong, or in doubt; None
            if it is the file as a whole.
        nbytes: how many they are, or None.
        message: what is wrong.
    """

    key: str | None
    path: str
    byte_offset: int | None
    nbytes: int | None
    message: str

    def __str__(self) -> str:
        where = self.path
        if self.byte_offset is not None:
            where += f" [offset={self.byte_offset} B, n={self.nbytes} B]"
        return f"{where} {self.key}: {self.message}" if self.key else f"{where}: {self.message}"


@dataclasses.dataclass(frozen=True)
class VerifyReport:
    """What `dcpcpp.verify` found.

    Attributes:
        path: the checkpoint.
        format: "dcp", "safetensors" or "torch".
        save_id: the id of the save that wrote it, or None.
        is_ours: whether dcpcpp wrote it, with checksums of every byte; else stock torch or
            torch.save, with those inside, or whoever wrote safetensors files, which have none.
        files: data files.
        tensors: keys of tensors.
        objects: keys of objects.
        nbytes: bytes of data that were checked. Records of torch.save without a CRC-32
            (`torch.serialization.set_crc32_options(False)`) are not among them.
        seconds: how long it took.
        damages: by file and offset; empty if the checkpoint is whole.
    """

    path: str
    format: str
    save_id: str | None
    is_ours: bool
    files: int
    tensors: int
    objects: int
    nbytes: int
    seconds: float
    damages: tuple[Damage, ...]

    @property
    def ok(self) -> bool:
        """Whether there is no damage."""
        return not self.damages

    @property
    def has_checksums(self) -> bool:
        """Whether data has any; that of safetensors files of others has none."""
        return self.is_ours or self.format != "safetensors"

    @property
    def written_by(self) -> str | None:
        """The program: "dcpcpp", "torch", or None where a file does not tell."""
        if self.is_ours:
            return "dcpcpp"
        return "torch" if self.format == "dcp" else None

    def to_json(self) -> dict[str, Any]:
        """What `dcpcpp verify --json` prints.

        Keys: `schema` (1; it changes when a key changes its meaning or goes), `path`,
        `format` ("dcp", "safetensors" or "torch"), `status` ("clean" or "damaged"), `written_by`
        ("dcpcpp", "torch", or null if that is not known), `save_id` (or null), `files`,
        `tensors`, `objects`, `nbytes`, `seconds`, and `damages`: a list of objects with
        `key`, `path`, `byte_offset`, `nbytes` (each but `path` may be null) and `message`.
        """
        return {
            "schema": JSON_SCHEMA,
            "path": self.path,
            "format": self.format,
            "status": "clean" if self.ok else "damaged",
            "written_by": self.written_by,
            "save_id": self.save_id,
            "files": self.files,
            "tensors": self.tensors,
            "objects": self.objects,
            "nbytes": self.nbytes,
            "seconds": self.seconds,
            "damages": [dataclasses.asdict(damage) for damage in self.damages],
        }


def verify(path: str | os.PathLike[str]) -> VerifyReport:
    """Check every byte of a checkpoint, dcpcpp's or stock torch's, and go on after damage.

    Of safetensors files that dcpcpp did not write, the headers are checked, the files' sizes
    and the index: their data has no checksums. Of a file of torch.save, the structure and the
    CRC-32s of its records. Needs neither torch nor memory for the tensors.

    Args:
        path: directory in PyTorch's format or of safetensors files, a safetensors file, a file
            of torch.save, or a URL of one of them for fsspec.

    Returns:
        A report that names every bad tensor, file and offset. What cannot be read is
        damage, too.

    Raises:
        FileNotFoundError: there is no checkpoint.
        ValueError: the file is not torch.save's.
        NotImplementedError: a plug-in serves the URL, or only torch can read all of the file.

    Example:
        >>> report = dcpcpp.verify("/ckpt/step-100")
        >>> assert report.ok, report.damages
    """
    place, file_system = _place_of(path)
    options = _core.IoOptions()
    if file_system is not None:  # Python: one call at a time
        options.engine, options.direct_io, options.workers = "threads", False, 1
    start = time.perf_counter()
    found = _core.verify(place, options, file_system)
    seconds = time.perf_counter() - start
    damages = tuple(
        Damage(d.fqn or None, d.path, d.byte_offset, d.nbytes, d.message) for d in found.damages
    )
    return VerifyReport(
        path=os.fspath(path),
        format=found.format,
        save_id=found.save_id or None,
        is_ours=found.is_ours,
        files=found.files,
        tensors=found.tensors,
        objects=found.objects,
        nbytes=found.nbytes,
        seconds=seconds,
        damages=damages,
    )


def latest(root: str | os.PathLike[str], verify: bool = False) -> pathlib.Path | None:
    """Return the newest committed step of a run, `root/step-<number>`, or None.

    Committed means that `.metadata` is there and can be parsed and, where dcpcpp wrote
    it, that the file of checksums is there and agrees with it; in safetensors, that the
    headers can be read of `model.safetensors`, or of what `model.safetensors.index.json`
    names. A directory that is
    broken is skipped, with a warning in the log "dcpcpp" that says why.

    Args:
        root: directory of the run. If there is none, there is no step either.
        verify: whether all data of the step must pass `dcpcpp.verify`, too.

    Example:
        >>> step = dcpcpp.latest("/ckpt")
        >>> if step is not None:
        ...     dcpcpp.load(state, checkpoint_id=step)
    """
    found = _core.find_latest(path_text(root), verify, _core.IoOptions())
    for skipped in found.skipped:
        _logger.warning("skipped %s: %s", skipped.directory.path, skipped.reason)
    return pathlib.Path(found.found.path) if found.found else None


def _place_of(path: str | os.PathLike[str]) -> tuple[str, Any]:
    """The path for libdcp, and its file system; None for the machine's own."""
    place = path_text(path)
    if not is_url(place):
        return place, None
    if _plugins.serves(place):
        raise NotImplementedError(f"verify reads files of the two formats only, not {place}")
    from fsspec.core import url_to_fs

    from dcpcpp._fsspec import FsspecFileSystem

    file_system, below = url_to_fs(place)
    return below, FsspecFileSystem(file_system)
