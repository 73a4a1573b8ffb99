"""Torch's conversions between its two formats, streaming: by function and by command line.

Mirrors `torch.distributed.checkpoint.format_utils` (2.13), with its names. What is not here
is torch's own.

    python -m dcpcpp.format_utils dcp_to_torch SRC DST
    python -m dcpcpp.format_utils torch_to_dcp SRC DST
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dcpcpp._convert import convert
from dcpcpp._torch_modules import name_of_torchs
from dcpcpp.errors import CheckpointError

if TYPE_CHECKING:
    from torch.distributed.checkpoint.format_utils import (
        BroadcastingTorchSaveReader,
        DynamicMetaLoadPlanner,
    )

__all__ = [
    "BroadcastingTorchSaveReader",
    "DynamicMetaLoadPlanner",
    "dcp_to_torch_save",
    "torch_save_to_dcp",
]


def dcp_to_torch_save(
    dcp_checkpoint_dir: str | os.PathLike[str], torch_save_path: str | os.PathLike[str]
) -> None:
    """Write a checkpoint as one file of `torch.save`.

    Unlike torch's, it takes no memory for the tensors, never unpickles, and replaces the
    file in one step; so a failure leaves the old one, or none. Tensors have no gradient.

    Args:
        dcp_checkpoint_dir: the checkpoint; safetensors files are taken, too.
        torch_save_path: the file.

    Raises:
        Exception: see `dcpcpp.convert`.
    """
    convert(dcp_checkpoint_dir, torch_save_path, to="torch")


def torch_save_to_dcp(
    torch_save_path: str | os.PathLike[str], dcp_checkpoint_dir: str | os.PathLike[str]
) -> None:
    """Write a file of `torch.save`, which holds a dict, as a checkpoint.

    Unlike torch's, it takes no memory for the tensors, runs nothing that the file names, and
    checks the CRC-32s of its data.

    Args:
        torch_save_path: the file.
        dcp_checkpoint_dir: the directory.

    Raises:
        Exception: see `dcpcpp.convert`.
    """
    convert(torch_save_path, dcp_checkpoint_dir, to="dcp")


def __getattr__(name: str) -> Any:
    return name_of_torchs("format_utils", name)


def main() -> None:
    """Run torch's command line, unchanged; errors are one line and exit code 1."""
    parser = argparse.ArgumentParser(prog="python -m dcpcpp.format_utils")
    parser.add_argument(
        "mode", type=str, help="Conversion mode", choices=["torch_to_dcp", "dcp_to_torch"]
    )
    parser.add_argument("src", type=str, help="Path to the source model")
    parser.add_argument("dst", type=str, help="Path to the destination model")
    args = parser.parse_args()
    print(f"Converting checkpoint from {args.src} to {args.dst} using method: '{args.mode}'")
    is_from_torch = args.mode == "torch_to_dcp"
    if not (Path(args.src).is_file() if is_from_torch else Path(args.src).is_dir()):
        print(f"No checkpoint found at {args.src}. Skipping conversion.")
        return
    try:
        (torch_save_to_dcp if is_from_torch else dcp_to_torch_save)(args.src, args.dst)
    except (CheckpointError, OSError, ValueError, RuntimeError) as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(1)


if __name__ == "__main__":
    main()
