"""What killed saves left in a checkpoint directory."""

from __future__ import annotations

import os
from typing import Annotated, NamedTuple

import typer

from dcpcpp import _core
from dcpcpp._look import counted, print_json, safe
from dcpcpp._look_commands import AsJson
from dcpcpp._text import path_text


class Leftover(NamedTuple):
    """A file that belongs to no checkpoint."""

    name: str
    nbytes: int


def clean(path: str | os.PathLike[str], *, dry_run: bool = False) -> list[Leftover]:
    """Remove the leftovers of killed saves from the checkpoint directory `path`.

    The next save into it does the same. Files count whose names a save could have given
    and that no metadata in the directory names; nothing else is touched.

    Args:
        path: the checkpoint directory.
        dry_run: only tell what would be removed.

    Returns:
        The leftovers, by name; a name that begins with ../ is that of a directory beside
        the checkpoint's, with the bytes of its files.

    Raises:
        CheckpointBusyError: a save is at work there.
        CheckpointCorruptedError: metadata there cannot be read, so nobody knows which
            files it names; nothing was removed.
        FileNotFoundError: no such directory.
        RuntimeError: data files without any metadata, which may be on another node;
            nothing was removed. Or a directory beside it that cannot be emptied.
        OSError: a file that could not be removed; others may be gone.
    """
    return [Leftover(*found) for found in _core.clean(path_text(path), dry_run)]


def clean_command(
    path: Annotated[str, typer.Argument(help="A checkpoint directory.")],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show what is left.")] = False,
    as_json: AsJson = False,
) -> None:
    """Remove what killed saves left in a checkpoint directory; the next save does, too.

    JSON: `path`, `dry_run` and `leftovers` (a list of `name` and `nbytes`).
    """
    leftovers = clean(path, dry_run=dry_run)
    if as_json:
        found = [leftover._asdict() for leftover in leftovers]
        print_json({"path": path, "dry_run": dry_run, "leftovers": found})
        return
    for leftover in leftovers:
        typer.echo(f"{leftover.nbytes:>15,} B  {safe(leftover.name)}")
    total = sum(leftover.nbytes for leftover in leftovers)
    done = "left over" if dry_run else "removed"
    typer.echo(f"{counted(len(leftovers), 'file')}, {total:,} B {done}")
