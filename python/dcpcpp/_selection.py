"""include=, exclude= and rename=: which keys are saved or loaded, and as what."""

from __future__ import annotations

import fnmatch
import re
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping

Patterns = str | Iterable[str]
Rename = Mapping[str, str] | Callable[[str], str]


class Selection:
    """Chooses flat keys by pattern and gives them their names in the checkpoint.

    A pattern matches a key, with "*", "?" and "[...]" as in a shell, and all that lies
    under it: "model" and "*.layer" both match "model.layer.weight".

    Args:
        include: only keys that match one of these; None for all.
        exclude: not keys that match one of these.
        rename: from the state dict's name to the checkpoint's: a function, or patterns
            and what to put in their place, where each "*" stands for the same text on
            both sides ({"model.layers.*.attn": "model.blocks.*.self_attn"}). Of several
            patterns that match, the longest counts.
    """

    def __init__(
        self,
        include: Patterns | None = None,
        exclude: Patterns | None = None,
        rename: Rename | None = None,
    ) -> None:
        self._include = None if include is None else [_matcher(p) for p in _listed(include)]
        self._exclude = [_matcher(pattern) for pattern in _listed(exclude or [])]
        self._rename = _renamer(rename)
        self.is_trivial = include is None and not self._exclude and rename is None

    def names(self, keys: Iterable[str], action: str) -> Iterator[tuple[str, str]]:
        """Each of `keys` that is selected, in their order, and its name in the checkpoint.

        One by one: of 100,000 keys a list takes megabytes.

        Warns if `include` selects nothing, since that is rarely meant.

        Args:
            keys: flat keys of a state dict.
            action: "saved" or "loaded", for the warning.
        """
        if self.is_trivial:
            return ((key, key) for key in keys)
        keys = list(keys)
        if keys and self._include is not None and not any(map(self._includes, keys)):
            warnings.warn(
                f"include matches none of the {len(keys)} keys of this rank's state dict "
                f"({keys[0]!r}, ...): nothing of it is {action}",
                stacklevel=2,
            )
        return ((key, self.stored_name(key)) for key in keys if self.takes(key))

    def takes(self, key: str) -> bool:
        """Whether `key` is selected."""
        if not self._includes(key):
            return False
        return not any(match(key) for match in self._exclude)

    def name_of(self, key: str) -> str | None:
        """The name in the checkpoint of `key`; None if it is not selected."""
        return self.stored_name(key) if self.takes(key) else None

    def _includes(self, key: str) -> bool:
        return self._include is None or any(match(key) for match in self._include)

    def stored_name(self, key: str) -> str:
        """The key's name in the checkpoint."""
        name = self._rename(key)
        if not isinstance(name, str):
            raise TypeError(f"rename makes {name!r} of the key {key!r}; it must make a str")
        return name


def _listed(patterns: Patterns) -> list[str]:
    return [patterns] if isinstance(patterns, str) else list(patterns)


def _matcher(pattern: str) -> Callable[[str], bool]:
    whole = re.compile(fnmatch.translate(pattern))
    under = re.compile(fnmatch.translate(f"{pattern}.*"))
    return lambda key: whole.match(key) is not None or under.match(key) is not None


def _renamer(rename: Rename | None) -> Callable[[str], str]:
    if rename is None:
        return lambda key: key
    if not isinstance(rename, Mapping):
        return rename
    rules = [
        (_capturing(old), new) for old, new in sorted(rename.items(), key=lambda r: -len(r[0]))
    ]

    def apply(key: str) -> str:
        for regex, new in rules:
            match = regex.match(key)
            if match:
                return _filled(new, match)
        return key

    return apply


def _capturing(pattern: str) -> re.Pattern[str]:
    """Matches `pattern` and, in the last group, what follows it at a component's edge."""
    parts = "(.*?)".join(re.escape(part) for part in pattern.split("*"))
    edge = "" if pattern.endswith(".") else r"(?=\.|$)"
    return re.compile(f"^{parts}{edge}(?P<rest>.*)$")


def _filled(template: str, match: re.Match[str]) -> str:
    captured = list(match.groups())[:-1]
    wanted = template.count("*")
    if wanted != len(captured) and wanted:
        raise ValueError(
            f"rename to {template!r} has {wanted} '*', its pattern has {len(captured)}"
        )
    pieces = template.split("*")
    name = pieces[0]
    for text, piece in zip(captured, pieces[1:], strict=False):
        name += text + piece
    return name + match["rest"]
