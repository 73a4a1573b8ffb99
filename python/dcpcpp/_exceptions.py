"""CheckpointException: torch's class, which an `except Exception` catches too."""

from __future__ import annotations

import contextlib
import traceback
from collections.abc import Iterator
from typing import Any, NoReturn

from torch.distributed.checkpoint.api import CheckpointException as TorchCheckpointException

from dcpcpp import errors
from dcpcpp._lost_rank import RankLostError
from dcpcpp.errors import RankFailuresError, exception_from_status

Failures = dict[int, tuple[BaseException, traceback.StackSummary]]


class CheckpointException(TorchCheckpointException, Exception):  # torch's name
    """A save or load failed on some rank.

    Mirrors `torch.distributed.checkpoint.CheckpointException` and is one. torch's class
    is a `BaseException`, which `except Exception` in a trainer does not catch; this one
    is both.

    `args[0]` is the phase, as in torch: "plan", "write" or "read". What torch finds while it
    writes or reads and dcpcpp before it begins to (an object that does not pickle, a data
    file that is missing) counts as "plan": nothing has been touched. With
    `use_collectives=False` the ranks meet once, at the end, and all is "write". Of a rank
    that is lost it is also "arrival" or "commit".

    Attributes:
        failures: rank in the group -> (exception, traceback summary), as in torch.
        global_ranks: the number in the job of each rank of the group; empty if unknown.
        attempt: what was tried, "save to /ckpt/step-7" or "load from ..."; empty if unknown.
    """

    def __init__(self, msg: str, failures: Failures) -> None:
        TorchCheckpointException.__init__(self, msg, failures)
        self.global_ranks: list[int] = []
        self.attempt = ""

    def __str__(self) -> str:
        lines = [TorchCheckpointException.__str__(self).rstrip("\n")]
        if self.attempt:
            lines.append(f"in a {self.attempt}")
        for rank in self.failures:
            if rank < len(self.global_ranks) and self.global_ranks[rank] != rank:
                lines.append(f"RANK {rank} of the group is rank {self.global_ranks[rank]}")
        return "\n".join([*lines, ""])


class CorruptedCheckpointException(CheckpointException, errors.CheckpointCorruptedError):
    """A `CheckpointException` because stored bytes are damaged."""

    def __init__(self, msg: str, failures: Failures) -> None:
        CheckpointException.__init__(self, msg, failures)
        cause = _first(failures, errors.CheckpointCorruptedError)
        self.path, self.byte_offset = cause.path, cause.byte_offset
        self.nbytes, self.key = cause.nbytes, cause.key

    def __reduce__(self) -> tuple[Any, ...]:
        return (type(self), self.args, vars(self))


class BusyCheckpointException(CheckpointException, errors.CheckpointBusyError):
    """A `CheckpointException` because another writer is at work."""


class LostRankException(CheckpointException, RuntimeError):
    """A `CheckpointException` because a rank, or its saver, is gone; the error tells which.

    It is a RuntimeError too, which is what torch raises then.
    """


class MismatchedRanksException(CheckpointException, ValueError):
    """A `CheckpointException` because the ranks did not call for the same.

    One saves and another loads, say, or ranks of one host name different directories.
    """


def _first(failures: Failures, kind: type[Any]) -> Any:
    return next(error for error, _ in failures.values() if isinstance(error, kind))


def make_exception(phase: str, failures: Failures) -> CheckpointException:
    """The exception for `failures`, of a class that tells its kind."""
    kinds = [error for error, _ in failures.values()]
    if any(isinstance(error, errors.CheckpointCorruptedError) for error in kinds):
        return CorruptedCheckpointException(phase, failures)
    if any(isinstance(error, errors.CheckpointBusyError) for error in kinds):
        return BusyCheckpointException(phase, failures)
    return CheckpointException(phase, failures)


def raise_failures(
    error: RankFailuresError, rank: int, local_error: BaseException | None
) -> NoReturn:
    """Raise what libdcp reported of all ranks.

    `local_error` is the Python exception of this rank, if it was one: it is raised as
    it was, with its traceback, rather than as rebuilt from a message.
    """
    failures: Failures = {}
    for failed, status in error.status.failures:
        cause = exception_from_status(status)
        if failed == rank and local_error is not None:
            cause = local_error
        failures[failed] = (cause, _summary(cause))
    if any(status.code == "UNAVAILABLE" for _, status in error.status.failures):
        raise LostRankException(error.status.phase, failures) from local_error
    raise make_exception(error.status.phase, failures) from local_error


def lost_rank(error: RankLostError) -> CheckpointException:
    """The exception for a rank that is not there any more, or not for the same."""
    cause: Exception = error
    kind: type[CheckpointException] = LostRankException
    if error.kind == "busy":
        cause, kind = errors.CheckpointBusyError(str(error)), BusyCheckpointException
    elif error.kind == "differs":
        cause, kind = ValueError(str(error)), MismatchedRanksException
    return kind(error.phase, {error.rank: (cause, _summary(cause))})


@contextlib.contextmanager
def torch_errors() -> Iterator[None]:
    """Turns torch's CheckpointException into ours."""
    try:
        yield
    except TorchCheckpointException as error:
        raise make_exception(str(error.args[0]), error.failures) from error


def _summary(error: BaseException) -> traceback.StackSummary:
    summary = traceback.extract_tb(error.__traceback__)
    for frame in summary:
        # Python 3.13 keeps code objects there, which cannot be pickled.
        if hasattr(frame, "_code"):
            object.__setattr__(frame, "_code", None)
    return summary
