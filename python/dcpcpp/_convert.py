"""convert: a checkpoint in another format, without a model."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from dcpcpp import _core
from dcpcpp._text import path_text

if TYPE_CHECKING:
    import torch

FORMATS = ("dcp", "torch")

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class ConvertReport:
    """What `dcpcpp.convert` did.

    Attributes:
        tensors: keys of tensors.
        objects: keys of objects.
        nbytes: bytes of the tensors, as they are stored now.
        seconds: how long it took.
    """

    tensors: int
    objects: int
    nbytes: int
    seconds: float


def convert(
    source: str | os.PathLike[str],
    destination: str | os.PathLike[str],
    *,
    to: str | None = None,
    dtype: str | torch.dtype | None = None,
    progress: Progress | None = None,
) -> ConvertReport:
    """Write the checkpoint `source` in another format, or dtype, to `destination`.

    Needs no model, no process group, not even torch, and less than 1 GiB of memory whatever
    the size, for tensors; objects are in memory as they are. What is read is checked as a
    load checks it. `destination` is replaced in one step, when everything is written.
    A process that is killed before leaves what `dcpcpp.clean` removes, or beside a torch file
    one named "<destination>.<hex>.partial".

    Args:
        source: a directory in the format of `torch.distributed.checkpoint`, of whichever
            writer, or of safetensors files; or a file of `torch.save`. No code that it
            names is run.
        destination: a directory, or a file.
        to: "dcp" or "torch", a file for `torch.load(weights_only=True)`; None: "torch" if
            the name ends in .pt, .pth or .bin, else "dcp".
        dtype: what floating-point tensors become, "bfloat16" for example; None: they stay.
        progress: called now and then with the bytes that are done and those in all.

    Raises:
        FileNotFoundError: there is no checkpoint.
        CheckpointCorruptedError: it is damaged, or an attack.
        NotImplementedError: a tensor that only torch can rebuild (a subclass, a sparse
            one); an object that only Python can copy;
            a URL.
        ValueError: source and destination are the same; a file of torch before 1.6.

    Example:
        >>> dcpcpp.convert("/ckpt/step-100", "model.pt", dtype="bfloat16")
    """
    if to is not None and to not in FORMATS:
        raise ValueError(f"to is one of {', '.join(FORMATS)}, not {to!r}")
    for place in (source, destination):
        if "://" in os.fspath(place):
            raise NotImplementedError(f"convert takes paths of this machine, not {place}")
    start = time.perf_counter()
    done = _core.convert(
        path_text(source),
        path_text(destination),
        to,
        None if dtype is None else _code_of(dtype),
        progress,
        _core.single_process_transport(),
    )
    return ConvertReport(
        tensors=done.tensors,
        objects=done.objects,
        nbytes=done.nbytes,
        seconds=time.perf_counter() - start,
    )


def _code_of(dtype: str | torch.dtype) -> int:
    name = str(dtype).removeprefix("torch.")
    code = _core.dtype_codes().get(name)
    if code is None:
        raise ValueError(f"there is no dtype {name!r}")
    return code


def convert_command(
    source: Annotated[
        str, typer.Argument(help="A checkpoint: DCP or safetensors directory, or torch file.")
    ],
    destination: Annotated[str, typer.Argument(help="Replaced in one step when all is written.")],
    to: Annotated[
        str | None,
        typer.Option(help="dcp or torch; torch by default for names in .pt, .pth or .bin."),
    ] = None,
    dtype: Annotated[
        str | None, typer.Option(help="What floating-point tensors become, e.g. bfloat16.")
    ] = None,
) -> None:
    """Write a checkpoint in another format, or dtype, without a model."""
    if not sys.stderr.isatty():
        report = convert(source, destination, to=to, dtype=dtype)
    else:
        report = _convert_with_bar(source, destination, to, dtype)
    rate = report.nbytes / report.seconds / 1e9 if report.seconds else 0.0
    typer.echo(
        f"{destination}: {report.tensors:,} tensor(s), {report.objects:,} object(s), "
        f"{report.nbytes:,} bytes in {report.seconds:.2f} s ({rate:.2f} GB/s)"
    )


def _convert_with_bar(
    source: str, destination: str, to: str | None, dtype: str | None
) -> ConvertReport:
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, TimeRemainingColumn, TransferSpeedColumn
    from rich.progress import Progress as Bars

    columns = (BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn())
    with Bars(*columns, console=Console(stderr=True), transient=True) as bars:
        task = bars.add_task("convert", total=None)
        return convert(
            source,
            destination,
            to=to,
            dtype=dtype,
            progress=lambda done, total: bars.update(task, completed=done, total=total),
        )
