"""What an index means for a stored tensor."""

from __future__ import annotations

import operator

import torch

Index = int | slice


def _integer(index: object) -> int:
    try:
        return operator.index(index)  # type: ignore[arg-type]  # which is the question
    except TypeError:
        raise TypeError(f"a stored tensor is indexed by ints and slices, not {index!r}") from None


def box_of(
    shape: torch.Size, index: tuple[Index, ...]
) -> tuple[tuple[int, ...], tuple[int, ...], list[int]]:
    """Which part of a tensor of `shape` an index means.

    Returns:
        Offsets, sizes, and the dimensions that an int removes.

    Raises:
        IndexError: it is out of bounds, or has too many dimensions.
        TypeError: it is neither ints nor slices.
        ValueError: a slice has another step than 1.
    """
    if len(index) > len(shape):
        raise IndexError(f"{len(index)} indices for a tensor of {len(shape)} dimensions")
    offsets, sizes, dropped = [], [], []
    for dim, size in enumerate(shape):
        part = index[dim] if dim < len(index) else slice(None)
        if not isinstance(part, slice):
            part = _integer(part)
            if not -size <= part < size:
                raise IndexError(
                    f"index {part} is out of bounds for dimension {dim} of size {size}"
                )
            dropped.append(dim)
            part = slice(part % size, part % size + 1)
        start, stop, step = part.indices(size)
        if step != 1:
            raise ValueError("slices of a stored tensor must have step 1")
        offsets.append(start)
        sizes.append(max(stop - start, 0))
    return tuple(offsets), tuple(sizes), dropped
