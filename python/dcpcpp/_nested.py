"""Whether the paths that a checkpoint gives its keys are those of a nested state dict.

A path is what a file says: a number in it is the length of a list. Keys that lie within
another one's value are no damage, because a `rename` can make them.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from dcpcpp._state_dict import Path
from dcpcpp.errors import CheckpointCorruptedError

_MAX_DEPTH = 256  # Python shows, compares and copies no much deeper dicts
# Positions of lists that no key has, in all lists: those of empty dicts, and what was not
# saved (`exclude`). They become None.
_MAX_GAPS = 1 << 16

_Node = dict[Any, Any]  # by part of a path: a _Node, or the key whose path ends there


def require_nested(paths: Iterable[tuple[str, Path]], file: str) -> None:
    """Return if a state dict with these `paths` can be made, and is as large as its keys.

    Args:
        paths: keys with their paths, none of which is empty.
        file: the metadata, for the error.

    Raises:
        CheckpointCorruptedError: two keys have one path, a path is too deep, or lists have
            too many positions without a key, or negative ones.
    """
    root: _Node = {}
    for key, path in paths:
        if len(path) > _MAX_DEPTH:
            raise _corrupted(key, f"its path has {len(path)} parts", file)
        other = _add(root, key, path)
        if other is not None:
            raise _corrupted(key, f"its path {path} is that of {other!r}, too", file)
    _check_lists(root, file)


def _add(root: _Node, key: str, path: Path) -> str | None:
    """Put `key` into the tree; or the key that has the same path."""
    node = root
    for part in path[:-1]:
        child = node.setdefault(part, {})
        if isinstance(child, str):
            return None  # within that key's value
        node = child
    other = node.setdefault(path[-1], key)
    return None if other is key or isinstance(other, dict) else str(other)


def _check_lists(root: _Node, file: str) -> None:
    gaps = 0
    nodes = [child for child in root.values() if isinstance(child, dict)]  # the root is a dict
    while nodes:
        node = nodes.pop()
        nodes += [child for child in node.values() if isinstance(child, dict)]
        numbers = [part for part in node if isinstance(part, int)]
        if not numbers:
            continue
        first, last = min(numbers), max(numbers)
        gaps += last + 1 - len(numbers)
        if first < 0 or gaps > _MAX_GAPS:
            number = first if first < 0 else last
            what = f"its path has the position {number} of a list of {len(numbers)} items"
            raise _corrupted(_key_beneath(node[number]), what, file)


def _key_beneath(node: Any) -> str:
    while isinstance(node, dict):
        node = next(iter(node.values()))
    key: str = node
    return key


def _corrupted(key: str, what: str, file: str) -> CheckpointCorruptedError:
    return CheckpointCorruptedError(f"metadata of {key!r}: {what}, file {file}", file, key=key)
