"""A rank whose storage cannot be made tells the others, which would wait for it.

It takes its part in the operation up to where the ranks compare notes on the plan, with
its error in the place of what it has. Then all raise: the others a CheckpointException
that names this rank, this rank its own error, as torch does.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any, NoReturn

from dcpcpp import _core
from dcpcpp._errand import Errand
from dcpcpp._exceptions import CheckpointException
from dcpcpp._transport import transport_for
from dcpcpp.errors import RankFailuresError


@contextlib.contextmanager
def told_to_savers(
    process_group: Any, *, use_dist: bool, use_collectives: bool = True, coordinator: int = 0
) -> Iterator[None]:
    """Tells the ranks that save natively with this one of an error, and raises it."""
    try:
        yield
    except Exception as error:
        tell_savers(
            error,
            process_group,
            use_dist=use_dist,
            use_collectives=use_collectives,
            coordinator=coordinator,
        )
        raise


def tell_savers(
    error: Exception,
    process_group: Any,
    *,
    use_dist: bool,
    use_collectives: bool = True,
    coordinator: int = 0,
    channel: str = "foreground",
) -> None:
    """Take this rank's part in a save that it cannot do because of `error`."""
    options = _core.SaveOptions()
    options.use_collectives = use_collectives
    writer = _core.FileSystemWriter(_core.FileSystemWriterOptions(), _NoFileSystem(error))
    with (
        contextlib.suppress(RankFailuresError, CheckpointException),
        transport_for(
            process_group,
            Errand("save", use_collectives=use_collectives),
            use_dist=use_dist,
            coordinator=coordinator,
            channel=channel,
        ) as transport,
    ):
        _core.save(_core.SaveEntries(()), error, writer, transport, options)


@contextlib.contextmanager
def told_to_loaders(process_group: Any, *, use_dist: bool, coordinator: int = 0) -> Iterator[None]:
    """Tells the ranks that load natively with this one of an error, and raises it."""
    try:
        yield
    except Exception as error:
        failure = _NoFileSystem(error)
        reader = _core.FileSystemReader(_core.FileSystemReaderOptions(), failure)
        with (
            contextlib.suppress(RankFailuresError, CheckpointException),
            transport_for(
                process_group, Errand("load"), use_dist=use_dist, coordinator=coordinator
            ) as transport,
        ):
            _core.load(failure.fail, failure.fail, reader, transport, False)
        raise


class _NoFileSystem(_core.FileSystem):
    """Every access fails with `error`."""

    def __init__(self, error: Exception) -> None:
        super().__init__()
        self._error = error

    def fail(self, *args: Any) -> NoReturn:
        """Raise the error."""
        raise self._error

    def traits(self) -> tuple[str, bool, bool, bool]:
        return ("none", False, False, False)

    open = make_directories = list = exists = rename = remove = fail
