"""The memory of tensors: whether it is theirs, whether it is there, what its bytes mean."""

from __future__ import annotations

import torch

# Classes whose memory is their value: a subclass may give its bytes another meaning.
PLAIN_TYPES = (torch.Tensor, torch.nn.Parameter)

# dcp::ElementOp
NO_OP, CONJ, NEG = 0, 1, 2


def require_own_memory(tensor: torch.Tensor) -> None:
    """Refuse what torch's copy_ refuses: elements that share one memory location."""
    sizes, strides = tuple(tensor.size()), tensor.stride()
    if any(stride == 0 and size > 1 for size, stride in zip(sizes, strides, strict=True)):
        raise RuntimeError(
            f"a tensor of size {sizes} and strides {strides} cannot be loaded: more than one "
            "element of it refers to a single memory location"
        )


def require_memory(fqn: str, tensor: torch.Tensor) -> None:
    """Refuse a tensor whose storage was made smaller than it is, as FSDP1 frees its own."""
    end = _end_of(tensor)
    if end > tensor.untyped_storage().nbytes():
        raise ValueError(
            f"the tensor {fqn} of size {tuple(tensor.size())} and dtype {tensor.dtype} takes {end} "
            f"bytes, but its storage has {tensor.untyped_storage().nbytes()}: it was resized"
        )


def _end_of(tensor: torch.Tensor) -> int:
    """The byte of its storage at which `tensor` ends."""
    count = tensor.numel()
    if count and not tensor.is_contiguous():
        sizes, strides = tensor.size(), tensor.stride()
        count = 1 + int(sum((n - 1) * step for n, step in zip(sizes, strides, strict=True)))
    return (int(tensor.storage_offset()) + count) * tensor.element_size() if count else 0


def op_of(tensor: torch.Tensor) -> int | None:
    """What the bits of `tensor` leave to be done; None for what libdcp does not do."""
    if not (tensor.is_conj() or tensor.is_neg()):
        return NO_OP
    if tensor.is_conj():
        return None if tensor.is_neg() else CONJ
    is_wide = tensor.is_complex() or (tensor.is_floating_point() and tensor.element_size() > 1)
    return NEG if is_wide else None
