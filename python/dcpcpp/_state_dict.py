"""Flat keys of nested state dicts, by torch's rules.

Mirrors torch 2.13 `torch.distributed.checkpoint._traverse` and `_nested_dict`,
which are private and differ between versions; the rules are part of the format.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, MutableMapping
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

PathItem = str | int
Path = tuple[PathItem, ...]
Slot = tuple[Any, Any]  # a container and the key or position in it
IsTensor = Callable[[object], bool]


@dataclass(frozen=True)
class FlatState:
    """The leaves of a nested state dict, by flat key.

    Attributes:
        leaves: the values.
        paths: their paths as they are stored, where every key of a mapping is a string.
    """

    leaves: dict[str, Any] = field(default_factory=dict)
    paths: dict[str, Path] = field(default_factory=dict)
    _slots: dict[str, Slot] = field(default_factory=dict)

    def add(self, name: str, path: Path, value: Any, slot: Slot) -> None:
        """Add the leaf `value`, which lies in `slot`."""
        if name in self.leaves:
            raise ValueError(f"duplicated flatten key {name}")
        self.leaves[name] = value
        self.paths[name] = path
        self._slots[name] = slot

    def only(self, names: Iterable[str]) -> FlatState:
        """These leaves alone: each takes some 300 bytes."""
        kept = FlatState()
        for name in names:
            kept.add(name, self.paths[name], self.leaves[name], self._slots[name])
        return kept

    def replace(self, name: str, value: object) -> None:
        """Put `value` where the leaf is, under the container's own key (an int, say)."""
        container, key = self._slots[name]
        container[key] = value


def not_flattened(state_dict: Mapping[str, Any]) -> FlatState:
    """The top-level values of a state dict as leaves."""
    flat = FlatState()
    for key, value in state_dict.items():
        flat.add(key, (key,), value, (state_dict, key))
    return flat


def flatten(state_dict: Mapping[str, Any], is_tensor: IsTensor) -> FlatState:
    """Flatten nested mappings and lists by the rule of torch 2.4 and newer.

    Mappings are always descended into; a list only if it holds, at any depth of
    lists, a tensor or a mapping; a tuple never. Keys become strings joined by ".".

    Args:
        state_dict: nested containers with string-like keys.
        is_tensor: tells a tensor from other leaves.

    Raises:
        ValueError: two paths give the same flat key.
    """
    return _Flattener(is_tensor, _is_leaf).flatten(state_dict)


def flatten_v2_3(state_dict: Mapping[str, Any], is_tensor: IsTensor) -> FlatState:
    """Flatten by the rule of torch 2.3 and older.

    There a mapping without tensors and without containers that hold tensors is
    one leaf.
    """
    return _Flattener(is_tensor, _is_leaf_v2_3).flatten(state_dict)


def set_element(root: MutableMapping[Any, Any], path: Path, value: object) -> None:
    """Set `value` at `path`, creating the dicts and lists on the way.

    Raises:
        ValueError: something else is there or on the way.
    """
    container: Any = root
    for key, following in pairwise(path):
        make: type = dict if isinstance(following, str) else list
        if isinstance(container, MutableMapping):
            container = container.setdefault(key, make())
        else:
            if _extended(container, key)[key] is None:
                container[key] = make()
            container = container[key]
    last = path[-1]
    if isinstance(container, MutableMapping):
        is_taken = last in container
    else:
        is_taken = _extended(container, last)[last] is not None
    if is_taken:
        raise ValueError(f"there is another value at {path}")
    container[last] = value


def _extended(items: Any, index: PathItem) -> Any:
    """`items`, with an item at `index`."""
    if not (isinstance(items, list) and isinstance(index, int)):
        raise ValueError(f"{index!r} is not a place in a {type(items).__name__}")
    items.extend([None] * (index + 1 - len(items)))
    return items


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
        self._flat = FlatState()

    def flatten(self, state_dict: Mapping[str, Any]) -> FlatState:
        for key, value in state_dict.items():
            name = str(key)
            self._visit(name, (name,), value, (state_dict, key))
        return self._flat

    def _visit(self, name: str, path: Path, value: Any, slot: Slot) -> None:
        # Most values of a state dict are tensors: ask that first.
        if self._is_tensor(value) or self._is_leaf(value, self._is_tensor):
            self._flat.add(name, path, value, slot)
        elif isinstance(value, Mapping):
            for key, item in value.items():
                self._visit(f"{name}.{key}", (*path, str(key)), item, (value, key))
        else:
            for number, item in enumerate(value):
                self._visit(f"{name}.{number}", (*path, number), item, (value, number))
