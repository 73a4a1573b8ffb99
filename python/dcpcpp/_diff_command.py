"""stats and diff: the numbers in a tensor, and what two checkpoints do not share."""

from __future__ import annotations

import contextlib
import difflib
import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dcpcpp._look import (
    DIFFERENT,
    counted,
    describe,
    local_path,
    print_columns,
    print_json,
    safe,
    shape_text,
    size_text,
)
from dcpcpp._look_commands import AsJson, CheckpointPath
from dcpcpp._progress import waiting

if TYPE_CHECKING:
    from dcpcpp import _core

    Form = tuple[str, list[int]] | None


def stats(
    path: CheckpointPath,
    key: Annotated[str, typer.Argument(help="A tensor, as `ls` shows it.")],
    as_json: AsJson = False,
) -> None:
    """Read one tensor, and show what numbers it holds.

    JSON: `path`, `key`, `dtype`, `shape`, `elements`, `nan`, `positive_inf`, `negative_inf`,
    `zeros`, and of the finite elements `min`, `max`, `mean`, `std`; null if there are none.
    """
    from dcpcpp import _core

    with waiting(f"reading {safe(key)}"), _told_what_there_is(path, key):
        found = _core.compute_statistics(local_path(path), key)
    report = stats_json(found)
    if as_json:
        print_json({"path": path, "key": key, **report})
        return
    report["shape"] = shape_text(found.shape)
    print_columns([(name, _number_text(value)) for name, value in report.items()], "<<")


@contextlib.contextmanager
def _told_what_there_is(path: str, key: str) -> Iterator[None]:
    """Adds to the error of a key that is not there which one may be meant."""
    try:
        yield
    except KeyError as error:
        about = describe(path)
        hint = "`dcpcpp ls` lists those that there are"
        if any(described.fqn == key for described in about.objects):
            hint = f"{key} is an object"
        elif close := difflib.get_close_matches(key, [t.fqn for t in about.tensors], 1):
            hint = f"did you mean {close[0]}?"
        raise KeyError(f"{error.args[0]}; {hint}") from error


def stats_json(found: _core.TensorStatistics) -> dict[str, Any]:
    """The numbers of `found`, as JSON can have them."""
    numbers = {
        "min": found.min,
        "max": found.max,
        "mean": found.mean,
        "std": found.standard_deviation,
    }
    return {
        "dtype": found.dtype,
        "shape": list(found.shape),
        "elements": found.elements,
        "nan": found.nans,
        "positive_inf": found.positive_infinities,
        "negative_inf": found.negative_infinities,
        "zeros": found.zeros,
        **{name: value if math.isfinite(value) else None for name, value in numbers.items()},
    }


def _number_text(value: object) -> str:
    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{value:.9g}"
    return f"{value:,}" if isinstance(value, int) else str(value)


def diff(
    a: Annotated[str, typer.Argument(help="A checkpoint: see `ls`.")],
    b: Annotated[str, typer.Argument(help="Another, in whichever format.")],
    values: Annotated[
        bool, typer.Option("--values", help="Read the tensors and objects of both, too.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Compare two checkpoints: keys, dtypes and shapes, and with --values all bytes.

    Exit code 0: no difference; 1: differences, or damage; 2: could not be compared.

    JSON: `a`, `b`, `status` ("equal" or "different"), `only_in_a`, `only_in_b`, `forms` (a list
    of `key`, `a`, `b`, which are null for an object, else have `dtype` and `shape`), `values`
    (null without --values, else a list of `key`, `elements` and `max_distance`, which is null
    where there is none), `keys_in_common` and `nbytes_compared`.
    """
    from dcpcpp import _core

    with waiting("comparing"):
        found = _core.compare(local_path(a), local_path(b), values)
    if as_json:
        print_json(diff_json(a, b, found, values))
    else:
        _print_diff(found, values)
    if not found.empty:
        raise typer.Exit(DIFFERENT)


def diff_json(a: str, b: str, found: _core.CheckpointDifference, values: bool) -> dict[str, Any]:
    """What `--json` prints."""
    return {
        "a": a,
        "b": b,
        "status": "equal" if found.empty else "different",
        "only_in_a": found.only_in_a,
        "only_in_b": found.only_in_b,
        "forms": [
            {"key": form.fqn, "a": _form_json(form.a), "b": _form_json(form.b)}
            for form in found.forms
        ],
        "values": [_value_json(value) for value in found.values] if values else None,
        "keys_in_common": found.keys_in_common,
        "nbytes_compared": found.nbytes_compared,
    }


def _form_json(form: Form) -> dict[str, Any] | None:
    return None if form is None else {"dtype": form[0], "shape": form[1]}


def _value_json(value: _core.ValueDifference) -> dict[str, Any]:
    distance = value.max_distance
    return {
        "key": value.fqn,
        "elements": value.elements,
        # JSON has neither NaN nor infinity.
        "max_distance": distance if distance is not None and math.isfinite(distance) else None,
    }


def _form_text(form: Form) -> str:
    return "object" if form is None else f"{form[0]} {shape_text(form[1])}"


def _value_text(value: _core.ValueDifference) -> str:
    if not value.elements:
        return "another value"
    text = f"{counted(value.elements, 'element')} differ{'s' if value.elements == 1 else ''}"
    return text if value.max_distance is None else f"{text}, by {value.max_distance:.6g} at most"


def _print_diff(found: _core.CheckpointDifference, values: bool) -> None:
    for key in found.only_in_a:
        typer.echo(f"- {safe(key)}")
    for key in found.only_in_b:
        typer.echo(f"+ {safe(key)}")
    for form in found.forms:
        typer.echo(f"~ {safe(form.fqn)}: {_form_text(form.a)} -> {_form_text(form.b)}")
    for value in found.values:
        typer.echo(f"! {safe(value.fqn)}: {_value_text(value)}")
    extent = f", {size_text(found.nbytes_compared)} of tensors compared" if values else ""
    typer.echo(
        f"{len(found.only_in_a):,} only in a, {len(found.only_in_b):,} only in b, "
        f"{counted(found.keys_in_common, 'key')} in common{extent}: "
        f"{len(found.forms):,} of another dtype or shape"
        + (f", {len(found.values):,} of another value" if values else "")
    )
