"""Replicated checkpoints: the processes of a host read what all of them need once."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import pytest
import torch
import torch.distributed.checkpoint as stock

import dcpcpp
from support.ranks import run_on_ranks

Writer = Literal["dcpcpp", "stock"]


def replicated_state(fill: int) -> dict[str, Any]:
    """What a DDP job holds: the same on every rank. 24 MiB."""
    generator = torch.Generator().manual_seed(fill)
    return {
        "model": {
            "weight": torch.randn(1021, 4099, generator=generator),
            "bias": torch.randn(37, generator=generator),
            "half": torch.randn(511, 3001, generator=generator).to(torch.bfloat16),
        },
        "step": fill,
        "blob": bytes(range(256)) * (2048 + fill),
    }


def save_replicated(path: str, writer: Writer) -> None:
    save = dcpcpp.save if writer == "dcpcpp" else stock.save
    save(replicated_state(3), checkpoint_id=path)


def load_replicated(path: str) -> int:
    """Load on one rank; the bytes that it read."""
    state, saved = replicated_state(1), replicated_state(3)
    report = dcpcpp.LoadReport()
    dcpcpp.load(state, checkpoint_id=path, report=report)
    for name, tensor in saved["model"].items():
        assert torch.equal(state["model"][name], tensor), name
    assert (state["step"], state["blob"]) == (saved["step"], saved["blob"])
    return report.nbytes_read


@pytest.mark.parametrize("writer", ["dcpcpp", "stock"])
def test_four_processes_read_a_replicated_checkpoint_once(tmp_path: Path, writer: Writer) -> None:
    run_on_ranks(4, save_replicated, str(tmp_path), writer)
    read = run_on_ranks(4, load_replicated, str(tmp_path))
    stored = sum(file.stat().st_size for file in tmp_path.glob("*.distcp"))
    assert 0.98 * stored <= sum(read) <= 1.02 * stored
    assert max(read) <= stored / 2
