"""cp and reshard: a checkpoint somewhere else, as it is or as of other ranks."""

from __future__ import annotations

from typing import Annotated

import typer

from dcpcpp._look import counted, local_path, print_json, safe, size_text
from dcpcpp._look_commands import AsJson
from dcpcpp._progress import bar


def cp(
    source: Annotated[str, typer.Argument(help="A directory: DCP or safetensors.")],
    destination: Annotated[str, typer.Argument(help="A directory without a checkpoint.")],
    as_json: AsJson = False,
) -> None:
    """Copy a checkpoint as it is, checking what is read, as safely as a save writes it.

    Data goes first, and what makes it a checkpoint last; what is killed leaves no half of one.
    Files beside the checkpoint go along (a log that grows meanwhile as long as it was), those at
    the destination stay. What stays behind is named: links that lead elsewhere, and safetensors
    that the checkpoint's index does not name.

    Exit code 0: copied; 1: the source is damaged; 2: not copied.

    JSON: `source`, `destination`, `format`, `files`, `nbytes`, `left_alone` (names of files that
    were at the destination already), `not_copied` (`name` and `reason` of files that stayed
    behind).
    """
    from dcpcpp import _core

    with bar("cp") as tell:
        done = _core.copy_checkpoint(local_path(source), local_path(destination), tell)
    if as_json:
        print_json(
            {
                "source": source,
                "destination": destination,
                "format": done.format,
                "files": done.files,
                "nbytes": done.nbytes,
                "left_alone": done.left_alone,
                "not_copied": [{"name": n.name, "reason": n.reason} for n in done.not_copied],
            }
        )
        return
    for name in done.left_alone:
        typer.echo(f"{safe(name)} was there already, and stays")
    for left in done.not_copied:
        typer.echo(f"{safe(left.name)} is not copied: {safe(left.reason)}")
    copied = f"{counted(done.files, 'file')}, {size_text(done.nbytes)}"
    typer.echo(f"{safe(destination)}: {copied} copied")


def reshard(
    source: Annotated[
        str, typer.Argument(help="A checkpoint: DCP or safetensors directory, or torch file.")
    ],
    destination: Annotated[str, typer.Argument(help="Replaced in one step when all is written.")],
    ranks: Annotated[
        int, typer.Option(min=1, help="Of how many ranks the checkpoint will be.", metavar="N")
    ],
    as_json: AsJson = False,
) -> None:
    """Write a checkpoint as another number of ranks would have saved it.

    Any number of ranks can load any checkpoint. It is fastest where each finds in one file what
    FSDP2 gives it: tensors are cut along their first dimension.

    JSON: `source`, `destination`, `ranks`, `tensors`, `objects` and `nbytes`.
    """
    from dcpcpp import _core

    with bar("reshard") as tell:
        done = _core.reshard_checkpoint(local_path(source), local_path(destination), ranks, tell)
    if as_json:
        print_json(
            {
                "source": source,
                "destination": destination,
                "ranks": ranks,
                "tensors": done.tensors,
                "objects": done.objects,
                "nbytes": done.nbytes,
            }
        )
        return
    typer.echo(
        f"{safe(destination)}: {counted(done.tensors, 'tensor')}, "
        f"{counted(done.objects, 'object')}, {size_text(done.nbytes)}, "
        f"of {counted(ranks, 'rank')}"
    )
