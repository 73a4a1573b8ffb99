"""What the page of `dcpcpp report` shows, as plain data."""

from __future__ import annotations

import dataclasses
import heapq
import itertools
from typing import TYPE_CHECKING, Any

import dcpcpp
from dcpcpp._diff_command import diff_json, stats_json
from dcpcpp._layout_command import layout_json
from dcpcpp._look import JSON_SCHEMA, describe, local_path
from dcpcpp._look_commands import Node, info_json, matches, tree_of
from dcpcpp._progress import waiting
from dcpcpp._report_timeline import timeline_json

if TYPE_CHECKING:
    from dcpcpp import _core

# A page stays small and quick whatever the checkpoint.
MAX_NODES = 4000
MAX_CHILDREN = 80
MAX_DEPTH = 8
MAX_HISTOGRAMS = 64
MAX_LISTED = 500
MAX_FILES = 2000
BINS = 64


@dataclasses.dataclass(frozen=True)
class Wanted:
    """What is read beyond metadata.

    Attributes:
        tensors: patterns of the keys whose histograms are shown.
        verify: whether every byte is checked.
        other: a checkpoint to compare with, or None.
        values: whether it is compared byte by byte.
        traces: files of `SaveStats.write_trace`, one for each rank of the save.
    """

    tensors: tuple[str, ...] = ()
    verify: bool = False
    other: str | None = None
    values: bool = False
    traces: tuple[str, ...] = ()


def report_data(path: str, wanted: Wanted) -> dict[str, Any]:
    """All that the page of the checkpoint at `path` shows."""
    about = describe(path)
    layout = _layout_json(path)
    largest = sorted(about.tensors, key=lambda tensor: -tensor.nbytes)
    return {
        "schema": JSON_SCHEMA,
        "version": dcpcpp.__version__,
        "info": {**info_json(path, about), "by_module": None, "files": None},
        "tree": _tree_json(about),
        "layout": layout,
        "tensors": [_tensor_json(tensor) for tensor in largest[:MAX_LISTED]],
        "verify": _verify_json(path) if wanted.verify else None,
        "timeline": timeline_json(wanted.traces),
        "histograms": _histograms(path, about, wanted.tensors),
        "compare": _compare_json(path, wanted) if wanted.other is not None else None,
    }


def _layout_json(path: str) -> dict[str, Any]:
    from dcpcpp import _core

    layout = layout_json(_core.describe_layout(local_path(path)))
    files, ranks = layout["files"], layout["ranks"]
    return {
        **layout,
        "files": files[:MAX_FILES],
        "ranks": ranks[:MAX_FILES],
        "file_count": len(files),
        "rank_count": len(ranks),
    }


def _tensor_json(tensor: _core.DescribedTensor) -> dict[str, Any]:
    return {
        "key": tensor.fqn,
        "dtype": tensor.dtype,
        "shape": list(tensor.shape),
        "nbytes": tensor.nbytes,
        "chunks": tensor.chunks,
    }


def _tree_json(about: _core.CheckpointDescription) -> dict[str, Any]:
    """The modules, the largest first; what is too much is put together."""
    root = tree_of(about)
    top = _node_json("all", root)
    left = MAX_NODES - 1
    number = itertools.count()  # of two of one size the first goes first
    queue = [(-root.nbytes, next(number), 0, root, top)]
    while queue and left > 0:  # opens the largest that is closed
        _, _, depth, node, opened = heapq.heappop(queue)
        children = sorted(node.children.items(), key=lambda item: -item[1].nbytes)
        shown = children[: min(MAX_CHILDREN, left)]
        left -= len(shown)
        for name, child in shown:
            box = _node_json(name, child)
            opened["children"].append(box)
            if depth + 1 < MAX_DEPTH:
                heapq.heappush(queue, (-child.nbytes, next(number), depth + 1, child, box))
        rest = [child for _, child in children[len(shown) :]]
        if rest:
            nbytes = sum(child.nbytes for child in rest)
            others = Node(sum(child.tensors for child in rest), nbytes)
            opened["children"].append(_node_json(f"({len(rest):,} others)", others))
    return top


def _node_json(name: str, node: Node) -> dict[str, Any]:
    return {"name": name, "nbytes": node.nbytes, "tensors": node.tensors, "children": []}


def _verify_json(path: str) -> dict[str, Any]:
    with waiting("verifying"):
        report = dcpcpp.verify(path)
    damages = report.to_json()["damages"]
    return {
        **report.to_json(),
        "has_checksums": report.has_checksums,
        "damages": damages[:MAX_LISTED],
        "damage_count": len(damages),
    }


def _histograms(
    path: str, about: _core.CheckpointDescription, patterns: tuple[str, ...]
) -> list[dict[str, Any]]:
    if not patterns:
        return []
    from dcpcpp import _core

    keys = [
        tensor.fqn
        for tensor in about.tensors
        if tensor.fqn in patterns or matches(tensor.fqn, list(patterns))
    ]
    if not keys:
        raise KeyError(f"no tensor matches {', '.join(patterns)}; `dcpcpp ls` lists them")
    if len(keys) > MAX_HISTOGRAMS:
        raise ValueError(
            f"{len(keys):,} tensors match --tensor, and a page shows {MAX_HISTOGRAMS} at most; "
            "name fewer"
        )
    found = []
    for key in keys:
        with waiting("reading tensors"):
            histogram = _core.compute_histogram(local_path(path), key, BINS)
        found.append({"key": key, **stats_json(histogram.statistics), "counts": histogram.counts})
    return found


def _compare_json(path: str, wanted: Wanted) -> dict[str, Any]:
    from dcpcpp import _core

    other = wanted.other or ""
    with waiting("comparing"):
        found = _core.compare(local_path(path), local_path(other), wanted.values)
    report = diff_json(path, other, found, wanted.values)
    for name in ("only_in_a", "only_in_b", "forms", "values"):
        values = report[name]
        report[f"{name}_count"] = None if values is None else len(values)
        if values is not None:
            report[name] = values[:MAX_LISTED]
    return {**report, "other": {**info_json(other, describe(other, items=False)), "files": None}}
