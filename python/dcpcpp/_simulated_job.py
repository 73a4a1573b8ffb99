"""The job that `dcpcpp simulate` is about, as its commands are told of it."""

from __future__ import annotations

import math
from typing import Annotated

import typer

DIMENSIONS = ("pp", "dp_replicate", "dp", "tp", "ep")  # as ranks are numbered, the slowest first

Ranks = Annotated[int, typer.Option(min=1, help="How many ranks the job has.")]
Model = Annotated[
    str, typer.Option(help="llama3-70b, llama3-405b or deepseek-v3, with AdamW's state.")
]
Mesh = Annotated[
    str,
    typer.Option(
        help="Degrees, as in dp=1024,tp=8,pp=16,ep=8; dp_replicate is HSDP's. "
        "dp is what the others leave of the ranks."
    ),
]
MaxItems = Annotated[
    int,
    typer.Option(
        min=1, help="Plan so many items; of a job with more, a sample of ranks stands for all."
    ),
]
MOST_ITEMS = 32 << 20


def degrees_of(mesh: str, ranks: int) -> dict[str, int]:
    """The degree of each dimension in `mesh`; what is not there is 1, and dp what is left.

    Raises:
        ValueError: `mesh` is no list of degrees, or is not one of `ranks` ranks.

    Example:
        >>> degrees_of("tp=8,pp=4", 256)
        {'pp': 4, 'dp_replicate': 1, 'dp': 8, 'tp': 8, 'ep': 1}
    """
    given: dict[str, int] = {}
    for part in filter(None, mesh.split(",")):
        name, _, text = part.partition("=")
        if name not in DIMENSIONS or not text.isdecimal() or int(text) < 1 or name in given:
            raise ValueError(
                f"--mesh takes a list as in dp=4,tp=8 of {', '.join(DIMENSIONS)}, not {part!r}"
            )
        given[name] = int(text)
    others = math.prod(given.get(name, 1) for name in ("pp", "dp_replicate", "tp"))
    given.setdefault("dp", max(ranks // others, 1))
    if others * given["dp"] != ranks:
        raise ValueError(f"--mesh {mesh} is one of {others * given['dp']:,} ranks, not {ranks:,}")
    return {name: given.get(name, 1) for name in DIMENSIONS}


def mesh_text(degrees: dict[str, int]) -> str:
    """The degrees above 1, after a colon; empty if there are none."""
    shown = ", ".join(f"{name}={degree}" for name, degree in degrees.items() if degree > 1)
    return f": {shown}" if shown else ""


def sample_text(some: int, ranks: int) -> str:
    """That `some` ranks stand for all; empty if they are all."""
    return "" if some == ranks else f", from {some:,} ranks that stand for all"
