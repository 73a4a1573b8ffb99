"""ls, info and tree: what a checkpoint holds, without reading its tensors."""

from __future__ import annotations

import dataclasses
import fnmatch
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dcpcpp._look import (
    counted,
    describe,
    print_columns,
    print_json,
    safe,
    shape_text,
    size_text,
)

if TYPE_CHECKING:
    from dcpcpp import _core

CheckpointPath = Annotated[
    str, typer.Argument(help="DCP or safetensors directory, safetensors file or torch file.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]


def ls(
    path: CheckpointPath,
    patterns: Annotated[
        list[str] | None, typer.Argument(help="Only keys that match one: * ? [ab] as in a shell.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """List the tensors and objects of a checkpoint.

    JSON: `path`, `format`, `tensors` (a list of `key`, `dtype`, `shape`, `nbytes`, `chunks`,
    `files`) and `objects` (`key`, `nbytes`, `files`).
    """
    about = describe(path)
    names = [file.name for file in about.files]
    tensors = [t for t in about.tensors if matches(t.fqn, patterns)]
    objects = [o for o in about.objects if matches(o.fqn, patterns)]
    if as_json:
        print_json(
            {
                "path": path,
                "format": about.format,
                "tensors": [_tensor_json(t, names) for t in tensors],
                "objects": [_object_json(o, names) for o in objects],
            }
        )
        return
    rows = [
        (t.dtype, shape_text(t.shape), size_text(t.nbytes), str(t.chunks), safe(t.fqn))
        for t in tensors
    ]
    rows += [("object", "", size_text(o.nbytes), "", safe(o.fqn)) for o in objects]
    if rows:
        print_columns([("dtype", "shape", "size", "chunks", "key"), *rows], "<<>><")
    elif patterns:
        tell_no_match(patterns)


def tell_no_match(patterns: list[str]) -> None:
    """Say so, where output that is empty could be taken for a failure."""
    typer.echo(f"no key matches {' or '.join(map(safe, patterns))}", err=True)


def matches(key: str, patterns: list[str] | None) -> bool:
    """Whether `key` is one of those that a user asked for."""
    return not patterns or any(fnmatch.fnmatchcase(key, pattern) for pattern in patterns)


def _tensor_json(tensor: _core.DescribedTensor, names: list[str]) -> dict[str, Any]:
    return {
        "key": tensor.fqn,
        "dtype": tensor.dtype,
        "shape": list(tensor.shape),
        "nbytes": tensor.nbytes,
        "chunks": tensor.chunks,
        "files": [names[file] for file in tensor.files],
    }


def _object_json(described: _core.DescribedObject, names: list[str]) -> dict[str, Any]:
    return {
        "key": described.fqn,
        "nbytes": described.nbytes,
        "files": [names[file] for file in described.files],
    }


def info(path: CheckpointPath, as_json: AsJson = False) -> None:
    """Show format, origin and totals of a checkpoint.

    JSON: `path`, `format` ("dcp", "safetensors" or "torch"), `written_by_dcpcpp`, `save_id`,
    `step`, `ranks` (each of the three may be null), `tensors`, `objects`, `elements`, `nbytes`
    (of tensors), `files` (a list of `name` and `nbytes`), `by_dtype` and `by_module` (lists of
    `name`, `tensors`, `elements`, `nbytes`).
    """
    about = describe(path, items=False)
    if as_json:
        print_json(info_json(path, about))
    else:
        _print_info(path, about)


def info_json(path: str, about: _core.CheckpointDescription) -> dict[str, Any]:
    """What `--json` prints."""
    return {
        "path": path,
        "format": about.format,
        "written_by_dcpcpp": about.is_ours,
        "save_id": about.save_id or None,
        "step": about.step,
        "ranks": about.ranks,
        "tensors": about.tensor_count,
        "objects": about.object_count,
        "elements": about.elements,
        "nbytes": about.nbytes,
        "files": [{"name": file.name, "nbytes": file.nbytes} for file in about.files],
        "by_dtype": [_total_json(total) for total in about.by_dtype],
        "by_module": [_total_json(total) for total in about.by_module],
    }


def _total_json(total: _core.TensorTotal) -> dict[str, Any]:
    return {
        "name": total.name,
        "tensors": total.tensors,
        "elements": total.elements,
        "nbytes": total.nbytes,
    }


def _print_info(path: str, about: _core.CheckpointDescription) -> None:
    stored = sum(file.nbytes for file in about.files)
    ranks = "" if about.ranks is None else f" of {counted(about.ranks, 'rank')}"
    rows = [
        ("path", safe(path)),
        ("format", about.format + (", written by dcpcpp" if about.is_ours else "")),
        ("save id", safe(about.save_id)),
        ("step", "" if about.step is None else str(about.step)),
        ("files", f"{counted(len(about.files), 'file')}{ranks}, {size_text(stored)}"),
        (
            "tensors",
            f"{counted(about.tensor_count, 'tensor')}, {about.elements:,} elements, "
            f"{size_text(about.nbytes)} ({about.nbytes:,} bytes)",
        ),
        ("objects", counted(about.object_count, "object")),
    ]
    print_columns([row for row in rows if row[1]], "<<")
    for title, totals in (("dtype", about.by_dtype), ("module", about.by_module)):
        _print_totals(title, totals)


def _print_totals(title: str, totals: list[_core.TensorTotal]) -> None:
    if not totals:
        return
    typer.echo()
    rows = [
        (safe(t.name), f"{t.tensors:,}", f"{t.elements:,}", size_text(t.nbytes)) for t in totals
    ]
    print_columns([(title, "tensors", "elements", "size"), *rows], "<>>>")


@dataclasses.dataclass
class Node:
    """Keys that begin alike."""

    tensors: int = 0
    nbytes: int = 0
    children: dict[str, Node] = dataclasses.field(default_factory=dict)


def tree(
    path: CheckpointPath,
    depth: Annotated[int, typer.Option(min=1, help="How many levels are shown.")] = 3,
    as_json: AsJson = False,
) -> None:
    """Show the modules of a checkpoint, with their tensors' number and size.

    JSON: `path`, `format`, `tensors`, `nbytes` and `children`: a list of `name`, `tensors`,
    `nbytes` and `children`, down to the depth.
    """
    about = describe(path)
    root = tree_of(about)
    if as_json:
        print_json({"path": path, "format": about.format, **_node_json(root, depth)})
        return
    rows: list[tuple[str, ...]] = [(safe(path), *_counts(root))]
    _append_rows(root, depth, "", rows)
    print_columns(rows, "<>>")


def tree_of(about: _core.CheckpointDescription) -> Node:
    """The tensors of a checkpoint, by the parts of their keys."""
    root = Node()
    for tensor in about.tensors:
        node = root
        _add(node, tensor)
        for part in tensor.fqn.split("."):
            node = node.children.setdefault(part, Node())
            _add(node, tensor)
    return root


def _add(node: Node, tensor: _core.DescribedTensor) -> None:
    node.tensors += 1
    node.nbytes += tensor.nbytes


def _node_json(node: Node, depth: int) -> dict[str, Any]:
    children = node.children.items() if depth > 0 else ()
    return {
        "tensors": node.tensors,
        "nbytes": node.nbytes,
        "children": [{"name": name, **_node_json(child, depth - 1)} for name, child in children],
    }


def _counts(node: Node) -> tuple[str, str]:
    return counted(node.tensors, "tensor"), size_text(node.nbytes)


def _append_rows(node: Node, depth: int, indent: str, rows: list[tuple[str, ...]]) -> None:
    if depth == 0:
        return
    last = len(node.children) - 1
    for number, (name, child) in enumerate(node.children.items()):
        is_last = number == last
        rows.append((f"{indent}{'└─ ' if is_last else '├─ '}{safe(name)}", *_counts(child)))
        _append_rows(child, depth - 1, indent + ("   " if is_last else "│  "), rows)
