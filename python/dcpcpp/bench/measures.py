"""The measures: what is done, on which state, by whom."""

from __future__ import annotations

import functools
import random
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from dcpcpp.bench.bars import Measured
from dcpcpp.bench.contestants import (
    Contestant,
    best_stock_threads,
    dcpcpp_contestant,
    raw_contestant,
    safetensors_contestant,
    stock_contestant,
    torch_contestant,
)
from dcpcpp.bench.meter import Samples, drop_page_cache, measure, warm_free_memory, warm_page_cache
from dcpcpp.bench.states import Tensors, empty_like, nbytes_of, require_equal

Progress = Callable[[str], None]


@dataclass
class Outcome:
    """The samples of one measure, by contestant, and what is asked for of them."""

    measure: str
    nbytes: int
    ranks: int = 1
    samples: dict[str, Samples] = field(default_factory=dict)
    bars: list[Measured] = field(default_factory=list)
    notes: dict[str, str] = field(default_factory=dict)


def contestants(state: Tensors, folder: Path, *, direct: bool) -> list[Contestant]:
    """Everybody, stock DCP by default and with the options that serve it best here."""
    best = best_stock_threads(state, folder)
    listed = [dcpcpp_contestant(), stock_contestant(1, "stock DCP, default")]
    if best != 1:
        listed.append(stock_contestant(best, f"stock DCP, thread_count={best}"))
    listed.append(torch_contestant())
    with suppress(ImportError):
        listed.append(safetensors_contestant())
    listed.append(raw_contestant(direct=direct))
    if not direct:
        # The kernel lets one thread at a time write to a file of a page cache.
        listed += [dcpcpp_contestant(2), raw_contestant(direct=False, files=2)]
    return listed


_T = TypeVar("_T")


def in_turns(
    listed: list[_T], repeats: int, often: int = 1, is_close: Callable[[_T], bool] = lambda _: True
) -> Iterator[tuple[int, _T]]:
    """Every contestant once in each repeat, in random orders that are the same in every run.

    What one leaves behind, in the disk or in memory, falls upon another one each time. Those that
    are close to each other have `often` rounds of their own in each repeat.
    """
    for turn in range(repeats * often):
        present = listed if turn % often == 0 else [one for one in listed if is_close(one)]
        for contestant in random.Random(turn).sample(present, len(present)):
            yield turn // often, contestant


def is_close(name: str) -> bool:
    """Whether a bar is near the speed of this contestant: dcpcpp and the raw device."""
    return name.startswith(("dcpcpp", "raw"))


@contextmanager
def _fresh(path: Path) -> Iterator[Path]:
    shutil.rmtree(path, ignore_errors=True)
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


def measure_saves(
    name: str,
    state: Tensors,
    listed: list[Contestant],
    folder: Path,
    repeats: int,
    say: Progress,
    *,
    often: int = 1,
    in_memory: bool = False,
) -> Outcome:
    """Durable saves into a fresh directory. One unmeasured save each comes first.

    `often`: rounds of those that are close in each repeat. `in_memory`: the folder is on tmpfs.
    """
    outcome = Outcome(name, nbytes_of(state))
    outcome.samples = {contestant.name: Samples() for contestant in listed}
    for contestant in listed:
        with _fresh(folder / "warm-up") as path:
            contestant.save(state, path)
    for repeat, contestant in in_turns(listed, repeats, often, lambda c: is_close(c.name)):
        say(f"{name}: {contestant.name}, {repeat + 1} of {repeats}")
        with _fresh(folder / "save") as path:
            drop_page_cache(folder)
            samples = outcome.samples[contestant.name]
            save = functools.partial(contestant.save, state, path)
            with warm_free_memory(folder, outcome.nbytes) if in_memory else nullcontext():
                measure(save, samples, is_ours=contestant.is_ours)
    return outcome


def measure_loads(
    name: str,
    state: Tensors,
    listed: list[Contestant],
    folder: Path,
    repeats: int,
    say: Progress,
    *,
    cold: bool,
    often: int = 1,
) -> Outcome:
    """Loads of what each contestant saved itself; bytes are compared each time."""
    outcome = Outcome(name, nbytes_of(state))
    readers = [contestant for contestant in listed if contestant.load is not None]
    outcome.samples = {contestant.name: Samples() for contestant in readers}
    target = empty_like(state)
    paths = {c.name: folder / f"load-{c.files or i}" for i, c in enumerate(readers)}
    for path in set(paths.values()):
        shutil.rmtree(path, ignore_errors=True)
    for contestant in readers:
        if not paths[contestant.name].exists():
            contestant.save(state, paths[contestant.name])
    try:
        for repeat, contestant in in_turns(readers, repeats, often, lambda c: is_close(c.name)):
            say(f"{name}: {contestant.name}, {repeat + 1} of {repeats}")
            path = paths[contestant.name]
            if cold:
                outcome.notes["cold by"] = drop_page_cache(folder)
            else:
                warm_page_cache(path)
            _poison(target)
            samples = outcome.samples[contestant.name]
            assert contestant.load is not None
            load = functools.partial(contestant.load, target, path)
            measure(load, samples, is_ours=contestant.is_ours)
            if not contestant.name.startswith("raw"):
                require_equal(target, state)
    finally:
        for path in paths.values():
            shutil.rmtree(path, ignore_errors=True)
    return outcome


def _poison(target: Tensors) -> None:
    for tensor in target.values():
        tensor.fill_(-1)
