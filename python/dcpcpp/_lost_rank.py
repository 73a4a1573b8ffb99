"""RankLostError, which the ranks of an operation also send each other."""

from __future__ import annotations

import json

from dcpcpp._processes import Process


class RankLostError(ConnectionError):
    """A rank is gone or gave up.

    Attributes:
        rank: its number in the group.
        why: what is known of it.
        phase: of the operation, in which it was noticed.
        process: that it ran in, if known: host and process id.
        is_final: its process ended, so the group cannot work again.
    """

    def __init__(
        self,
        rank: int,
        why: str,
        *,
        phase: str,
        process: Process | None = None,
        is_final: bool = False,
    ) -> None:
        where = f" ({process})" if process else ""
        super().__init__(f"rank {rank}{where} {why}; phase: {phase}")
        self.rank, self.why, self.phase = rank, why, phase
        self.process, self.is_final = process, is_final

    def __reduce__(self) -> tuple[object, ...]:
        return (RankLostError.from_json, (self.to_json(),))

    def to_json(self) -> str:
        process = self.process.to_json() if self.process else None
        return json.dumps([self.rank, self.why, self.phase, process, self.is_final])

    @staticmethod
    def from_json(text: str | bytes) -> RankLostError:
        rank, why, phase, process, is_final = json.loads(text)
        known = Process.from_json(process) if process else None
        return RankLostError(rank, why, phase=phase, process=known, is_final=is_final)
