"""Places inside a save or load where a rank of a test stops, to be killed or stopped there.

gate = Gate(me, "write")
c = f"gated://{path}"
gate.is_closed = True
dcpcpp.save(state, checkpoint_id=c)     # marks "at-gate-<rank>", waits for "go"
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from support.forked_ranks import Rank

# Before which call of the transport: its name and how often it was called before.
_CALLS = {
    "save": {
        "plan sent": ("scatter", 0),  # waits for what it is to write
        "states sent": ("broadcast", 0),  # for the states of all, if they have changed
        "written": ("await_all", 0),
        "met": ("gather", 1),
        "results sent": ("broadcast", 0),
    },
    "load": {
        "index": ("broadcast", 0),
        "planned": ("gather", 0),
        "read": ("await_all", 0),
        "met": ("gather", 1),
    },
}
# Before the first access to a file whose name has this in it.
_FILES = {"write": ".distcp", "commit": ".metadata", "reading": ".distcp"}

# Place of a rank that is killed or stopped there, and what the others call the time in which
# they missed it, which is what they are at themselves.
SAVE_PLACES = {
    "arrival": {"arrival", "plan"},
    "state": {"arrival", "plan"},
    "plan sent": {"arrival", "plan", "write"},
    "states sent": {"plan"},
    "write": {"plan", "write"},
    "written": {"plan", "write"},
    "met": {"write", "commit"},
    "commit": {"write", "commit"},
}
LOAD_PLACES = {
    "arrival": {"arrival", "plan"},
    "index": {"arrival", "plan"},
    "state": {"arrival", "plan"},
    "reading": {"plan", "read"},
    "read": {"plan", "read"},
    "met": {"read"},
}


class Gate:
    """Of this process. `place`: of _CALLS or _FILES, or "state": in a state_dict()."""

    def __init__(self, me: Rank, verb: str, place: str) -> None:
        self._me = me
        self._place = place
        self._counts: dict[str, int] = {}
        self.is_closed = False
        self.wait: Callable[[], Any] = lambda: me.wait_for("go")
        _register_file_system(self)
        if place in _CALLS[verb]:
            self._wrap(*_CALLS[verb][place])

    def pass_by(self, place: str) -> None:
        """Wait, if this is the place."""
        if self.is_closed and place == self._place:
            self._me.mark(f"at-gate-{self._me.rank}")
            self.wait()

    def pass_file(self, path: str, mode: str) -> None:
        """The same, before `path` is opened or read."""
        part = _FILES.get(self._place, "no such file")
        if part in path and (mode == "r") == (self._place == "reading"):
            self.pass_by(self._place)

    def state(self) -> Any:
        """A Stateful for a state dict, for the place "state"."""
        return _GatedState(self)

    def _wrap(self, method: str, calls_before: int) -> None:
        from dcpcpp._transport import ProcessGroupTransport

        original = getattr(ProcessGroupTransport, method)

        @functools.wraps(original)
        def gated(transport: Any, *args: Any) -> Any:
            if self.is_closed:
                count = self._counts[method] = self._counts.get(method, 0) + 1
                if count == calls_before + 1:
                    self.pass_by(self._place)
            return original(transport, *args)

        setattr(ProcessGroupTransport, method, gated)


class _GatedState:
    def __init__(self, gate: Gate) -> None:
        self._gate = gate

    def state_dict(self) -> dict[str, int]:
        self._gate.pass_by("state")
        return {"x": 1}

    def load_state_dict(self, state: dict[str, int]) -> None:
        assert state == {"x": 1}


def _register_file_system(gate: Gate) -> None:
    """gated://path is the local file `path`."""
    import fsspec
    from fsspec.implementations.local import LocalFileSystem

    class Gated(LocalFileSystem):
        protocol = "gated"

        def _open(self, path: str, mode: str = "rb", **kwargs: Any) -> Any:
            gate.pass_file(path, mode[0])
            return super()._open(path, mode, **kwargs)

        def cat_file(self, path: str, *args: Any, **kwargs: Any) -> bytes:
            gate.pass_file(path, "r")
            return super().cat_file(path, *args, **kwargs)

        @classmethod
        def _strip_protocol(cls, path: str) -> str:
            return super()._strip_protocol(path.removeprefix("gated://"))

    fsspec.register_implementation("gated", Gated, clobber=True)
