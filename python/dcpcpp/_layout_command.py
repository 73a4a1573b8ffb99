"""layout: which part of what lies in which file."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from dcpcpp._look import (
    counted,
    local_path,
    print_columns,
    print_json,
    safe,
    shape_text,
    size_text,
)
from dcpcpp._look_commands import AsJson, CheckpointPath, matches, tell_no_match

if TYPE_CHECKING:
    from dcpcpp import _core


def layout(
    path: CheckpointPath,
    patterns: Annotated[
        list[str] | None,
        typer.Argument(help="Show the chunks of keys that match, too: * ? [ab] as in a shell."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Show which rank and file holds how much, how evenly, and where chunks lie.

    JSON: `path`, `format`, `files` (a list of `name`, `rank`, which may be null, `nbytes`,
    `items` and `keys`), `ranks` (`rank`, `files`, `nbytes` and `items`; empty where file names
    tell none), `file_imbalance` and `rank_imbalance` (the bytes of the largest over the mean;
    the latter null without ranks), and `chunks`: a list of `key`, `offsets` and `sizes` (null
    for an object), `file`, `byte_offset` and `nbytes`, of keys that match, or all.
    """
    from dcpcpp import _core

    found = _core.describe_layout(local_path(path))
    if as_json:
        print_json({"path": path, **layout_json(found), "chunks": _chunks(found, patterns)})
        return
    _print_files(found)
    if not patterns:
        return
    chunks = _chunks(found, patterns)
    if chunks:
        _print_chunks(chunks)
    else:
        tell_no_match(patterns)


def layout_json(found: _core.CheckpointLayout) -> dict[str, Any]:
    """What `--json` prints of files and ranks."""
    return {
        "format": found.format,
        "files": [
            {
                "name": file.name,
                "rank": file.rank,
                "nbytes": file.nbytes,
                "items": file.items,
                "keys": file.keys,
            }
            for file in found.files
        ],
        "ranks": [
            {"rank": rank.rank, "files": rank.files, "nbytes": rank.nbytes, "items": rank.items}
            for rank in found.ranks
        ],
        "file_imbalance": found.file_imbalance,
        "rank_imbalance": found.rank_imbalance if found.ranks else None,
    }


def _chunks(found: _core.CheckpointLayout, patterns: list[str] | None) -> list[dict[str, Any]]:
    names = [file.name for file in found.files]
    chunks = []
    for part in found.parts:
        if not matches(part.fqn, patterns):
            continue
        offsets, sizes = part.chunk or (None, None)
        chunks.append(
            {
                "key": part.fqn,
                "offsets": offsets,
                "sizes": sizes,
                "file": names[part.file],
                "byte_offset": part.byte_offset,
                "nbytes": part.nbytes,
            }
        )
    return chunks


def _print_files(found: _core.CheckpointLayout) -> None:
    rows = [
        (
            safe(file.name),
            "" if file.rank is None else str(file.rank),
            size_text(file.nbytes),
            f"{file.items:,}",
            f"{file.keys:,}",
        )
        for file in found.files
    ]
    if rows:
        print_columns([("file", "rank", "size", "items", "keys"), *rows], "<>>>>")
    total = size_text(sum(file.nbytes for file in found.files))
    typer.echo(f"{_balance(len(found.files), 'file', found.file_imbalance)}, {total} in all")
    if found.ranks:
        typer.echo(_balance(len(found.ranks), "rank", found.rank_imbalance))


def _balance(count: int, noun: str, imbalance: float) -> str:
    return f"{counted(count, noun)}; the largest has {imbalance:.2f} times the mean"


def _print_chunks(chunks: list[dict[str, Any]]) -> None:
    rows = [
        (
            safe(chunk["key"]),
            "" if chunk["offsets"] is None else shape_text(chunk["offsets"]),
            "object" if chunk["sizes"] is None else shape_text(chunk["sizes"]),
            safe(chunk["file"]),
            f"{chunk['byte_offset']:,}",
            size_text(chunk["nbytes"]),
        )
        for chunk in chunks
    ]
    typer.echo()
    print_columns([("key", "offsets", "shape", "file", "at byte", "size"), *rows], "<<<<>>")
