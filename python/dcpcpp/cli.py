"""The command line `dcpcpp`."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup
from typer.main import get_command

import dcpcpp
from dcpcpp._look import settings, told

# Each command's module and function, or commands of its own.
_PLACES = {
    "config": ("dcpcpp.cli", "show_config"),
    "bench": ("dcpcpp.bench.command", "bench"),
    "clean": ("dcpcpp._clean", "clean_command"),
    "consolidate": ("dcpcpp._convert", "consolidate_command"),
    "convert": ("dcpcpp._convert", "convert_command"),
    "cp": ("dcpcpp._copy_commands", "cp"),
    "diff": ("dcpcpp._diff_command", "diff"),
    "info": ("dcpcpp._look_commands", "info"),
    "layout": ("dcpcpp._layout_command", "layout"),
    "ls": ("dcpcpp._look_commands", "ls"),
    "prune": ("dcpcpp._prune_command", "prune"),
    "report": ("dcpcpp._report_command", "report"),
    "reshard": ("dcpcpp._copy_commands", "reshard"),
    "simulate": ("dcpcpp._simulate_command", "app"),
    "stats": ("dcpcpp._diff_command", "stats"),
    "tree": ("dcpcpp._look_commands", "tree"),
    "verify": ("dcpcpp._verify_command", "verify"),
}


class _Commands(TyperGroup):
    """Makes a command when it is asked for: to make all of them takes as long as some run."""

    def __init__(self, **attributes: Any) -> None:
        super().__init__(**attributes)
        made: Any = dict.fromkeys(_PLACES)
        self.commands = made  # by its keys typer knows what a typo may stand for

    def list_commands(self, ctx: Any) -> list[str]:
        """The names of all commands."""
        return list(_PLACES)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """The command of that name, or None."""
        if cmd_name in _PLACES and self.commands[cmd_name] is None:
            self.commands[cmd_name] = _make_command(cmd_name)
        return self.commands.get(cmd_name)

    def invoke(self, ctx: Any) -> Any:
        """Run the command; an error is one line, or by --debug a traceback."""
        with told():
            return super().invoke(ctx)


def _make_command(name: str) -> Any:
    module, attribute = _PLACES[name]
    made = getattr(importlib.import_module(module), attribute)
    if isinstance(made, typer.Typer):
        return get_command(made)
    alone = typer.Typer(add_completion=False)
    alone.command(name)(made)
    return get_command(alone)


app = typer.Typer(
    name="dcpcpp",
    cls=_Commands,
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


def show_config(
    directory: Annotated[
        Path, typer.Argument(exists=True, file_okay=False, help="Where checkpoints are to lie.")
    ] = Path(),
) -> None:
    """Show versions, the I/O engine and why it was chosen, direct I/O, and CUDA."""
    dcpcpp.show_config(directory)


def main() -> None:
    """Run the command line."""
    app()
