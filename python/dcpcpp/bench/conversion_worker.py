"""The process of one contestant's conversion in `dcpcpp bench --hf`: reports JSON on stdout.

{"seconds": s, "cpu_seconds": s, "extra_rss_mib": m, "peak_rss_mib": m, "cold_by": how}, of the
call alone: what it imports is there before, and the page cache is dropped.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from pathlib import Path

import dcpcpp
from dcpcpp.bench.meter import Samples, drop_page_cache, measure, peak_mib, sync_names
from dcpcpp.bench.raw import raw_read, raw_write

Convert = Callable[[Path, Path], "float | None"]

OURS, UNMAPPED = "dcpcpp", "dcpcpp, no mapping"
STOCK = "stock DCP, TorchTitan's steps"
READS, WRITES = "raw device, reads", "raw device, writes"


def _data_files(source: Path) -> list[Path]:
    return sorted(source.glob("*.distcp"))


def _nbytes(source: Path) -> int:
    return sum(file.stat().st_size for file in _data_files(source))


def _ours(model: str, flavor: str | None) -> Convert:
    def run(source: Path, destination: Path) -> None:
        dcpcpp.convert(source, destination, to="safetensors", model=model, model_flavor=flavor)
        sync_names(destination)

    return run


def _stock() -> Convert:
    from dcpcpp.bench.stock_conversion import convert_by_stock  # torch: of no other process

    return convert_by_stock


def _reads() -> Convert:
    def run(source: Path, destination: Path) -> float:
        names = [file.name for file in _data_files(source)]
        return raw_read(source, names, _nbytes(source), direct=True)

    return run


def _writes() -> Convert:
    def run(source: Path, destination: Path) -> float:
        destination.mkdir(parents=True)
        return raw_write(destination, _nbytes(source), direct=True)

    return run


MAKERS: dict[str, Callable[[], Convert]] = {
    OURS: lambda: _ours("llama3", "8B"),
    UNMAPPED: lambda: _ours("none", None),
    STOCK: _stock,
    READS: _reads,
    WRITES: _writes,
}


def main() -> None:
    """One conversion."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--contestant", required=True, choices=list(MAKERS))
    parser.add_argument("--source", type=Path, required=True)
    parser.add_argument("--destination", type=Path, required=True)
    arguments = parser.parse_args()
    convert = MAKERS[arguments.contestant]()
    samples = Samples()
    cold_by = drop_page_cache(arguments.source)
    measure(lambda: convert(arguments.source, arguments.destination), samples, is_ours=False)
    report = {
        "seconds": samples.seconds[0],
        "cpu_seconds": samples.cpu_seconds[0],
        "extra_rss_mib": samples.extra_rss_mib[0],
        "peak_rss_mib": peak_mib(),
        "cold_by": cold_by,
    }
    json.dump(report, sys.stdout)


if __name__ == "__main__":
    main()
