"""Tensors that torch decodes, not libdcp: quantized ones and wrapper subclasses."""

from __future__ import annotations

import io
import warnings
from collections.abc import Sequence
from typing import Any

import torch

Box = tuple[tuple[int, ...], tuple[int, ...]]  # offsets and sizes


def torch_save(tensor: torch.Tensor) -> bytes:
    """`tensor` as torch stores it."""
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # TypedStorage, in older torch
        torch.save(tensor.detach(), buffer)
    return buffer.getvalue()


def empty_for(shape: torch.Size, part: torch.Tensor) -> torch.Tensor:
    """An empty tensor of `shape`, of which `part`, as it was decoded, is a part."""
    if part.is_quantized:
        if part.qscheme() not in (torch.per_tensor_affine, torch.per_tensor_symmetric):
            raise NotImplementedError(f"parts of a tensor with {part.qscheme()} are not joined")
        return torch.empty_quantized(shape, part)
    return part.new_empty(shape)


def put(target: torch.Tensor, box: Box, value: torch.Tensor) -> None:
    """Copy `value`, which torch decoded, to the `box` (offsets and sizes) of `target`.

    Raises:
        ValueError: a part of a quantized tensor has another scale than the whole: torch
            would copy the integers alone.
    """
    part = narrow(target.detach(), *box)
    if value.is_quantized and target.is_quantized:
        stored, wanted = _quantizer(value), _quantizer(target)
        if stored != wanted and part.size() != target.size():
            raise ValueError(f"a part of a quantized tensor has {stored}, the whole {wanted}")
        part = narrow(target, *box)  # to which copy_ gives the scale, too
    part.copy_(value)


def _quantizer(tensor: torch.Tensor) -> tuple[Any, ...]:
    if tensor.qscheme() in (torch.per_tensor_affine, torch.per_tensor_symmetric):
        return (tensor.qscheme(), tensor.q_scale(), tensor.q_zero_point())
    channels = tensor.q_per_channel_scales().tolist(), tensor.q_per_channel_zero_points().tolist()
    return (tensor.qscheme(), tensor.q_per_channel_axis(), *channels)


def narrow(tensor: torch.Tensor, offsets: Sequence[int], lengths: Sequence[int]) -> torch.Tensor:
    """The box of `tensor` at `offsets` with `lengths` elements a dimension."""
    for dim, (offset, length) in enumerate(zip(offsets, lengths, strict=True)):
        if length < tensor.size(dim):
            tensor = tensor.narrow(dim, offset, length)
    return tensor
