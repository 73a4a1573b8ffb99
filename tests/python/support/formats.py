"""The formats in which tests save, by the classes that both libraries have."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import torch.distributed.checkpoint as stock

import dcpcpp
from support.scoreboard import Subject

Format = Literal["native", "safetensors"]
FORMATS: tuple[Format, ...] = ("native", "safetensors")
# What is added to a line of the scoreboard.
IN: dict[Format, str] = {"native": "", "safetensors": ", safetensors"}
LIBRARIES: dict[Subject, Any] = {"dcpcpp": dcpcpp, "stock": stock}


def writer(
    subject: Subject,
    file_format: Format,
    directory: Path,
    files: Mapping[str, int] | None = None,
) -> Any:
    """A storage writer.

    Args:
        subject: whose it is.
        file_format: of the checkpoint.
        directory: of the checkpoint.
        files: of safetensors: the number of the file of each tensor. None: there is one.
            Native checkpoints have as many files, of which each gets some tensors.
    """
    library = LIBRARIES[subject]
    if file_format == "native":
        return library.FileSystemWriter(directory, thread_count=len({*(files or {}).values()}) or 1)
    return library.HuggingFaceStorageWriter(directory, fqn_to_index_mapping=files)


def reader(subject: Subject, file_format: Format, directory: Path, **options: Any) -> Any:
    """A storage reader; `options` are those of ours."""
    library = LIBRARIES[subject]
    kind = library.FileSystemReader if file_format == "native" else library.HuggingFaceStorageReader
    return kind(directory, **(options if subject == "dcpcpp" else {}))
