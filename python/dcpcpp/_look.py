"""What the commands that look into checkpoints share."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import typer

from dcpcpp.errors import CheckpointCorruptedError, CheckpointError

if TYPE_CHECKING:
    from dcpcpp import _core

# Of what `--json` prints; it changes when a key changes its meaning or goes.
JSON_SCHEMA = 1

DIFFERENT = DAMAGED = 1
NOT_DONE = 2


@dataclasses.dataclass
class _Settings:
    """What the options before the command say."""

    debug: bool = False


settings = _Settings()


@contextlib.contextmanager
def told() -> Iterator[None]:
    """Errors are one line, and exit code 1 if a checkpoint is damaged, else 2.

    By --debug they are tracebacks.
    """
    try:
        yield
    except (typer.Exit, typer.Abort, BrokenPipeError):
        raise  # which are kinds of RuntimeError and OSError
    except (CheckpointError, OSError, ValueError, RuntimeError, KeyError, ImportError) as error:
        if settings.debug:
            raise
        typer.echo(f"dcpcpp: error: {error_text(error)}", err=True)
        is_damage = isinstance(error, CheckpointCorruptedError)
        raise typer.Exit(DAMAGED if is_damage else NOT_DONE) from error


def error_text(error: Exception) -> str:
    """`error` in one line that a terminal can show."""
    text = str(error.args[0] if isinstance(error, KeyError) and error.args else error)
    if isinstance(error, OSError) and error.filename and error.strerror:
        # libdcp's names the path itself, and says more than number and path.
        names_it = str(error.filename) in error.strerror
        text = error.strerror if names_it else f"{error.filename}: {error.strerror}"
    return " ".join(map(safe, text.splitlines()))


def local_path(path: str | os.PathLike[str]) -> str:
    """`path` for libdcp.

    Raises:
        NotImplementedError: a URL.
    """
    from dcpcpp._text import is_url, path_text

    place = path_text(path)
    if is_url(place):
        raise NotImplementedError(
            f"this command takes paths of this machine, not {place}; copy the checkpoint first"
        )
    return place


def describe(path: str, *, items: bool = True) -> _core.CheckpointDescription:
    """What the checkpoint at `path` holds; without `items` no tensors and objects are listed."""
    from dcpcpp import _core

    return _core.describe(local_path(path), items)


def print_json(report: dict[str, Any]) -> None:
    """Print `report` with the schema's number before all else."""
    typer.echo(json.dumps({"schema": JSON_SCHEMA, **report}, indent=2))


def size_text(nbytes: int) -> str:
    """`nbytes` for people, in decimal units.

    Example:
        >>> size_text(1_530_000)
        '1.53 MB'
    """
    value = float(nbytes)
    for unit in ("B", "kB", "MB", "GB", "TB", "PB"):
        if value < 999.5 or unit == "PB":
            break
        value /= 1000
    return f"{nbytes} B" if unit == "B" else f"{value:.3g} {unit}"


def shape_text(shape: Sequence[int]) -> str:
    """A shape as torch shows it.

    Example:
        >>> shape_text((3, 4))
        '[3, 4]'
    """
    return str(list(shape))


def safe(text: str) -> str:
    """`text` with what a terminal would act on escaped: a key may have line breaks in it."""
    return text if text.isprintable() else ascii(text)[1:-1]


def counted(number: int, noun: str) -> str:
    """`number` with `noun`, which is in the plural unless it is one."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def print_columns(rows: Sequence[Sequence[str]], align: str) -> None:
    """Print `rows` in columns, which `align` has to the left (<) or right (>)."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = (
            f"{cell:{side}{width}}" for cell, side, width in zip(row, align, widths, strict=True)
        )
        typer.echo("  ".join(cells).rstrip())
