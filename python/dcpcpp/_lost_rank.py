"""RankLostError, which the ranks of an operation also send each other."""

from __future__ import annotations

import json
from typing import Literal

from dcpcpp._processes import Process

Kind = Literal["lost", "differs", "busy"]


class RankLostError(ConnectionError):
    """A rank is gone or gave up, or has not come for what the others have come for.

    Attributes:
        rank: its number in the group.
        why: what is known of it.
        phase: of the operation, in which it was noticed.
        global_rank: its number in the job.
        process: that it ran in, if known: host and process id.
        is_final: its process ended, so the group cannot work again.
        kind: "lost"; or it "differs" from another, or another of its threads is "busy".
    """

    def __init__(
        self,
        rank: int,
        why: str,
        *,
        phase: str,
        global_rank: int,
        process: Process | None = None,
        is_final: bool = False,
        kind: Kind = "lost",
    ) -> None:
        super().__init__(f"{rank_name(rank, global_rank, process)} {why}; phase: {phase}")
        self.rank, self.why, self.phase = rank, why, phase
        self.global_rank, self.process = global_rank, process
        self.is_final, self.kind = is_final, kind

    def __reduce__(self) -> tuple[object, ...]:
        return (RankLostError.from_json, (self.to_json(),))

    def to_json(self) -> str:
        process = self.process.to_json() if self.process else None
        place = (self.rank, self.global_rank, process)
        return json.dumps([*place, self.why, self.phase, self.is_final, self.kind])

    @staticmethod
    def from_json(text: str | bytes) -> RankLostError:
        rank, global_rank, process, why, phase, is_final, kind = json.loads(text)
        return RankLostError(
            rank,
            why,
            phase=phase,
            global_rank=global_rank,
            process=Process.from_json(process) if process else None,
            is_final=is_final,
            kind=kind,
        )


def rank_name(rank: int, global_rank: int, process: Process | None) -> str:
    """What errors call a rank: "rank 3 (rank 1 of its group, host a, process 42)"."""
    notes = [f"rank {rank} of its group"] if rank != global_rank else []
    notes += [str(process)] if process else []
    return f"rank {global_rank}" + (f" ({', '.join(notes)})" if notes else "")
