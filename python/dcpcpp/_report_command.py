"""report: a page that shows a checkpoint."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from dcpcpp._look import safe, size_text
from dcpcpp._look_commands import CheckpointPath


def report(
    path: CheckpointPath,
    output: Annotated[
        Path, typer.Option("--output", "-o", help="The page, an HTML file; replaced if there.")
    ] = Path("report.html"),
    compare: Annotated[
        str | None, typer.Option(help="Another checkpoint, of another step for example.")
    ] = None,
    values: Annotated[
        bool, typer.Option("--values", help="Compare the bytes of both, too.")
    ] = False,
    verify: Annotated[
        bool,
        typer.Option(
            "--verify",
            help="Check every byte, as `dcpcpp verify` does; of safetensors that others wrote, "
            "which have no checksums, the headers.",
        ),
    ] = False,
    tensor: Annotated[
        list[str] | None,
        typer.Option(help="Keys whose histograms are shown: * ? [ab] as in a shell."),
    ] = None,
    trace: Annotated[
        list[str] | None,
        typer.Option(
            help="What SaveStats.write_trace wrote of the save, for its time line; may be given "
            "again, for each rank.",
            metavar="FILE",
        ),
    ] = None,
) -> None:
    """Write a page that shows a checkpoint: sizes, ranks and files, dtypes, integrity.

    It is one file that needs no network. Only metadata is read, unless --verify, --tensor or
    --values ask for more. When its parts were written no checkpoint tells: the time line of the
    save is drawn from traces.

    Exit code 0: written; 1: damaged metadata; 2: not written.
    """
    from dcpcpp._report_data import Wanted, report_data
    from dcpcpp._report_page import render

    if values and compare is None:
        raise ValueError("--values is of a comparison: name the other checkpoint by --compare")
    wanted = Wanted(tuple(tensor or ()), verify, compare, values, tuple(trace or ()))
    page = render(report_data(path, wanted))
    output.write_text(page, encoding="utf-8")
    typer.echo(f"{safe(str(output))}: {size_text(len(page))}")
