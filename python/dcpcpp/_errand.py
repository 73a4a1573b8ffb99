"""What a rank has come for, and whether all ranks of an operation have come for the same.

A rank says it in its sign of arrival, which is JSON: [1, process, kind, place,
use_collectives, is_refused]. The coordinator compares them before any rank goes on: ranks
that mean different things would else wait for each other, or each write a part of a
checkpoint that nobody can load.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
from collections.abc import Callable, Sequence
from typing import Any, Literal, NamedTuple

from dcpcpp._processes import Process
from dcpcpp._text import is_url

_VERSION = 1
_MAX_PLACE = 4096  # characters
_MAX_SIGN = 64 << 10  # bytes; a character of the place takes 12 at most

Kind = Literal["save", "load"]
NameOf = Callable[[int], str]


@dataclasses.dataclass(frozen=True)
class Errand:
    """What a rank wants to do.

    Attributes:
        kind: "save" or "load".
        place: see place_of; None if this rank has no storage, and comes to say so.
        use_collectives: of a save: whether the ranks write one checkpoint.
        is_refused: whether another thread of this rank was in the group's channel.
    """

    kind: Kind
    place: str | None = None
    use_collectives: bool = True
    is_refused: bool = False

    def __str__(self) -> str:
        verb, preposition = ("saves", "to") if self.kind == "save" else ("loads", "from")
        place = f" {preposition} {self.place}" if self.place else ""
        return f"{verb}{place}{'' if self.use_collectives else ' with use_collectives=False'}"

    def attempt(self) -> str:
        """What errors call it; empty if this rank has no storage."""
        preposition = "to" if self.kind == "save" else "from"
        return f"{self.kind} {preposition} {self.place}" if self.place else ""


class Sign(NamedTuple):
    """A rank's sign of arrival."""

    process: Process
    errand: Errand

    def to_json(self) -> str:
        return json.dumps([_VERSION, self.process.to_json(), *dataclasses.astuple(self.errand)])

    @classmethod
    def from_json(cls, text: str) -> Sign:
        """The sign that a rank sent.

        Raises:
            ValueError: it is not one, or of another version.
        """
        if len(text) > _MAX_SIGN:
            raise ValueError(f"{len(text)} bytes are too many")
        try:
            version, process, *errand = json.loads(text)
            if version == _VERSION:
                return cls(Process.from_json(process), _checked(*errand))
        except (KeyError, RecursionError, TypeError, ValueError) as error:
            raise ValueError(f"{text[:100]!r} is none") from error
        raise ValueError(f"it is of version {version}, not {_VERSION}: another dcpcpp?")


def _checked(kind: Any, place: Any, use_collectives: Any, is_refused: Any) -> Errand:
    known = kind in ("save", "load") and (place is None or isinstance(place, str))
    if not (known and isinstance(use_collectives, bool) and isinstance(is_refused, bool)):
        raise ValueError(kind)
    return Errand(kind, place, use_collectives, is_refused)


def place_of(storage: Any) -> str | None:
    """The absolute path or the URL of a writer or reader, None if it has none."""
    path = getattr(storage, "path", None)
    text = os.fspath(path) if isinstance(path, (str, os.PathLike)) else None
    if not isinstance(text, str):
        return None
    place = text.rstrip("/") if is_url(text) else os.path.abspath(text)  # noqa: PTH100  # pure text
    if len(place) > _MAX_PLACE:
        digest = hashlib.sha256(place.encode(errors="surrogatepass")).hexdigest()
        place = f"{place[: _MAX_PLACE - len(digest) - 3]}...{digest}"
    return place


class Fault(NamedTuple):
    """Why an operation cannot be.

    Attributes:
        rank: in the group; it has come for something else, or is refused.
        why: to follow the rank's name.
        is_busy: whether it is refused.
    """

    rank: int
    why: str
    is_busy: bool


def find_fault(signs: Sequence[Sign], coordinator: int, name_of: NameOf) -> Fault | None:
    """What keeps the ranks from doing what they have come for together.

    Args:
        signs: of each rank of the group.
        coordinator: with which the others are compared.
        name_of: the name of a rank, for errors.
    """
    wanted = signs[coordinator].errand
    for rank, (_, errand) in enumerate(signs):
        if errand.is_refused:
            why = "is busy: another of its threads saved or loaded over the same group"
            return Fault(rank, why, is_busy=True)
    for rank, (_, errand) in enumerate(signs):
        if (errand.kind, errand.use_collectives) != (wanted.kind, wanted.use_collectives):
            return _difference(signs, rank, coordinator, name_of)
    for rank, other in _other_places(signs, [sign.process.host_key for sign in signs]):
        return _difference(signs, rank, other, name_of)
    return None


def find_other_place(signs: Sequence[Sign], name_of: NameOf) -> str:
    """A line about hosts that save to, or load from, different places; empty if none does.

    They may: a disk of its own has another name on another host.
    """
    for rank, other in _other_places(signs, [""] * len(signs)):
        return f"{name_of(rank)} {_difference(signs, rank, other, name_of).why}"
    return ""


def _other_places(signs: Sequence[Sign], hosts: Sequence[str]) -> list[tuple[int, int]]:
    """Ranks that name another place than an earlier one of their host, and that one."""
    first: dict[str, int] = {}
    found = []
    for rank, (_, errand) in enumerate(signs):
        if errand.place is None or not errand.use_collectives:
            continue
        other = first.setdefault(hosts[rank], rank)
        if errand.place != signs[other].errand.place:
            found.append((rank, other))
    return found


def _difference(signs: Sequence[Sign], rank: int, other: int, name_of: NameOf) -> Fault:
    why = f"{signs[rank].errand}, but {name_of(other)} {signs[other].errand}"
    return Fault(rank, why, is_busy=False)
