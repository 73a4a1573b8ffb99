"""Final safetensors files of those that each rank wrote for itself, streaming.

Mirrors `torch.distributed.checkpoint._consolidate_hf_safetensors` (2.13), with its names.
What is not here is torch's own.

    dcpcpp consolidate IN OUT
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from dcpcpp import _core
from dcpcpp._convert import convert_paths
from dcpcpp._torch_modules import name_of_torchs

if TYPE_CHECKING:
    import torch.distributed as dist

__all__ = ["consolidate_safetensors_files", "consolidate_safetensors_files_on_every_rank"]

_ONE_FILE = (1 << 63) - 1


def consolidate_safetensors_files(
    input_dir: str | os.PathLike[str],
    output_dir: str | os.PathLike[str],
    fqn_to_index_mapping: Mapping[str, int] | None,
    num_threads: int = 1,
) -> None:
    """Write whole tensors of what ranks wrote with `save_distributed`.

    Unlike torch's, it takes less than 1 GiB of memory whatever the size, and replaces what
    is in `output_dir` in one step. All dtypes and 0-d tensors come out right; a missing file
    is an error, not zeros, where it leaves a gap in a tensor. (Nothing in the other files
    tells of what lay behind the end of theirs.)

    The files are those of `HuggingFaceStorageWriter`: `model.safetensors` if there is one,
    else numbered, with an index.

    Args:
        input_dir: the ranks' files.
        output_dir: where the result belongs; another directory.
        fqn_to_index_mapping: number of the file of each tensor, from 1; None: one file.
        num_threads: accepted; the work is parallel whatever it is.

    Raises:
        CheckpointCorruptedError: the files do not make up their tensors.
        ValueError: the mapping lacks a tensor, or names one that is not there.
        Exception: see `dcpcpp.convert`.
    """
    _consolidate(input_dir, output_dir, fqn_to_index_mapping, _core.single_process_transport())


def consolidate_safetensors_files_on_every_rank(
    input_dir: str | os.PathLike[str],
    output_dir: str | os.PathLike[str],
    fqn_to_index_mapping: Mapping[str, int] | None,
    num_threads: int = 1,
    process_group: dist.ProcessGroup | None = None,
) -> None:
    """As `consolidate_safetensors_files`; collective over `process_group`.

    Rank 0 does the work, at the speed of its disk, while the others wait; no collective with
    a timeout is pending meanwhile. All ranks succeed or all raise.

    Args:
        input_dir: see there.
        output_dir: see there.
        fqn_to_index_mapping: see there.
        num_threads: see there.
        process_group: the ranks; None for all.

    Raises:
        CheckpointException: what rank 0 failed with, on every rank; or a rank is gone. Of one
            process alone it is the error itself.
    """
    from dcpcpp._calls import runs_alone
    from dcpcpp._errand import Errand
    from dcpcpp._exceptions import raise_failures
    from dcpcpp._transport import transport_for
    from dcpcpp.errors import RankFailuresError

    alone = runs_alone(False, "consolidate", stacklevel=3)
    errand = Errand("save", os.path.abspath(output_dir))  # noqa: PTH100  # pure text
    with transport_for(process_group, errand, use_dist=not alone) as transport:
        try:
            _consolidate(input_dir, output_dir, fqn_to_index_mapping, transport)
        except RankFailuresError as error:
            raise_failures(error, transport.rank(), None)


def _consolidate(
    input_dir: str | os.PathLike[str],
    output_dir: str | os.PathLike[str],
    fqn_to_index_mapping: Mapping[str, int] | None,
    transport: _core.Transport,
) -> None:
    paths = convert_paths(input_dir, output_dir)
    paths.set_format("safetensors")
    paths.file_numbers = dict(fqn_to_index_mapping or {})
    paths.max_shard_nbytes = _ONE_FILE
    _core.convert(paths, None, None, None, transport)


def __getattr__(name: str) -> Any:
    return name_of_torchs("_consolidate_hf_safetensors", name)
