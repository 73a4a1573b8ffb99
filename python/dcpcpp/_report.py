"""LoadReport: what a load did not find, did not use, and converted."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass
class LoadReport:
    """Filled by `dcpcpp.load(..., report=report)` on this rank.

    Attributes:
        missing: flat keys of the state dict that the checkpoint lacks; not empty only
            with `allow_partial_load`.
        unexpected: flat keys of the checkpoint that the state dict lacks.
        cast: flat key -> (stored dtype, loaded dtype), by torch's names, of tensors
            that were converted.
        nbytes_read: bytes fetched from storage.
    """

    missing: list[str] = field(default_factory=list)
    unexpected: list[str] = field(default_factory=list)
    cast: dict[str, tuple[str, str]] = field(default_factory=dict)
    nbytes_read: int = 0
