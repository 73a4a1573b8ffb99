"""Which process a rank is, and whether it still runs where that can be seen.

The kernel tells at once that a process ended, but only to those who share its machine and
its process numbers (one container). Elsewhere its heartbeat must tell.
"""

from __future__ import annotations

import json
import os
import socket
from dataclasses import asdict, dataclass
from pathlib import Path


@dataclass(frozen=True)
class Process:
    """A process of the job.

    Attributes:
        host: its name.
        pid: its number there.
        started: when, in the kernel's clock ticks: numbers are used again.
        machine: running kernel and process namespace; empty if they are not known.
    """

    host: str
    pid: int
    started: str
    machine: str

    @classmethod
    def current(cls) -> Process:
        """This process."""
        pid = os.getpid()
        try:
            boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
            machine = f"{boot} {Path('/proc/self/ns/pid').readlink()}"
            _, started = _state_and_start(pid)
        except OSError:
            machine = started = ""
        return cls(socket.gethostname(), pid, started, machine)

    @classmethod
    def from_json(cls, text: str | bytes) -> Process:
        return cls(**json.loads(text))

    def to_json(self) -> str:
        return json.dumps(asdict(self))

    @property
    def host_key(self) -> str:
        """The same for processes that share a host: by its kernel, else by its name."""
        return self.machine or self.host

    def is_on(self, machine: str) -> bool:
        """Whether a process of `machine` sees this one in /proc."""
        return machine != "" and self.machine == machine

    def has_ended(self) -> bool:
        """Whether it is gone or a zombie; for a process that is on this machine."""
        try:
            state, started = _state_and_start(self.pid)
        except (FileNotFoundError, ProcessLookupError):
            return True
        except OSError:  # not for us to see: no news
            return False
        return state in ("Z", "X") or started != self.started

    def __str__(self) -> str:
        return f"host {self.host}, process {self.pid}"


def _state_and_start(pid: int) -> tuple[str, str]:
    # proc_pid_stat(5): the name, which may hold anything, ends at the last bracket.
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return fields[0], fields[19]
