"""The command line `dcpcpp`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

import dcpcpp
from dcpcpp._clean import clean_command
from dcpcpp._convert import consolidate_command, convert_command
from dcpcpp._copy_commands import cp, reshard
from dcpcpp._diff_command import diff, stats
from dcpcpp._layout_command import layout
from dcpcpp._look import error_text, settings
from dcpcpp._look_commands import info, ls, tree
from dcpcpp._prune_command import prune
from dcpcpp._report_command import report
from dcpcpp._simulate_command import app as simulate
from dcpcpp._verify_command import verify
from dcpcpp.bench.command import bench
from dcpcpp.errors import CheckpointError

app = typer.Typer(
    name="dcpcpp",
    help="Distributed checkpoints in PyTorch's own formats.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"dcpcpp {dcpcpp.__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Print the version."
        ),
    ] = False,
    debug: Annotated[
        bool, typer.Option("--debug", help="Show where an error comes from (a traceback).")
    ] = False,
) -> None:
    settings.debug = debug


@app.command("config")
def show_config(
    directory: Annotated[
        Path, typer.Argument(exists=True, file_okay=False, help="Where checkpoints are to lie.")
    ] = Path(),
) -> None:
    """Show versions, the I/O engine and why it was chosen, direct I/O, and CUDA."""
    dcpcpp.show_config(directory)


app.command("bench")(bench)
app.command("clean")(clean_command)
app.command("consolidate")(consolidate_command)
app.command("convert")(convert_command)
app.command("cp")(cp)
app.command("diff")(diff)
app.command("info")(info)
app.command("layout")(layout)
app.command("ls")(ls)
app.command("prune")(prune)
app.command("report")(report)
app.command("reshard")(reshard)
app.add_typer(simulate, name="simulate")
app.command("stats")(stats)
app.command("tree")(tree)
app.command("verify")(verify)


def main() -> None:
    """Run the command line; errors are one line and exit code 1, or tracebacks by --debug."""
    try:
        app()
    except (CheckpointError, OSError, ValueError, RuntimeError) as error:
        if settings.debug:
            raise
        typer.echo(f"dcpcpp: error: {error_text(error)}", err=True)
        sys.exit(1)
