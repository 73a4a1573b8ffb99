"""Tables, JSON and the plot of what was measured."""

from __future__ import annotations

import dataclasses
import json
import platform
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from dcpcpp._config import config
from dcpcpp.bench.bars import print_measured
from dcpcpp.bench.measures import Outcome

SCHEMA = 1


def median_gbps(outcome: Outcome, name: str) -> float:
    """Median rate of one contestant, in GB/s (10^9 bytes)."""
    return outcome.nbytes / statistics.median(outcome.samples[name].seconds) / 1e9


def print_table(outcome: Outcome, console: Console) -> None:
    """One measure: min, median and max seconds, rate, ratio, CPU and memory."""
    ranks = f", {outcome.ranks} ranks" if outcome.ranks > 1 else ""
    repeats = len(outcome.samples["dcpcpp"].seconds)
    size = f"{outcome.nbytes / 2**30:.2f} GiB"
    table = Table(title=f"{outcome.measure}{ranks} ({size}, {repeats} times)")
    table.add_column("who")
    for column in ("min s", "median s", "max s", "GB/s", "dcpcpp is", "CPU s", "extra MiB"):
        table.add_column(column, justify="right")
    ours = median_gbps(outcome, "dcpcpp")
    for name, samples in outcome.samples.items():
        rate = median_gbps(outcome, name)
        table.add_row(
            name,
            f"{min(samples.seconds):.3f}",
            f"{statistics.median(samples.seconds):.3f}",
            f"{max(samples.seconds):.3f}",
            f"{rate:.2f}",
            "" if name == "dcpcpp" else f"{ours / rate:.2f} x",
            f"{statistics.median(samples.cpu_seconds):.2f}" if samples.cpu_seconds else "",
            f"{max(samples.extra_rss_mib):.0f}" if samples.extra_rss_mib else "",
        )
    console.print(table)
    if outcome.bars:
        print_measured(outcome.bars, "what is asked for", console)


def to_json(outcomes: Sequence[Any], parameters: dict[str, Any]) -> str:
    """Everything that was measured, with the machine it was measured on."""
    return json.dumps(
        {
            "schema": SCHEMA,
            "machine": {**config(), "processor": _processor(), "node": platform.machine()},
            "parameters": parameters,
            "outcomes": [dataclasses.asdict(outcome) for outcome in outcomes],
        },
        indent=1,
    )


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.processor()


def plot(outcomes: list[Outcome], path: Path) -> None:
    """Draw the median rates as bars, with the range of the repeats."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(
        len(outcomes), 1, figsize=(8, 1.2 + 1.6 * len(outcomes)), squeeze=False
    )
    for axis, outcome in zip(axes[:, 0], outcomes, strict=True):
        names = list(outcome.samples)[::-1]
        rates = [median_gbps(outcome, name) for name in names]
        seconds = [outcome.samples[name].seconds for name in names]
        low = [outcome.nbytes / max(s) / 1e9 for s in seconds]
        high = [outcome.nbytes / min(s) / 1e9 for s in seconds]
        errors = [
            [rate - value for rate, value in zip(rates, low, strict=True)],
            [value - rate for rate, value in zip(rates, high, strict=True)],
        ]
        colors = ["#d1495b" if name == "dcpcpp" else "#8d99ae" for name in names]
        axis.barh(names, rates, xerr=errors, color=colors, height=0.7, ecolor="#333333")
        ranks = f", {outcome.ranks} ranks" if outcome.ranks > 1 else ""
        axis.set_title(f"{outcome.measure}{ranks}", fontsize=10, loc="left")
        axis.set_xlabel("GB/s", fontsize=8)
        axis.tick_params(labelsize=8)
        axis.spines[["top", "right"]].set_visible(False)
    figure.tight_layout()
    figure.savefig(path, dpi=120)
    pyplot.close(figure)
