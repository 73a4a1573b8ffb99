"""Flat keys of nested state dicts, by torch's rules.

Mirrors torch 2.13 `torch.distributed.checkpoint._traverse` and `_nested_dict`,
which are private and differ between versions; the rules are part of the format.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, MutableMapping
from itertools import pairwise
from typing import Any

PathItem = str | int
Path = tuple[PathItem, ...]
IsTensor = Callable[[object], bool]


def flatten(
    state_dict: Mapping[str, Any], is_tensor: IsTensor
) -> tuple[dict[str, Any], dict[str, Path]]:
    """Flatten nested mappings and lists by the rule of torch 2.4 and newer.

    Mappings are always descended into; a list only if it holds, at any depth of
    lists, a tensor or a mapping; a tuple never. Keys become strings joined by ".".

    Args:
        state_dict: nested containers with string-like keys.
        is_tensor: tells a tensor from other leaves.

    Returns:
        Leaves by flat key, and the path of each flat key.

    Raises:
        ValueError: two paths give the same flat key.
    """
    return _Flattener(is_tensor, _is_leaf).flatten(state_dict)


def flatten_v2_3(
    state_dict: Mapping[str, Any], is_tensor: IsTensor
) -> tuple[dict[str, Any], dict[str, Path]]:
    """Flatten by the rule of torch 2.3 and older.

    There a mapping without tensors and without containers that hold tensors is
    one leaf.
    """
    return _Flattener(is_tensor, _is_leaf_v2_3).flatten(state_dict)


def set_element(root: MutableMapping[Any, Any], path: Path, value: object) -> None:
    """Set `value` at `path`, creating the dicts and lists on the way."""
    container: Any = root
    for key, following in pairwise(path):
        make: type = dict if isinstance(following, str) else list
        if isinstance(container, MutableMapping):
            container = container.setdefault(key, make())
        else:
            _extend(container, key)
            if container[key] is None:
                container[key] = make()
            container = container[key]
    last = path[-1]
    if isinstance(last, int) and isinstance(container, list):
        _extend(container, last)
    container[last] = value


def _extend(items: list[Any], index: PathItem) -> None:
    while len(items) <= int(index):
        items.append(None)


def _is_leaf(value: object, is_tensor: IsTensor) -> bool:
    if isinstance(value, Mapping):
        return False
    if not isinstance(value, list):
        return True
    return not any(
        is_tensor(item) or (isinstance(item, (Mapping, list)) and not _is_leaf(item, is_tensor))
        for item in value
    )


def _is_leaf_v2_3(value: object, is_tensor: IsTensor) -> bool:
    if isinstance(value, Mapping):
        items = list(value.values())
    elif isinstance(value, list):
        items = value
    else:
        return True
    return not any(
        is_tensor(item)
        or (isinstance(item, (Mapping, list)) and not _is_leaf_v2_3(item, is_tensor))
        for item in items
    )


class _Flattener:
    def __init__(self, is_tensor: IsTensor, is_leaf: Callable[[object, IsTensor], bool]) -> None:
        self._is_tensor = is_tensor
        self._is_leaf = is_leaf
        self._leaves: dict[str, Any] = {}
        self._paths: dict[str, Path] = {}

    def flatten(self, state_dict: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Path]]:
        for key, value in state_dict.items():
            name = str(key)
            self._visit(name, (name,), value)
        return self._leaves, self._paths

    def _visit(self, name: str, path: Path, value: Any) -> None:
        # Most values of a state dict are tensors: ask that first.
        if not self._is_tensor(value) and not self._is_leaf(value, self._is_tensor):
            items = value.items() if isinstance(value, Mapping) else enumerate(value)
            for key, item in items:
                part = key if isinstance(key, int) and not isinstance(value, Mapping) else str(key)
                self._visit(f"{name}.{part}", (*path, part), item)
            return
        if name in self._leaves:
            raise ValueError(f"duplicated flatten key {name}")
        self._leaves[name] = value
        self._paths[name] = path
