"""`dcpcpp verify`."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated

import typer

import dcpcpp
from dcpcpp._look import DAMAGED, counted, safe
from dcpcpp._progress import waiting

if TYPE_CHECKING:
    from rich.console import Console


def verify(
    path: Annotated[
        str,
        typer.Argument(
            help="The checkpoint: a directory, a safetensors or torch file, or a URL for fsspec."
        ),
    ],
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the report as one JSON object.")
    ] = False,
) -> None:
    """Check every byte of a checkpoint, dcpcpp's or stock torch's, or of single files.

    Exit code 0: whole; 1: damaged; 2: could not be checked.
    """
    with waiting("verifying"):
        report = dcpcpp.verify(path)
    if as_json:
        typer.echo(json.dumps(report.to_json(), indent=2))
    else:
        from rich.console import Console

        _print(report, Console(highlight=False, soft_wrap=True))
    if not report.ok:
        raise typer.Exit(DAMAGED)


def _print(report: dcpcpp.VerifyReport, console: Console) -> None:
    """One line a damage, and a summary."""
    for damage in report.damages:
        console.print(f"damaged: {safe(str(damage))}", markup=False, style="red")
    verdict = "whole" if report.ok else f"{counted(len(report.damages), 'damage')}"
    keys = {damage.key for damage in report.damages if damage.key}
    if keys:
        verdict += f" in {counted(len(keys), 'key')}"
    console.print(
        f"{report.path}: {verdict}", markup=False, style="green" if report.ok else "bold red"
    )
    console.print(
        f"{counted(report.tensors, 'tensor')}, {counted(report.objects, 'object')}, "
        f"{counted(report.files, 'file')}, {_origin(report)}; {_extent(report)}",
        markup=False,
    )


def _extent(report: dcpcpp.VerifyReport) -> str:
    if not report.has_checksums:
        return f"checked headers and sizes in {report.seconds:.2f} s"
    rate = report.nbytes / report.seconds / 1e9 if report.seconds else 0.0
    return f"checked {report.nbytes:,} bytes in {report.seconds:.2f} s ({rate:.2f} GB/s)"


def _origin(report: dcpcpp.VerifyReport) -> str:
    if not report.has_checksums:
        return "without checksums of their data"
    if report.written_by is None:
        return "with the CRC-32s of its archive"
    return f"written by {report.written_by}"
